"""One job after another on the same TaskManagers: what a job took is given back."""

from __future__ import annotations

import json
import re
import urllib.request
from pathlib import Path

import pytest
from clusters import start
from processes import Run, write_pipeline
from topics import Message, make_topic, read_committed, send

from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
SLOTS = 4
LOADED = re.compile(
    r"^flink_taskmanager_Status_JVM_ClassLoader_Classes(Unl|L)oaded\{.*\} (\S+)$", re.MULTILINE
)


def classes_held(cluster: FlinkCluster) -> float:
    """How many classes all TaskManagers together have loaded and not given back."""
    texts = [
        urllib.request.urlopen(f"http://localhost:{port}/metrics").read().decode()
        for port in cluster.metrics_ports
    ]
    return sum(float(n) * (1 if kind == "L" else -1) for text in texts for kind, n in LOADED.findall(text))


def test_jobs_do_not_fill_the_task_managers_with_classes(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    """A job that loads PyFlink and the connector for itself leaves 6,500 classes in each TaskManager."""
    make_topic(broker.address, "events", SLOTS)
    send(broker.address, "events", [Message(json.dumps({"t": i}).encode(), i % SLOTS) for i in range(100)])
    pipeline = {
        "name": "again",
        "parallelism": SLOTS,
        "source": {"type": "kafka", "brokers": broker.address, "topic": "events", "stop": "latest"},
        "event": {"fields": {"t": "long"}, "time": {"field": "t", "unit": "ms"}, "min_time": "1970-01-01"},
        "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1s"}]}],
        "sinks": {
            output: {"type": "kafka", "topic": f"again-{output}", "create": True}
            for output in ("results", "late", "rejects")
        },
    }
    write_pipeline(tmp_path, pipeline)
    held = []
    for number in (1, 2):
        run = start(runs, tmp_path, flink_cluster)
        assert run.wait() == 0, run.err
        assert [r["value"] for r in read_committed(broker.address, "again-results")] == [100] * number
        held.append(classes_held(flink_cluster))
    assert held[0] > 20_000
    assert held[-1] - held[0] < 1_500
