"""The folder of runs: one run at a time, for this user alone, and nothing in it leads elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from waiting import wait_for

from flink_job.cli import main
from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.private_folder import open_private, write_atomically
from flink_job.pipeline.reading import load_pipeline
from flink_job.runs.began import write_began
from flink_job.runs.only_one import only_run

TEXT = """
name: shop
source: {type: simulator, events: 10}
event: {fields: {u: string, ts: long}, time: {field: ts, unit: ms}}
metrics: [{name: n, kind: count, windows: [{tumbling: 1m}]}]
"""
HOLD = """
import time
from pathlib import Path
from flink_job.pipeline.reading import load_pipeline
from flink_job.runs.only_one import only_run
with only_run(load_pipeline(Path("shop.yaml"))):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text(TEXT)
    return tmp_path


def test_the_second_run_is_refused_until_the_first_is_gone_be_it_killed(folder: Path) -> None:
    pipeline = load_pipeline(folder / "shop.yaml")
    first = subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE)
    try:
        assert first.stdout.readline() == b"held\n"
        told = f"shop runs already .*process {first.pid}"
        with pytest.raises(EnvironmentProblem, match=told), only_run(pipeline):
            pass
        ran = CliRunner().invoke(main, ["run", "shop.yaml", "--port", "0"])
        assert ran.exit_code == 1 and f"as process {first.pid}\nstop that run first" in ran.output
        assert not (folder / ".sketchstream" / "shop" / "began.json").exists()
    finally:
        first.kill()
        first.wait()
    wait_for(lambda: _is_free(folder), "the end of the first run")


def test_pipelines_of_other_names_and_later_runs_are_not_held_up(folder: Path) -> None:
    shop = load_pipeline(folder / "shop.yaml")
    with only_run(shop), only_run(load_pipeline(folder / "shop.yaml", ["name=other"])):
        assert not _is_free(folder)
    assert _is_free(folder)


def test_a_folder_that_cannot_be_written_is_told_in_a_line(folder: Path) -> None:
    (folder / ".sketchstream").write_text("a file where a folder should be")
    ran = CliRunner().invoke(main, ["run", "shop.yaml", "--port", "0"])
    assert (ran.exit_code, len(ran.output.splitlines())) == (1, 1)
    assert str(folder / ".sketchstream") in ran.output


def test_what_a_run_and_its_processes_write_is_for_this_user_alone_and_nothing_else_is(folder: Path) -> None:
    runs = folder / ".sketchstream" / "shop"
    (runs / "late").mkdir(parents=True)
    pipeline = load_pipeline(folder / "shop.yaml")
    before = os.umask(0o022)
    try:
        with only_run(pipeline):
            write_began(pipeline)
            subprocess.run(["sh", "-c", "mkdir -p logs && echo x > logs/java.out"], cwd=runs, check=True)
        (folder / "after").touch()
    finally:
        os.umask(before)
    listed = subprocess.run(
        ["find", ".", "-printf", "%m %P\n"], cwd=runs, check=True, capture_output=True, text=True
    ).stdout.split("\n")
    assert sorted(filter(None, listed)) == [
        "600 began.json", "600 logs/java.out", "600 running", "700 ", "700 logs", "755 late"
    ]  # fmt: skip
    assert (folder / "after").stat().st_mode & 0o777 == 0o644


LED_ELSEWHERE = ["running", "began.json", "source.json", "totals", "late", "tmp", "logs", "logs/java.out"]


@pytest.mark.parametrize("name", LED_ELSEWHERE)
def test_a_link_in_the_folder_of_runs_is_told_and_not_followed(folder: Path, name: str) -> None:
    link, target = folder / ".sketchstream" / "shop" / name, folder / "target"
    link.parent.mkdir(parents=True)
    if link.suffix or name == "running":
        target.write_text("precious")
    else:
        target.mkdir()
        (target / "part-0.jsonl").write_text("precious")
    link.symlink_to(target)
    ran = CliRunner().invoke(main, ["run", "shop.yaml", "--port", "0", "--overwrite"])
    assert (ran.exit_code, len(ran.output.splitlines())) == (1, 2)
    assert f"{link} is a link" in ran.output and "sinks.*.path" in ran.output
    kept = target if target.is_file() else target / "part-0.jsonl"
    assert kept.read_text() == "precious"
    assert target.is_file() or list(target.iterdir()) == [kept]


def test_a_folder_of_runs_that_is_a_link_or_another_users_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "elsewhere").mkdir()
    (folder / ".sketchstream").mkdir()
    (folder / ".sketchstream" / "shop").symlink_to(folder / "elsewhere")
    ran = CliRunner().invoke(main, ["run", "shop.yaml", "--port", "0"])
    assert ran.exit_code == 1 and "shop is a link" in ran.output
    assert list((folder / "elsewhere").iterdir()) == []
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    ran = CliRunner().invoke(main, ["run", "shop.yaml", "--port", "0", "--set", "name=other"])
    assert ran.exit_code == 1 and "other belongs to another user" in ran.output


def test_what_is_no_file_where_a_file_should_be_is_told(folder: Path) -> None:
    (folder / ".sketchstream" / "shop").mkdir(parents=True)
    os.mkfifo(folder / ".sketchstream" / "shop" / "running")
    ran = CliRunner().invoke(main, ["run", "shop.yaml", "--port", "0"])
    assert ran.exit_code == 1 and "running is neither a file nor a folder" in ran.output


def test_a_link_that_comes_in_between_is_not_followed_either(folder: Path) -> None:
    target = folder / "target"
    target.write_text("precious")
    for name in ("own", ".whole.draft", "whole"):
        (folder / name).symlink_to(target)
    with pytest.raises(OSError, match="Too many levels"):
        open_private(folder / "own")
    write_atomically(folder / "whole", b"new")
    assert target.read_text() == "precious" and (folder / "whole").read_bytes() == b"new"
    assert not (folder / "whole").is_symlink() and not (folder / ".whole.draft").is_symlink()


def _is_free(folder: Path) -> bool:
    try:
        with only_run(load_pipeline(folder / "shop.yaml")):
            return True
    except EnvironmentProblem:
        return False
