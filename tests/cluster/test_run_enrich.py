"""Enriched events of a real job: each once, new exactly where its user is, totals as the shop had them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from cluster_runs import run_pipeline

from flink_job.sinks.file_sink import read_lines

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

EVENTS = 20_000


def test_each_event_comes_out_once_with_what_is_known_by_then(tmp_path: Path) -> None:
    pipeline = {
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
    run = run_pipeline(tmp_path, pipeline)
    events = [json.loads(line) for line in read_lines(tmp_path / ".sketchstream" / "shop" / "enriched")]

    assert run.outcome["events"] == len(events) == len({event["event_id"] for event in events}) == EVENTS
    users = {event["user_id"] for event in events}
    assert Counter(event["user_id"] for event in events if event["is_new_user"]) == dict.fromkeys(users, 1)
    for action, count in Counter(event["action"] for event in events).items():
        own = [event for event in events if event["action"] == action]
        assert sorted(event[f"{action}_count_est"] for event in own) == list(range(1, count + 1))
        total = max(event[f"value_{action}"] for event in own)
        assert total == pytest.approx(sum(event["value"] for event in own))
    (answer,) = run.of("users")
    assert answer["lower"] <= max(event["unique_users_est"] for event in events) <= answer["upper"]
