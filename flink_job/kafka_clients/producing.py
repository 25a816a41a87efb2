"""Sending messages to a topic from Python, each one accounted for."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kafka import KafkaProducer
from kafka.errors import KafkaError, KafkaTimeoutError, MessageSizeTooLargeError, RecordListTooLargeError
from kafka.producer.future import FutureRecordMetadata

from flink_job.kafka_clients.client_options import producer_options
from flink_job.kafka_clients.connection import explained
from flink_job.kafka_clients.problem import KafkaProblem
from flink_job.kafka_clients.topics import partitions_of_target

_DESTINATION = re.compile(r"kafka://([^\s,:/]+:[0-9]{1,5}(?:,[^\s,:/]+:[0-9]{1,5})*)/([A-Za-z0-9._-]{1,249})")
_DEFAULTS: dict[str, Any] = {
    "acks": "all",
    # Of what was measured, the rate no longer grows beyond these; metrics would cost one message in fifty.
    "linger_ms": 20,
    "batch_size": 256 * 1024,
    "metrics_enabled": False,
    # A broker that is gone is told after half a minute, one that restarts is waited for.
    "delivery_timeout_ms": 30_000,
    "request_timeout_ms": 10_000,
    "max_block_ms": 10_000,
    "reconnect_backoff_max_ms": 1_000,
}
# The client itself would take messages without end, faster than a broker does.
_MOST_UNDER_WAY, _MOST_BYTES_UNDER_WAY = 50_000, 32 * 1024 * 1024


@dataclass(frozen=True)
class Destination:
    """A topic to send to.

    Args:
        brokers: `host:port`, several by commas.
        topic: its name.
    """

    brokers: str
    topic: str

    @classmethod
    def read(cls, text: str) -> Destination:
        """Read `kafka://HOST:PORT[,HOST:PORT]/TOPIC`.

        Raises:
            ValueError: where it is not of that form.
        """
        found = _DESTINATION.fullmatch(text)
        if found is None:
            raise ValueError(
                f"--to: expected kafka://HOST:PORT/TOPIC, several brokers by commas, got {text!r:.100}"
            )
        return cls(*found.groups())

    def __str__(self) -> str:
        return f"topic {self.topic} at {self.brokers}"


class _Producer(KafkaProducer):
    """A producer that can be closed while messages are unanswered: the client's own would fail half-way."""

    _closing = False

    def close(self, timeout: float | None = None, null_logger: bool = False) -> None:
        """Close it; what is not answered for within the timeout, in seconds, is given up."""
        self._closing = True
        super().close(timeout, null_logger)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until all is answered for; outside of `close` it is an error if it is not in time."""
        with suppress(*([KafkaTimeoutError] if self._closing else [])):
            super().flush(timeout)


class Outbox:
    """Sends messages to a topic: of one key to one partition, without a key to all in turn.

    A key's partition is the one that Java producers choose, by murmur2.

    Args:
        destination: where to; the topic must be there.
        properties: the Java producer's properties.

    Raises:
        KafkaProblem: where no broker answers, or the topic is missing or may not be written.

    Attributes:
        sent: how many messages were handed over.
        acknowledged: how many of them the brokers have, as far as was looked (see `settle`).
        weight_acknowledged: the sum of the weights of those.
    """

    def __init__(self, destination: Destination, properties: Mapping[str, str]) -> None:
        options = _DEFAULTS | producer_options(destination.brokers, properties)
        brokers = destination.brokers
        self._partitions = partitions_of_target(destination.topic, brokers, properties)
        self._destination = destination
        self._under_way: deque[tuple[FutureRecordMetadata, int, int]] = deque()
        self._bytes_under_way = 0
        self.sent = self.acknowledged = self.weight_acknowledged = 0
        with explained(brokers, options):
            self._producer = _Producer(**options, allow_auto_create_topics=False, bootstrap_timeout_ms=10_000)

    def send(self, message: bytes, key: bytes | None = None, weight: int = 1) -> None:
        """Hand over a message; waits while many bytes are under way.

        Args:
            message: its value.
            key: its key, if it has one.
            weight: what it counts for, such as the number of events in it.

        Raises:
            KafkaProblem: where it is too large, or an earlier one was not taken.
        """
        partition = self.sent % self._partitions if key is None else None
        try:
            future = self._producer.send(self._destination.topic, message, key, partition=partition)
        except KafkaError as problem:
            raise self._problem(problem) from None
        self._under_way.append((future, len(message), weight))
        self._bytes_under_way += len(message)
        self.sent += 1
        while len(self._under_way) > _MOST_UNDER_WAY or self._bytes_under_way > _MOST_BYTES_UNDER_WAY:
            self._wait_for_oldest()

    def settle(self) -> None:
        """Account for the messages that the brokers have answered for.

        Raises:
            KafkaProblem: where one of them was not taken.
        """
        while self._under_way and self._under_way[0][0].is_done:
            future, size, weight = self._under_way.popleft()
            self._bytes_under_way -= size
            if future.failed():
                raise self._problem(future.exception)
            self.acknowledged += 1
            self.weight_acknowledged += weight

    def finish(self, timeout_s: float) -> None:
        """Wait until every message is answered for, and close.

        Args:
            timeout_s: how long, at most, in seconds.

        Raises:
            KafkaProblem: where one was not taken, or no answer came in time.
        """
        deadline = time.monotonic() + timeout_s
        try:
            self._producer.flush(timeout_s)
            while self._under_way:
                self._wait_for_oldest(max(0.0, deadline - time.monotonic()))
        except KafkaTimeoutError as problem:
            raise self._problem(problem) from None
        finally:
            self.close()

    def close(self) -> None:
        """Close without waiting for what is under way; nothing happens where it is closed."""
        self._producer.close(timeout=1)

    def _wait_for_oldest(self, timeout_s: float | None = None) -> None:
        try:
            self._under_way[0][0].get(timeout_s)
        except KafkaTimeoutError as problem:
            raise self._problem(problem) from None
        except KafkaError:
            pass  # `settle` tells it, as that of every other message
        self.settle()

    def _problem(self, problem: KafkaError) -> KafkaProblem:
        where = str(self._destination)
        self.acknowledged += sum(future.succeeded() for future, _, _ in self._under_way)
        self._under_way.clear()
        if isinstance(problem, MessageSizeTooLargeError | RecordListTooLargeError):
            return KafkaProblem(
                f"A message is larger than the producer or the {where} takes.",
                "Put fewer events in a message, or raise max.request.size here and max.message.bytes there.",
            )
        return KafkaProblem(
            f"The {where} did not take a message: {type(problem).__name__}. Of {self.sent:,} messages "
            f"{self.acknowledged:,} are acknowledged.",
            "See whether the broker still runs, and its log.",
        )
