"""The metrics of a real job, read from Prometheus endpoints and by REST, against counts of what was sent.

One job reads a topic without end, so that its metrics stay when all is read.
"""

from __future__ import annotations

import json
import random
import re
import time
import urllib.request
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import pytest
from clusters import cancel, start
from engine import Engine
from kafka import KafkaProducer
from processes import write_pipeline
from topics import make_topic
from waiting import wait_for

from flink_job.cluster.rest import FlinkRest
from flink_job.commands.progress import COUNTERS
from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster
from state.window_state import LARGE_PARTIAL_BYTES

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
TOPIC, MINUTE, SECOND = "visits", 60_000, 1000
LAST = 700  # users who have windows open in the end, so many that the sketch of them is a large partial
SAMPLE = re.compile(r"^flink_taskmanager_job_task_operator_(?:(?:metric|reason)_)?(\w+)\{(.*)\} (\S+)$", re.M)
LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
EVENT = {
    "fields": {"user": "string", "value": "double", "ms": "long"},
    "time": {"field": "ms", "unit": "ms"},
    "out_of_orderness": "1s",
    "idle_timeout": "10m",
    "require": ["user"],
    "checks": ["value >= 0"],
}
METRICS = [
    {"name": "views", "kind": "count", "by": ["user"], "windows": [{"tumbling": "1m"}]},
    {"name": "unique_users", "kind": "distinct", "of": "user", "lg_k": 12, "windows": [{"tumbling": "1m"}]},
    {"name": "user-visits", "kind": "count", "by": ["user"], "windows": [{"session": "30s"}]},
]
BAD = {
    "malformed_json": b'{"user": ',
    "wrong_type": b'{"user": "ann", "value": "much", "ms": 1}',
    "missing_field": b'{"value": 1, "ms": 1700000000000}',
    "bad_time": b'{"user": "ann", "value": 1}',
    "failed_check": b'{"user": "ann", "value": -1, "ms": 1700000000000}',
}


@dataclass
class Told:
    """What the operators say: by metric name, label and subtask."""

    values: dict[tuple[str, str, str], int] = field(default_factory=dict)

    def each(self, name: str, label: str = "") -> list[int]:
        """Return the value of each subtask."""
        return [v for (n, own, _), v in sorted(self.values.items()) if (n, own) == (name, label)]

    def total(self, name: str, label: str = "") -> int:
        """Return the sum over all subtasks."""
        return sum(self.each(name, label))

    def by_label(self, name: str) -> dict[str, int]:
        """Return the sum over all subtasks by the label `metric` or `reason`."""
        totals: dict[str, int] = defaultdict(int)
        for (own, label, _), value in self.values.items():
            if own == name:
                totals[label] += value
        return dict(totals)


@dataclass
class Sent:
    """What was sent, and the times at which that was done."""

    base_ms: int
    events: list[tuple[int, str, int]]
    rejects: Counter[str]
    late: int
    late_sent_ms: int
    last_sent_ms: int


@dataclass
class Job:
    """A job that has read all that was sent."""

    rest: FlinkRest
    id: str
    sent: Sent
    told: Told
    told_ms: int


