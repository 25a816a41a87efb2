"""Event time over partitions of Kafka: fast and slow ones, restarts in the middle, idle ones, and silence."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from clusters import busy_task_manager, cancel, restarts, start, stop, workers
from processes import Run, write_pipeline
from topics import CommittedReader, Feed, Message, make_topic, read_committed, send
from waiting import wait_for

from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
WINDOW_MS = 10_000


def pipeline(name: str, address: str, parallelism: int, **event: Any) -> dict[str, Any]:
    """Counts events in windows of ten seconds; outputs are the topics NAME-results, -late and -rejects."""
    return {
        "name": name,
        "parallelism": parallelism,
        "checkpoints": {"every": "500ms"},
        "source": {"type": "kafka", "brokers": address, "topic": name},
        "event": {
            "fields": {"t": "long"},
            "time": {"field": "t", "unit": "ms"},
            "out_of_orderness": "1s",
            "idle_timeout": "20s",
            **event,
        },
        "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": f"{WINDOW_MS}ms"}]}],
        "sinks": {
            output: {"type": "kafka", "topic": f"{name}-{output}", "create": True}
            for output in ("results", "late", "rejects")
        },
    }


class Clocks:
    """Makes events of partitions whose clocks differ, a hundred milliseconds apart in each."""

    def __init__(self, *first_ms: int) -> None:
        self._next = list(first_ms)
        self.times: list[int] = []

    def __call__(self) -> list[Message]:
        made = [Message(json.dumps({"t": t}).encode(), partition) for partition, t in enumerate(self._next)]
        self.times += self._next
        self._next = [t + 100 for t in self._next]
        return made

    def counts_before(self, end_ms: int) -> dict[int, int]:
        """How many events there are in each window that ends by then."""
        counts = Counter(t // WINDOW_MS * WINDOW_MS for t in self.times)
        return {window: count for window, count in counts.items() if window + WINDOW_MS <= end_ms}

    @property
    def slowest_ms(self) -> int:
        """The newest time of the slowest partition."""
        return min(self._next) - 100


def recent_window_ms() -> int:
    """When a window began, some ten minutes ago."""
    return (time.time_ns() // 10**6 - 10 * MINUTE_MS) // WINDOW_MS * WINDOW_MS


def answers(results: list[dict[str, Any]]) -> dict[int, int]:
    """The value of each window, which must not have been sent twice."""
    twice = [r for r in Counter((r["id"], r["revision"]) for r in results).items() if r[1] > 1]
    assert not twice
    return {r["window"]["start_ms"]: r["value"] for r in results}


@pytest.mark.parametrize("parallelism", [1, 2])
def test_of_partitions_an_hour_apart_nothing_is_late_also_across_a_restart(
    parallelism: int, runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    """With one reader it has both partitions; with two each has its own."""
    name = f"apart{parallelism}"
    make_topic(broker.address, name, 2)
    write_pipeline(tmp_path, pipeline(name, broker.address, parallelism))
    slow_ms = time.time_ns() // 10**6 - 2 * HOUR_MS
    clocks = Clocks(slow_ms, slow_ms + HOUR_MS)
    with (
        Feed(broker.address, name, clocks, every_s=0.01) as feed,
        CommittedReader(broker.address, f"{name}-results") as reader,
    ):
        run = start(runs, tmp_path, flink_cluster, "--detach")
        assert run.wait() == 0, run.err
        job = run.job()
        reader.read_until(lambda results: len(results) > 1, "results before the restart")
        os.kill(workers(busy_task_manager(flink_cluster))[0], signal.SIGKILL)
        wait_for(lambda: restarts(flink_cluster, job) > 0, "a restart")
        if len(flink_cluster.task_managers) < 2:
            flink_cluster.start_task_manager()
        before = len(reader.read_all())
        reader.read_until(lambda results: len(results) > before + 1, "results after the restart")
        feed.stop()
        wanted = clocks.counts_before(clocks.slowest_ms - 2_000)
        reader.read_until(lambda results: answers(results).items() >= wanted.items(), "all windows")
        results = reader.read_all()
    cancel(flink_cluster, job)
    assert answers(results) == clocks.counts_before(clocks.slowest_ms - 1_000)
    assert read_committed(broker.address, f"{name}-late") == []


@pytest.mark.parametrize("fast", [0, 1])
def test_nothing_is_late_where_the_first_batches_are_of_the_fast_partition_alone(
    fast: int, runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    """A backlog is read by one reader, five hundred messages at a time: those of one partition come first."""
    name = f"backlog{fast}"
    make_topic(broker.address, name, 2)
    given = pipeline(name, broker.address, 1)
    given["source"] |= {"stop": "latest", "batch_messages": 500}
    write_pipeline(tmp_path, given)
    slow_ms = (time.time_ns() // 10**6 - 3 * HOUR_MS) // WINDOW_MS * WINDOW_MS
    times = [
        (partition, slow_ms + (partition == fast) * HOUR_MS + 100 * i)
        for partition in (0, 1)
        for i in range(5_000)
    ]
    send(broker.address, name, [Message(json.dumps({"t": t}).encode(), p) for p, t in times])
    run = start(runs, tmp_path, flink_cluster)
    assert run.wait() == 0, run.err
    counts = Counter(t // WINDOW_MS * WINDOW_MS for _, t in times)
    assert read_committed(broker.address, f"{name}-late") == []
    assert answers(read_committed(broker.address, f"{name}-results")) == counts


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_partition_that_never_has_an_event_does_not_keep_windows_open(
    parallelism: int, runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    name = f"idle{parallelism}"
    make_topic(broker.address, name, 2)
    write_pipeline(tmp_path, pipeline(name, broker.address, parallelism, idle_timeout="3s"))
    clocks = Clocks(time.time_ns() // 10**6 - 10 * MINUTE_MS)
    with (
        Feed(broker.address, name, clocks, every_s=0.01) as feed,
        CommittedReader(broker.address, f"{name}-results") as reader,
    ):
        run = start(runs, tmp_path, flink_cluster, "--detach")
        assert run.wait() == 0, run.err
        reader.read_until(lambda results: len(results) > 2, "results of one partition")
        feed.stop()
        results = reader.read_all()
    cancel(flink_cluster, run.job())
    assert answers(results).items() <= clocks.counts_before(clocks.slowest_ms).items()


def test_a_topic_that_falls_silent_has_its_windows_closed_where_the_pipeline_says_so(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    make_topic(broker.address, "silent", 2)
    given = pipeline("silent", broker.address, 1, idle_timeout="3s", on_idle="advance")
    write_pipeline(tmp_path, given)
    start_ms = recent_window_ms()
    clocks = Clocks(start_ms, start_ms + 50)
    steps = iter(range(150))
    with (
        Feed(
            broker.address, "silent", lambda: clocks() if next(steps, None) is not None else [], every_s=0.15
        ),
        CommittedReader(broker.address, "silent-results") as reader,
    ):
        run = start(runs, tmp_path, flink_cluster)
        # One window is full, the next is half full: nothing but the silence closes it.
        wanted = {start_ms: 200, start_ms + WINDOW_MS: 100}
        reader.read_until(lambda results: answers(results) == wanted, "both windows")
        stop(run)
        assert answers(reader.read_all()) == wanted


def test_so_it_has_where_one_partition_had_all_its_events_before_the_job_and_the_other_none(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    """There never is a watermark: when the other partition counts as idle, nothing comes to carry one."""
    make_topic(broker.address, "unheard", 2)
    given = pipeline("unheard", broker.address, 1, idle_timeout="3s", on_idle="advance")
    write_pipeline(tmp_path, given)
    start_ms = recent_window_ms()
    clocks = Clocks(start_ms)
    send(broker.address, "unheard", [message for _ in range(150) for message in clocks()])
    with CommittedReader(broker.address, "unheard-results") as reader:
        run = start(runs, tmp_path, flink_cluster)
        wanted = {start_ms: 100, start_ms + WINDOW_MS: 50}
        reader.read_until(lambda results: answers(results) == wanted, "both windows")
        stop(run)
