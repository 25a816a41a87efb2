"""`sketchstream run` as a user meets it: what it shows while it runs, how it ends, and who may connect."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import linux
import pytest
from processes import Run, read_output, write_pipeline
from waiting import wait_for

pytestmark = pytest.mark.cluster
EVENT = {
    "fields": {"user_id": "string", "action": "string", "value": "double", "ts": "long"},
    "time": {"field": "ts", "unit": "ms"},
    "require": ["user_id"],
}
METRICS = [{"name": "actions", "kind": "count", "by": ["action"], "windows": [{"tumbling": "10s"}]}]
OUTPUTS = (".sketchstream", "results", "late", "rejects")
SECRET = "not to be found in any file"


def pipeline(source: dict[str, Any], **keys: Any) -> dict[str, Any]:
    sinks = {name: {"type": "file", "path": name} for name in ("results", "late", "rejects")}
    return {
        "name": "shop", "checkpoints": {"every": "1s"}, "source": source, "event": EVENT, "metrics": METRICS,
        "sinks": sinks, **keys,
    }  # fmt: skip


def test_a_run_tells_how_it_is_doing_answers_on_its_port_and_ends_with_a_summary(tmp_path: Path) -> None:
    write_pipeline(
        tmp_path, pipeline({"type": "simulator", "events": 6000, "rate": 300, "users": 50, "bad_share": 0.1})
    )
    run = Run(tmp_path, "run", "pipeline.yaml", "--port", "0", environment={"SHOP_PASSWORD": SECRET})
    try:
        wait_for(lambda: re.search(r"http://localhost:\d+", run.out), "the address of the web UI")
        address = re.search(r"http://localhost:(\d+)", run.out)
        wait_for(lambda: re.search(r"results\s+[1-9]", run.out), "results, so that all workers are at work")
        ports = linux.ports(run.processes())
        assert ports[int(address[1])]
        # For each worker PyFlink's Beam binds six servers to every address.
        assert sum(not local for local in ports.values()) == 6 * len(run.workers()) > 0
        assert run.wait() == 0, run.out + run.err
        run.expect_nothing_left()
    finally:
        run.clean_up()
    written = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert any(b"Completed checkpoint" in text for text in written.values())
    made = [path for path in tmp_path.rglob("*") if path.relative_to(tmp_path).parts[0] in OUTPUTS]
    assert len(made) > 20 and [path for path in made if path.stat().st_mode & 0o077] == []
    assert [path for path, text in written.items() if SECRET.encode() in text] == []
    told = " ".join(run.out.split())
    shown = [int(count.replace(",", "")) for count in re.findall(r"events ([\d,]+) \(", told)]
    assert shown == sorted(shown) and 0 < max(shown) <= 6000
    counters = r"rejects \d+ late 0 results [1-9]\d* open windows [1-9]\d* watermark 2026-01-01 00:0"
    assert re.search(rf"running \d+ s events [\d,]+ \([\d,]+/s\) {counters}", told)
    rejects = read_output(tmp_path / "rejects")
    assert re.search(
        rf"shop is done: 6,000 events in [\d.]+ s .* {len(rejects)} rejects \(.*malformed_json", told
    )
    assert run.err == ""
    expect_refusal_and_overwriting(tmp_path)


def expect_refusal_and_overwriting(folder: Path) -> None:
    """A second run that begins afresh neither clears nor adds to results, unless it is told to."""
    before = read_output(folder / "results")
    refused = Run(folder, "run", "pipeline.yaml", "--port", "0")
    assert refused.wait() == 2
    assert "sinks.results.path: " in refused.err and "--from latest, or --overwrite it" in refused.err
    assert len(refused.err.splitlines()) == 1 and read_output(folder / "results") == before
    (folder / "empty.json").touch()
    write_pipeline(folder, pipeline({"type": "file", "path": "empty.json"}))
    again = Run(folder, "run", "pipeline.yaml", "--port", "0", "--overwrite", "--json")
    try:
        outcome = again.outcome()
    finally:
        again.clean_up()
    assert (outcome["finished"], outcome["events"], outcome["results"], outcome["rejects"]) == (
        True,
        0,
        0,
        {},
    )
    assert read_output(folder / "results") == [] and read_output(folder / "rejects") == []


def test_a_source_that_fails_in_the_middle_is_told_in_a_line_with_the_path_of_the_log(tmp_path: Path) -> None:
    line = json.dumps({"user_id": "a", "action": "view", "value": 1.0, "ts": 1_700_000_000_000})
    path = tmp_path / "events.json"
    path.write_text(f"{line}\n" * 20_000)
    write_pipeline(tmp_path, pipeline({"type": "file", "path": "events.json", "chunk_bytes": 500}))
    run = Run(tmp_path, "run", "pipeline.yaml", "--port", "0")
    try:
        wait_for(run.workers, "workers")
        path.write_text("something else")
        assert run.wait() == 1
        run.expect_nothing_left()
    finally:
        run.clean_up()
    failed, log = run.err.splitlines()
    assert failed == f"shop failed: {path}: changed or gone since the run began; start a new run"
    assert Path(log.removeprefix("the whole story: ")).is_file()


def test_a_job_that_cannot_be_started_is_told_in_a_line(tmp_path: Path) -> None:
    nowhere = {"dir": "file:///proc/no/such/folder"}
    write_pipeline(tmp_path, pipeline({"type": "simulator", "events": 10}, checkpoints=nowhere))
    run = Run(tmp_path, "run", "pipeline.yaml", "--port", "0")
    try:
        assert run.wait() == 1
        run.expect_nothing_left()
    finally:
        run.clean_up()
    failed, log = run.err.splitlines()
    assert failed.startswith("shop failed: a folder cannot be written to: file:/proc/no/such/folder/")
    assert Path(log.removeprefix("the whole story: ")).is_file()
