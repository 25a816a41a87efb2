"""The first-seen operator in Flink: gives the runners their state, timers and clock."""

from __future__ import annotations

from collections.abc import Iterator

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext

from operators.first_seen.first_seen import FirstSeenEvent, FirstSeenRunner
from operators.first_seen.gauges import SeenGauges
from operators.first_seen.seen_shards import SeenShards
from operators.ingest.seen_records import seen_stream
from operators.plan import Plan
from operators.records import decode_seen
from operators.shard_keys import stream_of
from operators.windows.flink_timers import FlinkTimers
from state import descriptors

FIRST_SEEN = OutputTag("first-seen", Types.STRING())


class FirstSeenFunction(KeyedProcessFunction):
    """Remembers the values of all metrics of kind `first_seen`; keyed by metric and shard of the value.

    Records for the windows come out, first events of values in the side output `FIRST_SEEN` as JSON text.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json = plan_json

    def open(self, runtime_context: RuntimeContext) -> None:
        """Build the runners over this operator's state."""
        seen = runtime_context.get_map_state(descriptors.SEEN)
        self._timers = FlinkTimers()
        self._runners: dict[str, FirstSeenRunner] = {}
        plan = Plan.model_validate_json(self._plan_json)
        types = plan.event.column_types()
        for metric in plan.resolved_metrics():
            if metric.seen is not None:
                column = metric.seen.of
                shards = SeenShards(metric.seen, column, types[column], seen)
                SeenGauges(runtime_context.get_metrics_group(), metric.name, shards.state)
                self._runners[seen_stream(metric)] = FirstSeenRunner(metric, shards, self._timers)

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take one record."""
        shard = ctx.get_current_key()
        clock = self._timers.turn_to(shard, ctx.timer_service())
        runner = self._runners[stream_of(shard)]
        for output in runner.on_record(shard, decode_seen(value), clock.watermark_ms):
            if isinstance(output, FirstSeenEvent):
                yield FIRST_SEEN, output.text.decode()
            else:
                yield Row(*output)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator[Row]:
        """Tell the windows how far a shard is."""
        shard = ctx.get_current_key()
        if stream_of(shard) not in self._runners:
            return  # of a metric that was taken out of the pipeline
        clock = self._timers.turn_to(shard, ctx.timer_service())
        for record in self._runners[stream_of(shard)].on_event_time(shard, clock.watermark_ms):
            yield Row(*record)
