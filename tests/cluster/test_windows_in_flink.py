"""Early results, revisions, late events and the end of state, in a real job."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from processes import Run, read_output, write_pipeline
from waiting import wait_for

pytestmark = pytest.mark.cluster
START_MS, PAUSE = 1_700_000_000_000, 40
EVENT = {"fields": {"u": "string", "ts": "long"}, "time": {"field": "ts", "unit": "ms"}}


def pipeline(source: dict[str, Any], metrics: list[dict[str, Any]], **keys: Any) -> dict[str, Any]:
    sinks = {name: {"type": "file", "path": name} for name in ("results", "late", "rejects")}
    return {
        "name": "windows", "checkpoints": {"every": "1s"}, "source": source,
        "event": EVENT | {"out_of_orderness": "1s"}, "metrics": metrics, "sinks": sinks, **keys,
    }  # fmt: skip


def _pause(second: int) -> list[float]:
    return [second + number / 100 for number in range(PAUSE)]


def run_to_the_end(folder: Path) -> list[dict[str, Any]]:
    run = Run(folder, "run", "pipeline.yaml", "--port", "0", "--json")
    try:
        run.outcome()
    finally:
        run.clean_up()
    return read_output(folder / "results")


def test_open_windows_are_reported_early_with_rising_revisions_and_then_finally(tmp_path: Path) -> None:
    source = {"type": "simulator", "events": 4000, "rate": 800, "users": 20, "event_rate": 100}
    event = {"fields": {"user_id": "string", "ts": "long"}, "time": {"field": "ts", "unit": "ms"}}
    metric = {"name": "n", "kind": "count", "emit_every": "1s", "windows": [{"tumbling": "1d"}]}
    write_pipeline(tmp_path, pipeline(source, [metric]) | {"event": event})
    results = sorted(run_to_the_end(tmp_path), key=lambda result: result["revision"])
    assert len({result["id"] for result in results}) == 1
    assert [result["revision"] for result in results] == list(range(len(results))) and len(results) >= 3
    assert [result["final"] for result in results] == [False] * (len(results) - 1) + [True]
    counts = [result["value"] for result in results]
    assert all(one < other for one, other in pairwise(counts[:-1])) and counts[-1] == 4000


def test_a_late_event_revises_its_window_and_a_later_one_goes_to_the_late_output(tmp_path: Path) -> None:
    # PyFlink holds a watermark back to the end of its bundle, so a few bundles must pass before it counts.
    times_s = [1, 2, 3, *_pause(12), 4, 25, 31, *_pause(50), 5, 61]
    lines = [json.dumps({"u": "a", "ts": START_MS + round(1000 * time)}) for time in times_s]
    (tmp_path / "events.json").write_text("".join(f"{line}\n" for line in lines))
    source = {"type": "file", "path": "events.json", "chunk_bytes": 1}
    metric = {"name": "n", "kind": "count", "windows": [{"tumbling": "10s"}], "allowed_lateness": "20s"}
    write_pipeline(tmp_path, pipeline(source, [metric], parallelism=1))
    results = run_to_the_end(tmp_path)
    told = [
        (
            (result["window"]["start_ms"] - START_MS) // 1000,
            result["revision"],
            result["value"],
            result["final"],
        )
        for result in results
    ]
    assert sorted(told) == [
        (0, 0, 3, True), (0, 1, 4, True), (10, 0, PAUSE, True), (20, 0, 1, True), (30, 0, 1, True),
        (50, 0, PAUSE, True), (60, 0, 1, True),
    ]  # fmt: skip
    (late,) = read_output(tmp_path / "late")
    assert (late["payload"], late["line"], Path(late["file"]).name) == (
        lines[-2],
        len(lines) - 1,
        "events.json",
    )
    assert (late["metric"], late["key"], late["event_time_ms"]) == ("n", {}, START_MS + 5000)
    assert late["watermark_ms"] >= START_MS + 10_000 - 1 + 20_000


@pytest.mark.slow
def test_state_goes_back_to_what_open_windows_need(tmp_path: Path) -> None:
    keys, quiet = 1000, 40_000
    burst = [{"u": f"a user with a long name {number}", "ts": START_MS + number} for number in range(keys)]
    after = [{"u": "b", "ts": START_MS + 3_600_000 + number * 1000} for number in range(quiet)]
    lines = "".join(json.dumps(event) + "\n" for event in burst + after)
    (tmp_path / "events.json").write_text(lines)
    metrics = [
        {"name": "n", "kind": "count", "by": ["u"], "windows": [{"tumbling": "1m"}, {"session": "1m"}]},
        {
            "name": "d",
            "kind": "distinct",
            "of": "u",
            "by": ["u"],
            "windows": [{"sliding": "2m", "every": "1m"}],
        },
    ]
    source = {"type": "file", "path": "events.json", "chunk_bytes": 1000}
    write_pipeline(tmp_path, pipeline(source, metrics))
    run = Run(tmp_path, "run", "pipeline.yaml", "--port", "0", "--json")
    try:
        # An hour after the burst: by then all its windows have ended.
        wait_for(
            lambda: any(result["key"]["u"] == "b" for result in read_output(tmp_path / "results")),
            "a result of the time after the burst",
        )
        run.interrupt()
        outcome = run.outcome()
        run.expect_nothing_left()
    finally:
        run.clean_up()
    assert outcome["finished"] is False
    saved = Path(outcome["savepoint"].removeprefix("file:"))
    kept = sum(path.stat().st_size for path in saved.rglob("*") if path.is_file())
    assert b"a user with a long name" not in b"".join(
        path.read_bytes() for path in saved.rglob("*") if path.is_file()
    )
    assert kept < 60_000, f"{kept} bytes of state after all but a few windows have ended"
