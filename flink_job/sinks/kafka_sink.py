"""Kafka as a sink: one message a line, by Flink's own connector."""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING

from flink_job.connector import connector_properties
from flink_job.sinks.kafka_spec import KafkaSinkSpec
from operators.enrich.enriched_lines import KEY_MARK

if TYPE_CHECKING:
    from pyflink.datastream import DataStream

_LINGER_MS = 1
"""What comes at once goes together: a request of its own for each message is what keeps a broker busy."""
_TRANSACTION_TIMEOUT_MS = 15 * 60_000
"""The longest that a broker allows by default. A transaction is open until its checkpoint is done."""


class MessageKey(Enum):
    """Where the key of a message is taken from."""

    NONE = "there is none"
    ID = "the id in the line"
    CARRIED = "what the line carries behind the mark; none where there is no mark"


class KafkaSink:
    """A topic, exactly once: what a checkpoint covers is committed in one transaction when it is done.

    Or, for what cannot wait for a checkpoint, at least once: messages are sent at once, and after a crash
    those behind the last checkpoint again.

    A message has no timestamp but the producer's clock: an event's own time may be one that a broker refuses.

    Args:
        spec: the options, brokers included.
        transactions: what the names of this sink's transactions begin with; no two sinks may share it. None
            for at least once.
        key: where the message's key is taken from.
    """

    def __init__(self, spec: KafkaSinkSpec, transactions: str | None, key: MessageKey) -> None:
        self._spec, self._transactions, self._key = spec, transactions, key
        self.takes_keys = key is MessageKey.CARRIED

    @property
    def topic(self) -> str:
        """The topic's name."""
        return self._spec.topic

    def attach(self, lines: DataStream, uid: str) -> None:
        """End a stream of JSON texts in this topic."""
        from pyflink.table import Schema, StreamTableEnvironment, TableDescriptor
        from pyflink.table.expressions import col

        from flink_job.uids import name_table_operators

        t_env = StreamTableEnvironment.create(lines.get_execution_environment())
        name_table_operators(t_env, uid)
        table = t_env.from_data_stream(lines).select(col("f0").alias("line"))
        schema = Schema.new_builder()
        if self._key is MessageKey.ID:
            table = table.select(col("line").json_value("$.id").alias("key"), col("line"))
        if self._key is MessageKey.CARRIED:
            line, key = (col("line").split_index(KEY_MARK, part) for part in (0, 1))
            table = table.select(key.alias("key"), line.alias("line"))
        if self._key is not MessageKey.NONE:
            schema = schema.column("key", "STRING")
        descriptor = TableDescriptor.for_connector("kafka").schema(schema.column("line", "STRING").build())
        for key, value in self._options().items():
            descriptor = descriptor.option(key, value)
        quoted = f"`{uid}`"  # it may have a dash in it
        t_env.create_temporary_table(quoted, descriptor.build())
        t_env.create_statement_set().add_insert(quoted, table).attach_as_datastream()

    def _options(self) -> dict[str, str]:
        options = {
            "topic": self._spec.topic,
            "properties.bootstrap.servers": self._spec.brokers,
            "value.format": "raw",
        }
        if self._transactions is None:
            options["sink.delivery-guarantee"] = "at-least-once"
            defaults = {"linger.ms": str(_LINGER_MS)}
        else:
            options["sink.delivery-guarantee"] = "exactly-once"
            options["sink.transactional-id-prefix"] = self._transactions
            # Another name for each transaction costs the broker an entry that it keeps for a week.
            options["sink.transaction-naming-strategy"] = "pooling"
            defaults = {"transaction.timeout.ms": str(_TRANSACTION_TIMEOUT_MS)}
        if self._key is not MessageKey.NONE:
            options |= {"key.format": "raw", "key.fields": "key", "value.fields-include": "EXCEPT_KEY"}
        return options | connector_properties(defaults | self._spec.properties)
