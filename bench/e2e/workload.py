"""What the jobs are fed, and what they have to find in it: filled topics and their exact answers."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import polars as pl
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import NewTopic
from kafka.errors import UnknownTopicOrPartitionError

from bench.report.events import BATCH, torn
from flink_job.standalone.broker import Broker
from flink_job.standalone.distribution import BROKER_JARS, broker_class_path, java_environment

PARTITIONS = 2
WINDOW_MS, LONG_WINDOW_MS = 10_000, 60_000
_EVENTS_A_MESSAGE = 100
_TORN_SEED = 7
_PRODUCE = Path(__file__).with_name("Produce.java")
_SCHEMA = {
    "user_id": pl.String,
    "action": pl.String,
    "item_id": pl.String,
    "value": pl.Float64,
    "ts": pl.Int64,
}


@dataclass
class Truth:
    """The exact answers over the events of a topic.

    Attributes:
        events: how many good ones there are.
        rejects: how many bad ones.
        revenue: the sum of `value` over purchases.
        users: by length and start of a window of ten seconds, and of a minute that begins every ten seconds,
            how many distinct users it has.
    """

    events: int = 0
    rejects: int = 0
    revenue: float = 0.0
    users: dict[tuple[int, int], int] = field(default_factory=dict)


@dataclass(frozen=True)
class Topic:
    """A filled topic.

    Attributes:
        name: its name.
        ends: the offset behind the last message of each partition.
        events: how many events it has, bad ones too.
        events_a_message: how many of them a message has.
        truth: the exact answers.
    """

    name: str
    ends: tuple[int, ...]
    events: int
    events_a_message: int
    truth: Truth

    def part(self, share: float) -> tuple[int, ...]:
        """Return the offset behind a share (0 to 1) of each partition."""
        return tuple(round(share * end) for end in self.ends)


class Auditor:
    """Counts the exact answers while events pass by.

    Args:
        users: how many users there may be; None where those of each window need not be counted.
    """

    def __init__(self, users: int | None) -> None:
        self._users = users
        self._seen: dict[tuple[int, int], np.ndarray] = {}
        self.truth = Truth()

    def audit(self, batches: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
        """Pass batches on."""
        for lines in batches:
            # Cut short, a line lacks its last byte.
            good = [line for line in lines if line.endswith(b"}")]
            self._count(pl.read_ndjson(b"\n".join(good), schema=_SCHEMA))
            self.truth.rejects += len(lines) - len(good)
            yield lines
        self.truth.users = {window: int(seen.sum()) for window, seen in sorted(self._seen.items())}

    def _count(self, events: pl.DataFrame) -> None:
        self.truth.events += len(events)
        self.truth.revenue += events.filter(pl.col("action") == "purchase")["value"].sum()
        if self._users is None:
            return
        users = events["user_id"].str.slice(5).cast(pl.Int64).to_numpy()
        starts = events["ts"].to_numpy() // WINDOW_MS * WINDOW_MS
        for start in np.unique(starts).tolist():
            longs = [(LONG_WINDOW_MS, start - back) for back in range(0, LONG_WINDOW_MS, WINDOW_MS)]
            for window in [(WINDOW_MS, start), *longs]:
                if window not in self._seen:
                    self._seen[window] = np.zeros(self._users, bool)
                self._seen[window][users[starts == start]] = True


def fill(
    broker: Broker,
    name: str,
    batches: Iterator[list[bytes]],
    events: int,
    users: int | None = None,
    torn_share: float = 0.0,
    many: bool = False,
) -> Topic:
    """Make a topic and fill it.

    Args:
        broker: the broker.
        name: the topic's.
        batches: lines, at least as many as are wanted.
        events: how many events, in whole batches.
        users: how many distinct users there may be; None where they need not be counted.
        torn_share: how many of the lines are cut short, 0 to 1.
        many: whether a message has a hundred events, not one.
    """
    create(broker, name)
    auditor = Auditor(users)
    wanted = islice(batches, -(-events // BATCH))
    if torn_share:
        wanted = (torn(lines, torn_share, _TORN_SEED + number) for number, lines in enumerate(wanted))
    audited = auditor.audit(wanted)
    _send(broker, name, _in_hundreds(audited) if many else audited)
    ends = end_offsets(broker.address, name)
    truth = auditor.truth
    per_message = _EVENTS_A_MESSAGE if many else 1
    if sum(ends) * per_message != truth.events + truth.rejects:
        raise RuntimeError(
            f"{name}: expected {truth.events + truth.rejects:,} events, got {sum(ends):,} messages"
        )
    return Topic(name, ends, truth.events + truth.rejects, per_message, truth)


def create(broker: Broker, name: str) -> None:
    """Make a topic."""
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    admin.create_topics([NewTopic(name, PARTITIONS, 1)])
    admin.close()


def delete(broker: Broker, name: str) -> None:
    """Delete a topic, if it is there."""
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    try:
        admin.delete_topics([name])
    except UnknownTopicOrPartitionError:
        return
    finally:
        admin.close()


def end_offsets(address: str, name: str) -> tuple[int, ...]:
    """Return the offset behind the last message of each partition of a topic."""
    consumer = KafkaConsumer(bootstrap_servers=address)
    partitions = [TopicPartition(name, p) for p in sorted(consumer.partitions_for_topic(name))]
    ends = consumer.end_offsets(partitions)
    consumer.close()
    return tuple(ends[partition] for partition in partitions)


def committed(address: str, name: str, take: Callable[[bytes], None]) -> int:
    """Hand over each message of a topic that a committed transaction wrote; return how many there were."""
    consumer = KafkaConsumer(
        bootstrap_servers=address,
        isolation_level="read_committed",
        auto_offset_reset="earliest",
        enable_auto_commit=False,
        consumer_timeout_ms=2_000,
    )
    consumer.assign([TopicPartition(name, p) for p in consumer.partitions_for_topic(name)])
    count = 0
    for message in consumer:
        take(message.value)
        count += 1
    consumer.close()
    return count


def _in_hundreds(batches: Iterator[list[bytes]]) -> Iterator[list[bytes]]:
    """Yield messages of a hundred lines each."""
    for lines in batches:
        yield [
            b"\n".join(lines[first : first + _EVENTS_A_MESSAGE])
            for first in range(0, len(lines), _EVENTS_A_MESSAGE)
        ]


def _send(broker: Broker, name: str, batches: Iterator[list[bytes]]) -> None:
    """Send messages from Java: Python's client takes twenty times as long."""
    environment = java_environment()
    command = [f"{environment['JAVA_HOME']}/bin/java", "-Xmx256m", "-cp", broker_class_path(BROKER_JARS)]
    command += [str(_PRODUCE), broker.address, name, str(PARTITIONS)]
    with subprocess.Popen(
        command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    ) as producer:
        with suppress(BrokenPipeError):  # it says below why it has ended
            for messages in batches:
                producer.stdin.write(b"\0".join(messages))
                producer.stdin.write(b"\0")
            producer.stdin.close()
        said = producer.stderr.read().decode(errors="replace")
        if producer.wait():
            raise RuntimeError(
                f"{_PRODUCE.name} ended with {producer.returncode} (a JDK is needed): {said[-500:]}"
            )
