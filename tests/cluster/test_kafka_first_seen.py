"""First events through a real broker: a backlog after a silence is in its windows, none of it late."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from clusters import start, stop
from processes import Run, wait_for, write_pipeline
from topics import Message, make_topic, read_committed, send

from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(480)]

SECOND_MS, HOUR_MS = 1_000, 3_600_000
SILENCE_S = 10


def test_a_backlog_after_a_silence_is_in_its_windows_and_none_of_it_late(
    broker: Broker, flink_cluster: FlinkCluster, runs: list[Run], tmp_path: Path
) -> None:
    """Of windows that wait and of those that go on through a silence, side by side.

    Twice, the second time after a restart. One event in four has no user and goes to the windows at once, the
    others by way of the first-seen operator, whose channel counts as idle after the silence.
    """
    jobs = [Job(on_idle, broker.address, tmp_path / on_idle) for on_idle in ("wait", "advance")]
    for round_, (backlog, *options) in enumerate(((60,), (600, "--from", "latest")), 1):
        started = [start(runs, job.folder, flink_cluster, *options) for job in jobs]
        for job in jobs:
            job.send([job.event(backlog - 30), Message(b"a reject: the job is there")])
        for job in jobs:
            wait_for(lambda job=job, n=round_: len(job.read("rejects")) == n, "a reject")
        time.sleep(SILENCE_S)  # everything is idle by now
        for job in jobs:
            job.send([job.event(second) for second in range(backlog, backlog + 60)])
        time.sleep(SILENCE_S)
        for job in jobs:
            if job.on_idle == "wait":
                job.send([job.event(backlog + 240)])
        for job, run in zip(jobs, started, strict=True):
            wait_for(lambda job=job: job.read("late") or len(job.read("results")) >= len(job.due()), "all")
            assert job.read("late") == []
            stop(run)
    for job in jobs:
        assert job.read("late") == []
        seen: set[str | None] = {None}
        expected = {}
        for start_s, users in job.due().items():
            new = set(users) - seen
            seen |= new
            expected[start_s] = [(len(users), len(new), 0, True)]
        assert job.told() == expected


class Job:
    """A job over a topic of its own, and what was sent there.

    Args:
        on_idle: what its windows do in a silence.
        address: the broker.
        folder: where its pipeline file goes.
    """

    def __init__(self, on_idle: str, address: str, folder: Path) -> None:
        self.on_idle, self.folder, self._address, self._topic = on_idle, folder, address, f"clicks-{on_idle}"
        self._begin_ms = (time.time_ns() // 10**6 // HOUR_MS - 3) * HOUR_MS
        self._users: dict[int, list[str | None]] = {}
        folder.mkdir()
        make_topic(address, self._topic, 1)
        write_pipeline(folder, pipeline(address, self._topic, on_idle))

    def event(self, second: int) -> Message:
        """An event of that second."""
        user = None if second % 4 == 3 else f"user {second % 40}"
        self._users.setdefault(second // 10 * 10, []).append(user)
        return Message(json.dumps({"user": user, "t": self._begin_ms + second * SECOND_MS}).encode())

    def due(self) -> dict[int, list[str | None]]:
        """The users of each window that has to be answered: where windows wait, all but the newest one."""
        starts = sorted(self._users)
        return {start_s: self._users[start_s] for start_s in starts[: -1 if self.on_idle == "wait" else None]}

    def told(self) -> dict[int, list[tuple[int, int, int, bool]]]:
        """What results say of each window: events, new users, revision, whether final."""
        told: dict[int, list[tuple[int, int, int, bool]]] = {}
        for r in self.read("results"):
            start_s = (r["window"]["start_ms"] - self._begin_ms) // SECOND_MS
            told.setdefault(start_s, []).append((r["events"], r["new"], r["revision"], r["final"]))
        return told

    def send(self, messages: list[Message]) -> None:
        """Send messages to the topic."""
        send(self._address, self._topic, messages)

    def read(self, output: str) -> list[dict[str, Any]]:
        """What is in one of the job's topics."""
        return read_committed(self._address, f"{self._topic}-{output}")


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
