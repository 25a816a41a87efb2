"""A JobManager that is killed under `run --cluster`: what is told, and the run gone on with, exactly once."""

from __future__ import annotations

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from clusters import start
from processes import Run, read_output, write_pipeline
from waiting import wait_for

from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
EVENTS, MINUTE_MS, START_MS = 5_000, 60_000, 1_700_000_040_000
PIPELINE = {
    "name": "bereft",
    "checkpoints": {"every": "1s"},
    "source": {"type": "file", "path": "events.json", "chunk_bytes": 1500},
    "event": {"fields": {"u": "string", "ts": "long"}, "time": {"field": "ts", "unit": "ms"}},
    "metrics": [{"name": "n", "kind": "count", "by": ["u"], "windows": [{"tumbling": "1m"}]}],
    "sinks": {name: {"type": "file", "path": name} for name in ("results", "late", "rejects")},
}


def test_a_run_whose_job_manager_is_killed_is_gone_on_with_as_it_says_and_counts_each_event_once(
    runs: list[Run], flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    events = [{"u": f"user {n * 7919 % 13}", "ts": START_MS + n * 500} for n in range(EVENTS)]
    (tmp_path / "events.json").write_text("".join(f"{json.dumps(event)}\n" for event in events))
    write_pipeline(tmp_path, PIPELINE)
    run = start(runs, tmp_path, flink_cluster)
    wait_for(lambda: read_output(tmp_path / "results"), "results", lambda: run.process.poll() is None)

    os.kill(flink_cluster.job_manager, signal.SIGKILL)
    silence = f"{flink_cluster.address} has not answered for "
    wait_for(lambda: silence in run.err, "word of it", lambda: run.process.poll() is None)
    flink_cluster.start()

    assert run.wait() == 1 and run.out == ""
    assert f"bereft failed: {flink_cluster.address} no longer knows the job {run.job()}" in run.err
    assert "Traceback" not in run.err
    told = dict(line.split(": ", 1) for line in run.err.splitlines() if ": " in line)
    assert Path(told["its last checkpoint"].removeprefix("file://"), "_metadata").is_file()
    assert told["go on with"] == (
        f"sketchstream run pipeline.yaml --cluster {flink_cluster.address} --from latest"
    )
    before = len(read_output(tmp_path / "results"))
    again = Run(tmp_path, *told["go on with"].split()[1:], "--json")
    runs.append(again)
    assert again.outcome()["state"] == "FINISHED"

    results = read_output(tmp_path / "results")
    counted = Counter((event["u"], event["ts"] // MINUTE_MS * MINUTE_MS) for event in events)
    assert 0 < before < len(results) == len(counted)
    assert {(r["key"]["u"], r["window"]["start_ms"]): r["value"] for r in results} == counted
    assert read_output(tmp_path / "late") == read_output(tmp_path / "rejects") == []
