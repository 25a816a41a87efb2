"""The gather operator in Flink: gives the runners their state, timers and clock."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext, TimeDomain

from operators.gather.gauges import GatherGauges
from operators.gather.runner import GatherRunner, Outputs
from operators.ingest.gather_records import gather_stream
from operators.plan import Plan
from operators.records import decode_record
from operators.shard_keys import stream_of
from operators.windows.delay import Delayed, DelayedTimers
from operators.windows.flink_timers import FlinkTimers
from operators.windows.gauges import StateLooks
from operators.windows.results import Late, ResultWriter
from operators.windows.runner import Clock
from state import descriptors
from state.clock_state import ClockState
from state.gather_state import GatherState

GATHER_LATE = OutputTag("gather-late", Types.STRING())


class GatherFunction(KeyedProcessFunction):
    """Gathers the events of all metrics that ask for it; keyed by metric and shard of the entity.

    Records for the windows come out, late events in the side output `GATHER_LATE` as JSON text.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json = plan_json

    def open(self, runtime_context: RuntimeContext) -> None:
        """Build the runners over this operator's state."""
        plan = Plan.model_validate_json(self._plan_json)
        state = GatherState(runtime_context.get_map_state(descriptors.GATHERED))
        clock_state = ClockState(runtime_context.get_map_state(descriptors.CLOCK))
        self._timers, self._looks = FlinkTimers(), StateLooks()
        self._streams: dict[str, tuple[Delayed, GatherGauges]] = {}
        for metric in plan.resolved_metrics():
            if metric.gather is not None:
                writer, lateness_ms = ResultWriter(plan.name, metric, False), metric.lateness_ms
                timers = DelayedTimers(self._timers, lateness_ms)
                runner = GatherRunner(metric, writer, state, clock_state, timers, lambda: self._timers.key)
                gauges = GatherGauges(runtime_context.get_metrics_group(), metric.name)
                self._streams[gather_stream(metric)] = Delayed(runner, lateness_ms), gauges

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take one record."""
        key = ctx.get_current_key()
        clock = self._timers.turn_to(key, ctx.timer_service())
        runner, gauges = self._streams[stream_of(key)]
        yield from _emit(runner.on_record(decode_record(value), clock), gauges)
        self._look(key, clock)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        key = ctx.get_current_key()
        if stream_of(key) not in self._streams:
            return  # of a metric that was taken out of the pipeline
        clock = self._timers.turn_to(key, ctx.timer_service())
        runner, gauges = self._streams[stream_of(key)]
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from _emit(runner.on_event_time(timestamp, clock), gauges)
        self._look(key, clock)

    def _look(self, key: str, clock: Clock) -> None:
        """Count what the shard holds; where it is too early, come again, as nothing else may happen."""
        wait_s = self._looks.look(key, *self._streams[stream_of(key)])
        if wait_s:
            self._timers.at_processing_time(ceil(clock.now_ms / 1000 + wait_s) * 1000)


def _emit(outputs: Outputs, gauges: GatherGauges) -> Iterator:
    for output in outputs:
        if isinstance(output, Late):
            gauges.late += output.events
            yield GATHER_LATE, output.text.decode()
        else:
            yield Row(*output)
