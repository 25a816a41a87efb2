"""Kafka as a source: raw messages with where they are from, by Flink's own connector."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING

import numpy as np

from flink_job.connector import connector_properties
from flink_job.sources.kafka_spec import KafkaSourceSpec
from operators.ingest.source_batch import Position, SourceBatch
from operators.parsing.payloads import Payloads

if TYPE_CHECKING:
    import pandas as pd
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment, Table

_TABLE = "source"
_OFFSETS = {"earliest": "earliest-offset", "latest": "latest-offset", "committed": "group-offsets"}
_DISCOVERY_INTERVAL = "30 s"
_DEFAULTS = {
    # What a transaction that was aborted wrote never happened.
    "isolation.level": "read_committed",
    # A group that has committed nothing yet begins at the beginning.
    "auto.offset.reset": "earliest",
}


class KafkaSource:
    """Topics of a Kafka cluster, each message with its topic, partition and offset.

    Args:
        spec: the options.
        group: the consumer group whose offsets are committed with each checkpoint.
        partitions: how many partitions each topic has now; None where that is not known.
        idle_timeout_ms: after this much silence a partition is idle.
        by_record_time: whether the event time is the message's own timestamp.
    """

    check_clock = True

    def __init__(
        self,
        spec: KafkaSourceSpec,
        group: str,
        partitions: Mapping[str, int] | None,
        idle_timeout_ms: int,
        by_record_time: bool,
    ) -> None:
        self.spec, self.group, self.partitions = spec, group, partitions
        self._idle_timeout_ms = idle_timeout_ms
        self._by_record_time = by_record_time
        self.format = spec.format
        self.bounded = spec.stop == "latest"
        self.rows_per_batch = spec.rows_per_batch()
        self.reader = KafkaReader(spec.topic, by_record_time, idle_timeout_ms)

    def readers(self, parallelism: int) -> int:
        """Return no more than there are partitions.

        One without any would hold the watermark back until it is idle.
        """
        if self.partitions is None:
            return parallelism
        return max(1, min(parallelism, sum(self.partitions.values())))

    def table(self, env: StreamExecutionEnvironment, t_env: StreamTableEnvironment) -> Table:
        """Return the table of messages.

        The table has a watermark of its own, by the messages' timestamps: there is one as soon as each
        partition of a reader has been heard from or is idle, and that is all that is asked of it.
        """
        from pyflink.table import Schema, TableDescriptor
        from pyflink.table.expressions import col, current_watermark

        schema = (
            Schema.new_builder()
            .column("message", "BYTES")
            .column_by_metadata("partition", "INT", is_virtual=True)
            .column_by_metadata("offset", "BIGINT", is_virtual=True)
            .column_by_metadata("record_time", "TIMESTAMP_LTZ(3)", "timestamp", is_virtual=True)
            .column_by_metadata("topic", "STRING", is_virtual=True)
            .watermark("record_time", "record_time")
        )
        descriptor = TableDescriptor.for_connector("kafka").schema(schema.build())
        for key, value in self._options().items():
            descriptor = descriptor.option(key, value)
        if self.partitions is not None and not self.bounded:
            readers = env.get_parallelism()
            self.reader.at_least = sum(number // readers for number in self.partitions.values())
        t_env.create_temporary_table(_TABLE, descriptor.build())
        columns = [
            col("message"),
            col("partition"),
            col("offset"),
            current_watermark(col("record_time")).is_not_null.alias("all_heard"),
        ]
        if self._by_record_time:
            columns.append(col("record_time").cast(_timestamp_type()).alias("record_time"))
        if self.spec.topic is None:
            columns.append(col("topic"))
        return t_env.from_path(_TABLE).select(*columns)

    def _options(self) -> dict[str, str]:
        spec = self.spec
        options = {
            "format": "raw",
            "properties.bootstrap.servers": spec.brokers,
            "properties.group.id": self.group,
            "scan.watermark.idle-timeout": f"{self._idle_timeout_ms} ms",
            # At the next tick all that there is may have been read, with nothing behind it to carry the news.
            "scan.watermark.emit.strategy": "on-event",
            "scan.topic-partition-discovery.interval": _DISCOVERY_INTERVAL,
        }
        if spec.pattern is not None:
            options["topic-pattern"] = spec.pattern
        else:
            options["topic"] = ";".join(spec.topics or (spec.topic,))
        if spec.start in _OFFSETS:
            options["scan.startup.mode"] = _OFFSETS[spec.start]
        else:
            options["scan.startup.mode"] = "timestamp"
            options["scan.startup.timestamp-millis"] = str(_milliseconds(spec.start))
        if spec.stop == "latest":
            options["scan.bounded.mode"] = "latest-offset"
        return options | connector_properties(_DEFAULTS | spec.properties)


class KafkaReader:
    """Takes messages over from Flink in a worker.

    Args:
        topic: where all messages are from; None where each row says it.
        by_record_time: whether rows have the messages' own timestamps.
        idle_timeout_ms: after this much silence a partition is idle.

    Attributes:
        at_least: how many partitions a worker has for certain. Flink calls those idle that it has not read
            yet because the job was long to start; so many must have been heard from, or the timeout be over
            since the first that was.
    """

    def __init__(self, topic: str | None, by_record_time: bool, idle_timeout_ms: int) -> None:
        self._topic, self._by_record_time = topic, by_record_time
        self._idle_timeout_s = idle_timeout_ms / 1000
        self.at_least = 0
        self._heard: set[str] = set()
        self._began_s: float | None = None

    def read(
        self,
        messages: pd.Series,
        partitions: pd.Series,
        offsets: pd.Series,
        all_heard: pd.Series,
        *more: pd.Series,
    ) -> Iterator[tuple[int, SourceBatch]]:
        """Take the rows of one call, all as one batch whose answer the last row carries."""
        rest = list(more)
        times = _epoch_ms(rest.pop(0)) if self._by_record_time else None
        numbers = partitions.to_numpy()
        if rest:
            codes, topics = rest[0].factorize()
        else:
            codes, topics = np.zeros(len(numbers), np.int64), [self._topic]
        where = _Messages(codes, list(topics), numbers, offsets.to_numpy())
        names, index = where.partitions()
        are_heard = self._has_heard(names) and bool(all_heard.iloc[-1])
        yield (
            len(numbers) - 1,
            SourceBatch(
                Payloads.from_messages(messages.tolist()),
                where,
                names,
                index,
                times,
                are_heard,
            ),
        )

    def _has_heard(self, names: Iterable[str]) -> bool:
        """Take note of partitions; return whether all have been heard from, as far as is known here."""
        now_s = time.monotonic()
        if self._began_s is None:
            self._began_s = now_s
        if len(self._heard) < self.at_least:
            self._heard.update(names)
        return len(self._heard) >= self.at_least or now_s - self._began_s >= self._idle_timeout_s


class _Messages:
    """Says where the messages of a batch are from."""

    def __init__(
        self, codes: np.ndarray, topics: list[str], partitions: np.ndarray, offsets: np.ndarray
    ) -> None:
        self._codes, self._topics, self._partitions, self._offsets = codes, topics, partitions, offsets

    def __call__(self, row: int) -> Position:
        return {
            "topic": self._topics[self._codes[row]],
            "partition": int(self._partitions[row]),
            "offset": int(self._offsets[row]),
        }

    def partitions(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the partitions that there are by name, and for each message which of them it is from."""
        width = int(self._partitions.max()) + 1
        present, index = np.unique(self._codes * width + self._partitions, return_inverse=True)
        names = (f"{self._topics[number // width]}/{number % width}" for number in present.tolist())
        return tuple(names), index


def _epoch_ms(times: pd.Series) -> np.ndarray:
    return times.to_numpy().astype("datetime64[ms]").astype(np.int64)


def _timestamp_type() -> object:
    from pyflink.table import DataTypes

    return DataTypes.TIMESTAMP_LTZ(3)


def _milliseconds(iso: str) -> int:
    """Return an ISO time in milliseconds since the epoch; one without a zone is UTC."""
    time = datetime.fromisoformat(iso.replace("Z", "+00:00"))
    if time.tzinfo is None:
        time = time.replace(tzinfo=timezone.utc)
    return int(time.timestamp() * 1000)