def scrape(cluster: FlinkCluster) -> Told:
    """Read the endpoints of all TaskManagers."""
    told = Told()
    for port in cluster.metrics_ports:
        with urllib.request.urlopen(f"http://localhost:{port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        for name, labels, value in SAMPLE.findall(text):
            own = dict(LABEL.findall(labels))
            where = f"{own['operator_id']} {own['subtask_index']}"
            label = own.get("metric") or own.get("reason") or own["operator_name"] * (name == "numRecordsIn")
            if value != "NaN":
                told.values[name, label, where] = int(float(value))
    return told


def expected_results(events: Iterable[tuple[int, str, int]], end_ms: int) -> dict[str, int]:
    """Return how many results each metric has, all windows before a time being over."""
    times: dict[str, list[int]] = defaultdict(list)
    for _, user, ms in sorted(events, key=lambda event: event[2]):
        if ms < end_ms:
            times[user].append(ms)
    return {
        "views": sum(len({ms // MINUTE for ms in own}) for own in times.values()),
        "unique_users": len({ms // MINUTE for own in times.values() for ms in own}),
        "user-visits": sum(1 + sum(b - a > 30 * SECOND for a, b in pairwise(own)) for own in times.values()),
    }


def expected_state(sent: Sent) -> dict[str, int]:
    """Return the bytes of each metric's state: all keys and values of the same job over dicts."""
    engine = Engine(
        {"name": "told", "event": EVENT, "metrics": METRICS}, follow=True, now_ms=sent.last_sent_ms
    )
    engine.send(*({"user": user, "value": 1, "ms": ms} for _, user, ms in sent.events))
    totals: dict[str, int] = defaultdict(int)
    for sharded in engine.maps.values():
        for shard, held in sharded.shards.items():
            metric = shard.partition("/")[0].partition("@")[0]
            totals[metric] += sum(len(key) + len(value) for key, value in held.items())
    return dict(totals)


@pytest.fixture(scope="module")
def job(
    flink_cluster: FlinkCluster, broker: Broker, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Job]:
    folder = tmp_path_factory.mktemp("metrics")
    make_topic(broker.address, TOPIC, 2)
    pipeline = {
        "name": "told",
        "source": {"type": "kafka", "brokers": broker.address, "topic": TOPIC},
        "event": EVENT,
        "metrics": METRICS,
        "parallelism": 2,
        "checkpoints": {"every": "2s", "dir": f"file://{folder}/checkpoints"},
        "sinks": {
            name: {"type": "file", "path": str(folder / name)} for name in ("results", "late", "rejects")
        },
    }
    write_pipeline(folder, pipeline)
    run = start([], folder, flink_cluster, "--detach")
    assert run.wait() == 0, run.err
    producer = KafkaProducer(bootstrap_servers=broker.address)
    sent = _send_all(producer, lambda: scrape(flink_cluster))
    producer.close()
    good = len(sent.events) + sent.late
    whole = _settled(flink_cluster, good + sent.rejects.total())
    rest = FlinkRest(f"http://{flink_cluster.address}")
    yield Job(rest, run.job(), sent, whole, time.time_ns() // 1_000_000)
    cancel(flink_cluster, run.job())


def _settled(cluster: FlinkCluster, events: int) -> Told:
    """Return what is told when all events were read and shards counted, or else what is told in the end.

    Shards are counted now and then, in a hundredth of the time.
    """
    wait_for(lambda: scrape(cluster).total("events") >= events, "all events", timeout_s=60)
    deadline, told = time.monotonic() + 60, Told()
    while time.monotonic() < deadline:
        before, told = told, scrape(cluster)
        if sum(told.by_label("open_windows").values()) == 2 * LAST + 1 and told.by_label(
            "state_bytes"
        ) == before.by_label("state_bytes"):
            break
        time.sleep(2)
    return told


def _send_all(producer: KafkaProducer, told: Callable[[], Told]) -> Sent:
    """Send ten minutes of events, then some late ones, then one: each when the job has read the former."""
    chance, now_ms = random.Random(17), lambda: time.time_ns() // 1_000_000
    base_ms = now_ms() // MINUTE * MINUTE - 60 * MINUTE
    events = sorted(
        ((n % 2, f"u{chance.randrange(900)}", base_ms + chance.randrange(10 * MINUTE)) for n in range(8000)),
        key=lambda event: event[2],
    )
    events += [(n % 2, f"m{n}", base_ms + 11 * MINUTE + 30 * SECOND) for n in range(LAST)]
    rejects: Counter[str] = Counter()
    for partition, user, ms in events:
        if chance.random() < 0.05:
            reason = chance.choice(list(BAD))
            rejects[reason] += 1
            producer.send(TOPIC, BAD[reason], partition=partition)
        _send(producer, partition, user, ms)
    producer.flush()
    results = expected_results(events, base_ms + 10 * MINUTE)
    wait_for(lambda: told().total("results", "views") >= results["views"], "results", timeout_s=90)
    late_sent_ms = now_ms()
    for number in range(50):
        _send(producer, number % 2, f"u{number}", base_ms + 2 * MINUTE)
    producer.flush()
    wait_for(lambda: told().total("late", "views") >= 50, "late events", timeout_s=30)
    last_sent_ms = now_ms()
    events.append((1, "m1", base_ms + 11 * MINUTE + 40 * SECOND))
    _send(producer, *events[-1])
    producer.flush()
    return Sent(base_ms, events, rejects, 50, late_sent_ms, last_sent_ms)


def _send(producer: KafkaProducer, partition: int, user: str, ms: int) -> None:
    producer.send(TOPIC, json.dumps({"user": user, "value": 1, "ms": ms}).encode(), partition=partition)


def test_events_and_rejects_by_reason_are_those_that_were_sent(job: Job) -> None:
    rejects = job.sent.rejects
    assert job.told.total("events") == len(job.sent.events) + job.sent.late + rejects.total()
    assert job.told.total("rejected") == rejects.total() > 300
    assert job.told.by_label("rejected_by_reason") == dict(rejects)


def test_batches_their_size_and_time_add_up(job: Job) -> None:
    assert 4 <= job.told.total("batches") <= job.told.total("events")
    assert 1 in job.told.each("batch_events")  # the last message came alone
    assert 0 < job.told.total("ingest_us") < 1000 * (job.told_ms - job.sent.base_ms)


def test_partials_are_the_records_that_flink_says_the_windows_got(job: Job) -> None:
    assert job.told.total("partials") == job.told.total("numRecordsIn", "windows") > 0


def test_results_and_late_events_of_each_metric_are_those_of_the_input(job: Job) -> None:
    ended = job.sent.base_ms + 10 * MINUTE
    assert job.told.by_label("results") == expected_results(job.sent.events, ended)
    assert job.told.by_label("late") == dict.fromkeys(("views", "unique_users", "user-visits"), job.sent.late)


def test_open_windows_and_state_are_what_is_left_of_the_input(job: Job) -> None:
    assert job.told.by_label("open_windows") == {"views": LAST, "unique_users": 1, "user-visits": LAST}
    state = expected_state(job.sent)
    assert job.told.by_label("state_bytes") == state
    assert state["unique_users"] > LARGE_PARTIAL_BYTES


def test_lag_and_watermark_are_those_of_the_newest_event_of_each_worker(job: Job) -> None:
    newest = {
        0: job.sent.base_ms + 11 * MINUTE + 30 * SECOND,
        1: job.sent.base_ms + 11 * MINUTE + 40 * SECOND,
    }
    assert sorted(job.told.each("watermark_s")) == [ms // SECOND - 1 for ms in newest.values()]
    one, other = sorted(job.told.each("event_time_lag_ms"))
    assert job.sent.last_sent_ms - newest[1] <= one <= job.told_ms - newest[1]
    assert job.sent.late_sent_ms - newest[0] <= other <= job.told_ms - newest[0]


def test_rest_tells_the_same_as_the_reporter(job: Job) -> None:
    # The JobManager asks the TaskManagers only when it is asked itself: its first answers lack some.
    sums = {name: sum(job.told.by_label(name).values()) for name in COUNTERS if name != "watermark_s"}
    told = sums | {"watermark_s": min(job.told.each("watermark_s"))}
    wait_for(lambda: job.rest.counters(job.id, COUNTERS) == told, f"{told} by REST", timeout_s=30)
