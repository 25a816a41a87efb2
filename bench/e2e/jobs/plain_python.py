"""The same answers by a plain PyFlink job: one Python call an event, exact sets in keyed state.

    flink run ... -pym bench.e2e.jobs.plain_python OPTIONS_AS_JSON

Events are keyed by window and by a part of the users, so that both workers have something to do; what reads
the results adds the parts up.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from typing import Any
from zlib import crc32

from pyflink.common import Configuration, Duration, SimpleStringSchema, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import KeyedProcessFunction, RuntimeContext, StreamExecutionEnvironment
from pyflink.datastream.connectors.base import DeliveryGuarantee
from pyflink.datastream.connectors.kafka import (
    KafkaOffsetsInitializer,
    KafkaRecordSerializationSchema,
    KafkaSink,
    KafkaSource,
    KafkaTopicPartition,
)
from pyflink.datastream.state import MapStateDescriptor, ValueStateDescriptor

_WINDOW_MS = 10_000
_PARTS = 16


class EventTime(TimestampAssigner):
    """The time that an event says."""

    def extract_timestamp(self, value: Any, record_timestamp: int) -> int:
        """Return it in milliseconds."""
        return json.loads(value)["ts"]


class Answers(KeyedProcessFunction):
    """Keeps the users, the number and the revenue of a window."""

    def open(self, runtime_context: RuntimeContext) -> None:
        """Name the state."""
        self._users = runtime_context.get_map_state(
            MapStateDescriptor("users", Types.STRING(), Types.BOOLEAN())
        )
        self._events = runtime_context.get_state(ValueStateDescriptor("events", Types.LONG()))
        self._revenue = runtime_context.get_state(ValueStateDescriptor("revenue", Types.DOUBLE()))

    def process_element(self, value: tuple, ctx: KeyedProcessFunction.Context) -> None:
        """Count an event."""
        _, user, amount, ends_ms = value
        if not self._users.contains(user):
            self._users.put(user, True)
        events = self._events.value()
        if events is None:
            ctx.timer_service().register_event_time_timer(ends_ms - 1)
        self._events.update((events or 0) + 1)
        if amount:
            self._revenue.update((self._revenue.value() or 0.0) + amount)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[str]:
        """Answer for a window."""
        answer = {
            "window_start": timestamp + 1 - _WINDOW_MS,
            "metric": "users",
            "users": sum(1 for _ in self._users),
            "events": self._events.value(),
            "amount": self._revenue.value() or 0.0,
        }
        for state in (self._users, self._events, self._revenue):
            state.clear()
        yield json.dumps(answer)


def keyed(message: str) -> tuple[str, str, float, int]:
    """Return the key of an event, its user, what it adds to the revenue, and when its window ends."""
    event = json.loads(message)
    ends_ms = event["ts"] // _WINDOW_MS * _WINDOW_MS + _WINDOW_MS
    amount = event["value"] if event["action"] == "purchase" else 0.0
    return f"{ends_ms}/{crc32(event['user_id'].encode()) % _PARTS}", event["user_id"], amount, ends_ms


def main() -> None:
    """Build and submit the job."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    env = StreamExecutionEnvironment.get_execution_environment()
    configuration = Configuration()
    for key, value in options["settings"].items():
        configuration.set_string(key, value)
    env.configure(configuration)
    ends = {KafkaTopicPartition(options["topic"], p): end for p, end in enumerate(options["ends"])}
    source = (
        KafkaSource.builder()
        .set_bootstrap_servers(options["brokers"])
        .set_topics(options["topic"])
        .set_group_id(options["name"])
        .set_starting_offsets(KafkaOffsetsInitializer.earliest())
        .set_bounded(KafkaOffsetsInitializer.offsets(ends))
        .set_value_only_deserializer(SimpleStringSchema())
        .build()
    )
    strategy = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(5))
    sink = (
        KafkaSink.builder()
        .set_bootstrap_servers(options["brokers"])
        .set_delivery_guarantee(DeliveryGuarantee.EXACTLY_ONCE)
        .set_transactional_id_prefix(options["name"])
        .set_property("transaction.timeout.ms", "900000")
        .set_record_serializer(
            KafkaRecordSerializationSchema.builder()
            .set_topic(options["results"])
            .set_value_serialization_schema(SimpleStringSchema())
            .build()
        )
        .build()
    )
    row = Types.TUPLE([Types.STRING(), Types.STRING(), Types.DOUBLE(), Types.LONG()])
    (
        env.from_source(source, WatermarkStrategy.no_watermarks(), "events")
        .assign_timestamps_and_watermarks(strategy.with_timestamp_assigner(EventTime()))
        .map(keyed, row)
        .key_by(lambda event: event[0], Types.STRING())
        .process(Answers(), Types.STRING())
        .sink_to(sink)
    )
    env.execute(options["name"])


if __name__ == "__main__":
    main()
