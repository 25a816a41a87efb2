"""First events through a real broker: a backlog after a silence is in its windows, none of it late."""

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

SECOND_MS, HOUR_MS = 1_000, 3_600_000
SILENCE_S = 10


@pytest.mark.parametrize("on_idle", ["wait", "advance"])
def test_a_backlog_after_a_silence_is_in_its_windows_and_none_of_it_late(
    on_idle: str, broker: Broker, flink_cluster: FlinkCluster, runs: list[Run], tmp_path: Path
) -> None:
    """Twice, the second time after a restart.

    One event in four has no user and goes to the windows at once, the others by way of the first-seen
    operator, whose channel counts as idle after the silence.
    """
    begin_ms = (time.time_ns() // 10**6 // HOUR_MS - 3) * HOUR_MS
    topic, expected = f"clicks-{on_idle}", {}

    def event(second: int) -> Message:
        user = None if second % 4 == 3 else f"user {second % 40}"
        expected.setdefault(second // 10 * 10, []).append(user)
        return Message(json.dumps({"user": user, "t": begin_ms + second * SECOND_MS}).encode())

    def late() -> list[dict[str, object]]:
        return read_committed(broker.address, f"{topic}-late")

    make_topic(broker.address, topic, 1)
    write_pipeline(tmp_path, pipeline(broker.address, topic, on_idle))
    for round_, (backlog, *options) in enumerate(((60,), (600, "--from", "latest")), 1):
        run = start(runs, tmp_path, flink_cluster, *options)
        send(broker.address, topic, [event(backlog - 30), Message(b"a reject: the job is there")])
        wait_for(lambda n=round_: len(read_committed(broker.address, f"{topic}-rejects")) == n, "a reject")
        time.sleep(SILENCE_S)  # everything is idle by now
        send(broker.address, topic, [event(second) for second in range(backlog, backlog + 60)])
        if on_idle == "wait":
            time.sleep(SILENCE_S)
            send(broker.address, topic, [event(backlog + 240)])
        wanted = len(expected) if on_idle == "advance" else len(expected) - 1
        wait_for(
            lambda n=wanted: late() or len(read_committed(broker.address, f"{topic}-results")) >= n, "all"
        )
        assert late() == []
        stop(run)

    assert late() == []
    seen: set[str | None] = {None}
    told = {
        (r["window"]["start_ms"] - begin_ms) // SECOND_MS: (r["events"], r["new"], r["revision"], r["final"])
        for r in read_committed(broker.address, f"{topic}-results")
    }
    for start_s, users in sorted(expected.items()):
        new = set(users) - seen
        seen |= new
        if on_idle == "advance" or start_s != max(expected):
            assert told.pop(start_s) == (len(users), len(new), 0, True)
    assert not told


def pipeline(address: str, topic: str, on_idle: str) -> dict[str, object]:
    return {
        "name": topic,
        "parallelism": 2,
        "checkpoints": {"every": "500ms"},
        "source": {"type": "kafka", "brokers": address, "topic": topic},
        "event": {
            "fields": {"user": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
            "out_of_orderness": "1s",
            "idle_timeout": "3s",
            "on_idle": on_idle,
        },
        "metrics": [
            {"name": "visitors", "kind": "first_seen", "of": "user", "exact": True}
            | {"windows": [{"tumbling": "10s"}]}
        ],
        "sinks": {
            output: {"type": "kafka", "topic": f"{topic}-{output}", "create": True}
            for output in ("results", "late", "rejects")
        },
    }
