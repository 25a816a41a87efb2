"""Two runs of a pipeline in one folder: the second is refused until the first has ended, be it killed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from waiting import wait_for

from flink_job.cli import main
from flink_job.machine.environment import EnvironmentProblem
from flink_job.pipeline.reading import load_pipeline
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


def _is_free(folder: Path) -> bool:
    try:
        with only_run(load_pipeline(folder / "shop.yaml")):
            return True
    except EnvironmentProblem:
        return False
