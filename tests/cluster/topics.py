"""Kafka from the outside: topics are made, filled and read by a client that is not the job's."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import NewTopic
from waiting import wait_for

_QUIET_S = 2.0


@dataclass(frozen=True)
class Message:
    """A message to be sent, or one that was read; one without a value is sent with a key, as it must be."""

    value: bytes | None
    partition: int = 0
    time_ms: int | None = None
    key: bytes | None = None
    offset: int = -1


def make_topic(address: str, name: str, partitions: int) -> None:
    """Make a topic."""
    admin = KafkaAdminClient(bootstrap_servers=address)
    admin.create_topics([NewTopic(name, partitions, 1)])
    admin.close()


class Feed:
    """Sends messages as they are made, in the background, until it is stopped; rides out a broker's restart.

    Args:
        address: the broker.
        topic: where to.
        make: makes the next few messages.
        every_s: how long to wait between them.
    """

    def __init__(self, address: str, topic: str, make: Callable[[], list[Message]], every_s: float) -> None:
        self._producer = KafkaProducer(
            bootstrap_servers=address,
            linger_ms=5,
            enable_idempotence=True,
            delivery_timeout_ms=120_000,
            metadata_max_age_ms=1_000,
        )
        self._topic, self._make, self._every_s = topic, make, every_s
        self._sent: list[tuple[Message, Any]] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Feed:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def partitions(self) -> int:
        """How many partitions the topic is known to have."""
        return len(self._producer.partitions_for(self._topic))

    def stop(self) -> list[Message]:
        """Stop, and return what was sent with its offsets, when the broker has it all."""
        self._stopped.set()
        self._thread.join()
        sent = [
            Message(m.value, m.partition, m.time_ms, m.key, future.get(timeout=120).offset)
            for m, future in self._sent
        ]
        self._producer.close()
        return sent

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            for m in self._make():
                future = self._producer.send(self._topic, m.value, _key(m), partition=m.partition)
                self._sent.append((m, future))


def send(address: str, topic: str, messages: Iterable[Message]) -> list[Message]:
    """Send messages and return them with their offsets, when the broker has them all."""
    producer = KafkaProducer(
        bootstrap_servers=address, linger_ms=20, batch_size=2**18, max_request_size=2**21, retries=20
    )
    sent = [
        (
            message,
            producer.send(
                topic, message.value, _key(message), partition=message.partition, timestamp_ms=message.time_ms
            ),
        )
        for message in messages
    ]
    producer.flush()
    producer.close()
    return [
        Message(m.value, m.partition, m.time_ms, m.key, future.get(timeout=30).offset) for m, future in sent
    ]


class CommittedReader:
    """Reads a topic from its beginning as a consumer does that sees committed transactions only."""

    def __init__(self, address: str, topic: str) -> None:
        self._address, self._topic = address, topic
        self.messages: list[Message] = []
        self._consumer: KafkaConsumer | None = None

    def __enter__(self) -> CommittedReader:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def objects(self) -> list[dict[str, Any]]:
        """What has been read so far."""
        return [json.loads(message.value) for message in self.messages]

    def read_until(
        self, enough: Callable[[list[dict[str, Any]]], bool], what: str, timeout_s: float = 120
    ) -> None:
        """Read on until what was read is enough, or fail."""
        deadline = time.monotonic() + timeout_s
        while not enough(self.objects()):
            assert time.monotonic() < deadline, f"waited {timeout_s} s for {what}; read {len(self.messages)}"
            self._poll(0.5)

    def read_all(self) -> list[dict[str, Any]]:
        """Read on until nothing has come for a while."""
        quiet = time.monotonic()
        while time.monotonic() - quiet < _QUIET_S:
            if self._poll(0.5):
                quiet = time.monotonic()
        return self.objects()

    def _poll(self, timeout_s: float) -> int:
        """Read what is there; return how many messages."""
        if self._consumer is None:
            self._consumer = KafkaConsumer(
                bootstrap_servers=self._address,
                isolation_level="read_committed",
                auto_offset_reset="earliest",
            )
            # Of a topic made just now the client may not know yet.
            known = wait_for(lambda: self._consumer.partitions_for_topic(self._topic), self._topic)
            self._consumer.assign([TopicPartition(self._topic, p) for p in known])
            self._consumer.seek_to_beginning()
        records = [
            record for batch in self._consumer.poll(int(timeout_s * 1000)).values() for record in batch
        ]
        self.messages += [Message(r.value, r.partition, r.timestamp, r.key, r.offset) for r in records]
        return len(records)


def read_committed(address: str, topic: str) -> list[dict[str, Any]]:
    """Return what a consumer sees of a topic that sees committed transactions only."""
    with CommittedReader(address, topic) as reader:
        return reader.read_all()


def _key(message: Message) -> bytes | None:
    return b"gone" if message.value is None and message.key is None else message.key
