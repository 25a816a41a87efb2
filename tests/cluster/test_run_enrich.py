"""Enriched events of a real job: each once, new exactly where its user is, totals as the shop had them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cluster_runs import run_pipeline
from processes import Run, read_output, write_pipeline
from waiting import wait_for

from flink_job.sinks.file_sink import read_lines

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

EVENTS = 20_000


PIPELINE = {
    "name": "shop",
    "source": {"type": "simulator", "events": EVENTS},
    "event": {
        "fields": {"event_id": "string", "user_id": "string", "action": "string", "value": "double"}
        | {"ts": "long"},
        "time": {"field": "ts", "unit": "ms"},
    },
    "metrics": [{"name": "users", "kind": "distinct", "of": "user_id", "windows": [{"tumbling": "1h"}]}],
    "enrich": {"user": "user_id", "action": "action", "value": "value", "exact": True},
}


def expect_all_once(events: list[dict[str, Any]], count: int) -> None:
    """Every event is there once, each user new once, and counts and totals have no gap."""
    assert len(events) == len({event["event_id"] for event in events}) == count
    users = {event["user_id"] for event in events}
    assert Counter(event["user_id"] for event in events if event["is_new_user"]) == dict.fromkeys(users, 1)
    for action, own_count in Counter(event["action"] for event in events).items():
        own = [event for event in events if event["action"] == action]
        assert sorted(event[f"{action}_count_est"] for event in own) == list(range(1, own_count + 1))
        total = max(event[f"value_{action}"] for event in own)
        assert total == pytest.approx(sum(event["value"] for event in own))


def test_each_event_comes_out_once_with_what_is_known_by_then(tmp_path: Path) -> None:
    run = run_pipeline(tmp_path, PIPELINE)
    events = [json.loads(line) for line in read_lines(tmp_path / ".sketchstream" / "shop" / "enriched")]

    assert run.outcome["events"] == EVENTS
    expect_all_once(events, EVENTS)
    (answer,) = run.of("users")
    assert answer["lower"] <= max(event["unique_users_est"] for event in events) <= answer["upper"]


@pytest.mark.slow
def test_a_job_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    events = 60_000
    options = {
        "source": {"type": "simulator", "events": events, "rate": 6_000},
        "checkpoints": {"every": "1s"},
        "sinks": {name: {"type": "file", "path": name} for name in ("results", "enriched")},
    }
    write_pipeline(tmp_path, PIPELINE | options)
    run = Run(tmp_path, "run", "pipeline.yaml", "--port", "0", "--json")
    try:
        wait_for(lambda: read_output(tmp_path / "enriched"), "events", lambda: run.process.poll() is None)
        run.kill()
        run.expect_nothing_left()
    finally:
        run.clean_up()
    assert 0 < len(read_output(tmp_path / "enriched")) < events
    run = Run(tmp_path, "run", "pipeline.yaml", "--port", "0", "--json", "--from", "latest")
    try:
        assert run.outcome()["events"] == events
    finally:
        run.clean_up()
    expect_all_once(read_output(tmp_path / "enriched"), events)
