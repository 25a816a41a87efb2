"""Rules on results on a real cluster: a changed file behind a savepoint, keys that are absent."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from clusters import start, stop
from processes import Run, write_pipeline
from topics import CommittedReader, Message, make_topic, send

from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(500)]

OUTPUTS = ("results", "late", "rejects", "alerts", "audit")
SECOND = 1000


def test_a_changed_file_takes_effect_behind_a_savepoint_and_absent_keys_are_told(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    address, begun_ms = broker.address, time.time_ns() // 10**6 // SECOND * SECOND
    for topic in ("calls", "file-rules"):
        make_topic(address, topic, 1)

    def visit(user: str, second: int, times: int = 1) -> None:
        line = json.dumps({"user": user, "t": begun_ms + second * SECOND}).encode()
        send(address, "calls", [Message(line)] * times)

    with CommittedReader(address, "f-alerts") as alerts, CommittedReader(address, "f-audit") as audit:
        write_pipeline(tmp_path, pipeline(address, "value >= 3"))
        run = start(runs, tmp_path, flink_cluster)
        visit("ann", 0, times=3)
        visit("bob", 1)
        alerts.read_until(lambda found: any(a["rule"] == "busy" for a in found), "an alert of busy")
        audit.read_until(lambda found: len(found) == 2, "the rules of the file")
        # The topic of rules has been silent from the start: it must not hold the watermark back.
        visit("bob", 12)
        visit("bob", 14)
        alerts.read_until(lambda found: any(a["rule"] == "gone" for a in found), "an alert of gone")
        stop(run)

        write_pipeline(tmp_path, pipeline(address, "value >= 2"))
        again = start(runs, tmp_path, flink_cluster, "--from", "latest")
        audit.read_until(lambda found: len(found) == 3, "the changed rule of the file")
        visit("cat", 20, times=2)
        visit("bob", 22)
        alerts.read_until(lambda found: any(a["key"] == {"user": "cat"} for a in found), "an alert of cat")
        stop(again)
        lines, told = audit.read_all(), alerts.read_all()
    assert [(line["rule"], line["version"], line["what"]) for line in lines] == [
        ("busy", 1, "from_file"),
        ("gone", 1, "from_file"),
        ("busy", 2, "from_file"),
    ]
    found = {(a["rule"], a["key"]["user"], a["status"]): a["version"] for a in told}
    assert found[("busy", "ann", "firing")] == 1 and found[("busy", "cat", "firing")] == 2
    assert found[("gone", "ann", "firing")] == 1 and ("busy", "bob", "firing") not in found


def pipeline(address: str, when: str) -> dict[str, Any]:
    return {
        "name": "file-rules",
        "parallelism": 1,
        "checkpoints": {"every": "500ms"},
        "source": {"type": "kafka", "brokers": address, "topic": "calls"},
        "event": {
            "fields": {"user": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
            "out_of_orderness": "0s",
            "idle_timeout": "1s",
        },
        "metrics": [{"name": "calls", "kind": "count", "by": ["user"], "windows": [{"tumbling": "1s"}]}],
        "rules": [
            {"name": "busy", "metric": "calls", "when": when},
            {"name": "gone", "metric": "calls", "absent_for": "10s"},
        ],
        "rule_changes": {"topic": "file-rules"},
        "sinks": {output: {"type": "kafka", "topic": f"f-{output}", "create": True} for output in OUTPUTS},
    }
