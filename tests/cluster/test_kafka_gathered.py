"""Gathered metrics through a real broker: answers once all is in, and late events once with their place."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from clusters import start, stop
from processes import Run, write_pipeline
from topics import Message, make_topic, read_committed, send
from waiting import wait_for

from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(480)]

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


def test_answers_come_after_a_silence_and_late_events_go_to_the_late_topic_once(
    broker: Broker, flink_cluster: FlinkCluster, runs: list[Run], tmp_path: Path
) -> None:
    begin_ms = (time.time_ns() // 10**6 // HOUR_MS - 3) * HOUR_MS

    def event(user: str, item: str, minute: int) -> Message:
        payload = {"user": user, "item": item, "t": begin_ms + minute * MINUTE_MS}
        return Message(json.dumps(payload).encode(), 0)

    make_topic(broker.address, "baskets", 1)
    write_pipeline(tmp_path, pipeline(broker.address))
    run = start(runs, tmp_path, flink_cluster)
    first = [event("ann", "tea", 1), event("ann", "milk", 2), event("bob", "tea", 3)]
    send(broker.address, "baskets", [*first, Message(b"a reject: all before it is read")])
    wait_for(lambda: read_committed(broker.address, "basket-rejects"), "the reject")
    time.sleep(10)  # everything is idle by now, and what comes next closes all that came before
    assert read_committed(broker.address, "basket-results") == []
    send(broker.address, "baskets", [event("eve", "tea", 90)])
    wait_for(lambda: len(read_committed(broker.address, "basket-results")) == 2, "both answers")
    send(broker.address, "baskets", [event("ann", "jam", 4), event("bob", "milk", 89)])
    wait_for(lambda: len(read_committed(broker.address, "basket-late")) >= 2, "late events")
    stop(run)

    results = {result["metric"]: result for result in read_committed(broker.address, "basket-results")}
    pair = {"item": ["milk", "tea"], "count": 1, "lower": 1, "upper": 1}
    assert (results["together"]["items"], results["together"]["orders"]) == ([pair], 2)
    assert [step["users"] for step in results["ways"]["steps"]] == [2, 1, 0]
    assert all(result["revision"] == 0 and result["final"] for result in results.values())
    late = read_committed(broker.address, "basket-late")
    assert sorted(entry["metric"] for entry in late) == ["together", "ways"]
    for entry in late:
        assert json.loads(entry["payload"])["item"] == "jam"
        assert (entry["event_time_ms"], entry["key"]) == (begin_ms + 4 * MINUTE_MS, {})
        assert (entry["topic"], entry["offset"]) == ("baskets", 5)
    assert len(read_committed(broker.address, "basket-rejects")) == 1


def pipeline(address: str) -> dict[str, object]:
    windows = [{"tumbling": "1h"}]
    steps = [{"name": name, "where": f"item = '{name}'"} for name in ("tea", "milk", "jam")]
    return {
        "name": "baskets",
        "parallelism": 2,
        "checkpoints": {"every": "500ms"},
        "source": {"type": "kafka", "brokers": address, "topic": "baskets"},
        "event": {
            "fields": {"user": "string", "item": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
            "out_of_orderness": "1s",
            "idle_timeout": "3s",
        },
        "metrics": [
            {"name": "together", "kind": "top_pairs", "of": "item", "within": "user", "gap": "10m"}
            | {"windows": windows},
            {"name": "ways", "kind": "funnel", "of": "user", "steps": steps, "within": "10m", "exact": True}
            | {"windows": windows, "where": "item != 'bag'"},
        ],
        "sinks": {
            output: {"type": "kafka", "topic": f"basket-{output}", "create": True}
            for output in ("results", "late", "rejects")
        },
    }
