"""A run that is killed or stopped and gone on with gives what an undisturbed one gives."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cluster_runs import COMMAND
from processes import Run, read_output, write_pipeline
from waiting import wait_for

pytestmark = pytest.mark.cluster
FRAGILE = (sys.executable, Path(__file__).with_name("fragile_command.py"))
EVENTS, KEYS, START_MS = 6_000, 41, 1_700_000_000_000
LATE_EVERY, LATE_BY_S = 500, 2_500
EXACT = ("n", "total", "users", "visits")
PIPELINE: dict[str, Any] = {
    "name": "recovery",
    "checkpoints": {"every": "1s"},
    "source": {"type": "file", "path": "events.json", "chunk_bytes": 1500},
    "event": {
        "fields": {"u": "string", "v": "double", "ts": "long"},
        "time": {"field": "ts", "unit": "ms"},
        "out_of_orderness": "2s",
    },
    "metrics": [
        {"name": "n", "kind": "count", "by": ["u"], "windows": [{"tumbling": "10m"}]},
        {"name": "total", "kind": "sum", "of": "v", "windows": [{"sliding": "10m", "every": "5m"}]},
        {"name": "users", "kind": "distinct", "of": "u", "windows": [{"tumbling": "7m"}]},
        {"name": "spread", "kind": "quantiles", "of": "v", "at": [0.5], "windows": [{"tumbling": "20m"}]},
        {"name": "visits", "kind": "count", "by": ["u"], "windows": [{"session": "40s"}]},
    ],
    "sinks": {name: {"type": "file", "path": name} for name in ("results", "late", "rejects")},
}


@dataclass(frozen=True)
class Written:
    """What is in the output folders of a run."""

    results: list[dict[str, Any]]
    late: Counter[str]
    rejects: Counter[str]


def events() -> Iterator[str]:
    """Yield an event a second of 41 users; some far too late, some that are no JSON."""
    for second in range(EVENTS):
        event = {"u": f"user {second * 7919 % KEYS}", "v": second % 100 / 8, "ts": START_MS + second * 1000}
        yield json.dumps(event)
        if second > 1.2 * LATE_BY_S and second % LATE_EVERY == 0:
            yield json.dumps(event | {"ts": event["ts"] - LATE_BY_S * 1000, "u": f"late {second}"})
        if second % 997 == 0:
            yield f"no JSON {second}"


def prepared(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "events.json").write_text("".join(f"{line}\n" for line in events()))
    write_pipeline(folder, PIPELINE)
    return folder


def start(folder: Path, *options: str, command: Sequence[str | Path] = (COMMAND,)) -> Run:
    return Run(folder, "run", "pipeline.yaml", "--port", "0", "--json", *options, command=command)


def written(folder: Path) -> Written:
    where = ("metric", "payload", "event_time_ms", "line")
    late = Counter(json.dumps([entry[key] for key in where]) for entry in read_output(folder / "late"))
    rejects = Counter(json.dumps(entry, sort_keys=True) for entry in read_output(folder / "rejects"))
    return Written(read_output(folder / "results"), late, _without_folder(rejects, folder))


def _without_folder(texts: Counter[str], folder: Path) -> Counter[str]:
    return Counter({text.replace(str(folder), ""): count for text, count in texts.items()})


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Written:
    folder = prepared(tmp_path_factory.mktemp("undisturbed"))
    run = start(folder)
    try:
        outcome = run.outcome()
    finally:
        run.clean_up()
    found = written(folder)
    assert outcome["events"] == sum(1 for _ in events()) and outcome["results"] == len(found.results)
    assert len(found.late) == len(PIPELINE["metrics"]) * 5 and len(found.rejects) == 7
    return found


def expect_the_same(folder: Path, undisturbed: Written) -> None:
    """Every result exactly once and as it would have been, late events and rejects too."""
    found = written(folder)
    sent = Counter((result["id"], result["revision"]) for result in found.results)
    assert set(sent.values()) == {1}
    expected = {(result["id"], result["revision"]): result for result in undisturbed.results}
    assert sent.keys() == expected.keys()
    for result in found.results:
        other = expected[result["id"], result["revision"]]
        if result["metric"] in EXACT:
            assert result == other
        else:  # quantile sketches flip coins; with so few values their answer is exact all the same
            assert result["events"] == other["events"]
            one, two = result["quantiles"]["0.5"], other["quantiles"]["0.5"]
            assert one["lower"] <= two["value"] <= one["upper"]
    assert found.late == undisturbed.late
    assert found.rejects == undisturbed.rejects


def await_output(run: Run, folder: Path) -> None:
    """Wait until a checkpoint has made results visible, while there is more to come."""
    wait_for(lambda: read_output(folder / "results"), "results", lambda: run.process.poll() is None)


@pytest.mark.slow
def test_a_command_killed_at_its_first_checkpoint_and_again_later_goes_on_to_the_same_results(
    tmp_path: Path, undisturbed: Written
) -> None:
    folder = prepared(tmp_path)
    for options, await_moment in (
        ((), lambda run: run.await_checkpoints(1)),
        (("--from", "latest"), lambda run: await_output(run, folder)),
    ):
        run = start(folder, *options)
        try:
            await_moment(run)
            run.kill()
            run.expect_nothing_left()
        finally:
            run.clean_up()
    before = len(read_output(folder / "results"))
    assert 0 < before < len(undisturbed.results)
    left = set(folder.glob(".sketchstream/recovery/tmp/minicluster_*"))
    assert left
    run = start(folder, "--from", "latest")
    try:
        assert run.outcome()["results"] == len(undisturbed.results)
        run.expect_nothing_left()
        assert not any(path.exists() for path in left)
    finally:
        run.clean_up()
    expect_the_same(folder, undisturbed)


def test_ctrl_c_leaves_a_savepoint_from_which_the_run_goes_on_to_the_same_results(
    tmp_path: Path, undisturbed: Written
) -> None:
    folder = prepared(tmp_path)
    run = start(folder)
    try:
        await_output(run, folder)
        run.interrupt()
        stopped = run.outcome()
        run.expect_nothing_left()
    finally:
        run.clean_up()
    assert stopped["finished"] is False
    assert (Path(stopped["savepoint"].removeprefix("file:")) / "_metadata").is_file()
    assert 0 < stopped["results"] < len(undisturbed.results)
    run = start(folder, "--from", "latest")
    try:
        gone_on = run.outcome()
    finally:
        run.clean_up()
    assert gone_on["finished"] is True and gone_on["events"] == sum(1 for _ in events())
    expect_the_same(folder, undisturbed)


def test_a_worker_that_is_killed_is_replaced_and_the_results_are_the_same(
    tmp_path: Path, undisturbed: Written
) -> None:
    folder = prepared(tmp_path)
    run = start(folder)
    try:
        await_output(run, folder)
        os.kill(run.workers()[0], signal.SIGKILL)
        outcome = run.outcome()
        assert "restarts after: " in run.err
        run.expect_nothing_left()
    finally:
        run.clean_up()
    assert outcome["finished"] is True
    expect_the_same(folder, undisturbed)


@pytest.mark.timeout(600)
def test_a_task_manager_that_ends_and_a_java_process_that_crashes_are_replaced_and_the_results_are_the_same(
    tmp_path: Path, undisturbed: Written
) -> None:
    folder = prepared(tmp_path)
    run = start(folder, command=FRAGILE)
    try:
        await_output(run, folder)
        os.kill(run.process.pid, signal.SIGUSR1)
        wait_for(lambda: run.err.count("; going on from ") == 1, "a new Java process")
        # Not until it has results: it may be done before a checkpoint shows any.
        wait_for(lambda: run.java() and run.workers(), "workers of it")
        os.kill(run.java()[0], signal.SIGSEGV)
        outcome = run.outcome()
        assert list(folder.glob(".sketchstream/recovery/logs/java-crash-*.log"))
        assert run.err.count("Flink's TaskManager is gone: ") == 1
        assert run.err.count("the Java process is gone: ") == 1
        assert run.err.count("; going on from ") == 2 and "Traceback" not in run.err
        run.expect_nothing_left()
    finally:
        run.clean_up()
    assert outcome["finished"] is True
    expect_the_same(folder, undisturbed)


@pytest.mark.slow
def test_a_java_process_that_is_killed_before_its_first_checkpoint_is_told_in_a_line(tmp_path: Path) -> None:
    folder = prepared(tmp_path)
    run = start(folder, "--set", "checkpoints.every=1h")
    try:
        wait_for(lambda: run.workers(), "workers", lambda: run.process.poll() is None)
        os.kill(run.java()[0], signal.SIGKILL)
        assert run.wait() == 1
        assert "recovery failed: the Java process is gone" in run.err and "Traceback" not in run.err
        assert "no checkpoint yet, so there is nothing to go on from; begin again with: sketch" in run.err
        run.expect_nothing_left()
    finally:
        run.clean_up()
