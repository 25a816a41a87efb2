"""The window operator in Flink: gives the runners their state, timers and clock."""

from __future__ import annotations

from collections.abc import Iterator
from math import ceil
from typing import NamedTuple

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext, TimeDomain

from operators.ingest.partials import session_stream
from operators.plan import Plan
from operators.records import FinalResults, decode_record, encode
from operators.shard_keys import shard_key, shard_number, stream_of
from operators.windows.flink_timers import FlinkTimers
from operators.windows.gauges import MetricGauges, StateLooks
from operators.windows.results import Result, ResultWriter
from operators.windows.runner import Clock, Outputs, Runner
from operators.windows.sessions import SessionRunner
from operators.windows.silence import Silence
from operators.windows.staged import time_windows
from state import descriptors
from state.clock_state import ClockState
from state.session_state import SessionState
from state.window_state import WindowState

LATE = OutputTag("late", Types.STRING())
FINAL = OutputTag("final", Types.ROW([Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())]))
_MOST_TOGETHER = 500
"""How many final results go out together at most, so that no record is too large."""


class _Stream(NamedTuple):
    """What one stream of windows has."""

    metric: str
    runner: Runner
    gauges: MetricGauges


class WindowFunction(KeyedProcessFunction):
    """Runs all windows of all metrics; keyed by metric and shard.

    Results come out as JSON text, late events in the side output `LATE`. Where there are rules on results,
    the final ones are also in the side output `FINAL`, by metric and shard: those of one call together.

    Args:
        plan_json: the plan, as JSON.
        with_sketch: whether results carry sketches.
        for_rules: whether there are rules on results.
    """

    def __init__(self, plan_json: str, with_sketch: bool, for_rules: bool) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json, self._with_sketch, self._for_rules = plan_json, with_sketch, for_rules

    def open(self, runtime_context: RuntimeContext) -> None:
        """Build the runners over this operator's state."""
        plan = Plan.model_validate_json(self._plan_json)
        slices, large, revisions, sessions, clock = (
            runtime_context.get_map_state(descriptor)
            for descriptor in (
                descriptors.SLICES,
                descriptors.LARGE_PARTIALS,
                descriptors.REVISIONS,
                descriptors.SESSIONS,
                descriptors.CLOCK,
            )
        )
        self._timers = FlinkTimers()
        event = plan.event
        silence = Silence(event.idle_timeout if event.on_idle == "advance" else None, event.out_of_orderness)
        session_state, clock_state = SessionState(sessions), ClockState(clock)
        self._looks = StateLooks()
        self._streams: dict[str, _Stream] = {}
        for metric in plan.resolved_metrics():
            writer = ResultWriter(plan.name, metric, self._with_sketch)
            gauges = MetricGauges(runtime_context.get_metrics_group(), metric.name)
            if metric.grid is not None:
                window_state = WindowState(slices, large, revisions, metric.aggregator.merge)
                runner = time_windows(metric, writer, window_state, clock, self._timers, silence)
                self._streams[metric.name] = _Stream(metric.name, runner, gauges)
            for window in metric.sessions:
                sessions_runner = SessionRunner(
                    metric, window, writer, session_state, clock_state, self._timers, silence
                )
                self._streams[session_stream(metric, window)] = _Stream(metric.name, sessions_runner, gauges)

    def process_element(self, value: tuple, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take one record."""
        key = ctx.get_current_key()
        clock = self._timers.turn_to(key, ctx.timer_service())
        runner = self._streams[stream_of(key)].runner
        yield from self._emit(key, runner.on_record(decode_record(value), clock))
        self._look(key, clock)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        key = ctx.get_current_key()
        if stream_of(key) not in self._streams:
            return  # of a metric that was taken out of the pipeline
        clock = self._timers.turn_to(key, ctx.timer_service())
        runner = self._streams[stream_of(key)].runner
        by_event_time = ctx.time_domain() == TimeDomain.EVENT_TIME
        due = runner.on_event_time if by_event_time else runner.on_processing_time
        yield from self._emit(key, due(timestamp, clock))
        self._look(key, clock)

    def _emit(self, key: str, outputs: Outputs) -> Iterator:
        stream = self._streams[stream_of(key)]
        shard = shard_key(stream.metric, shard_number(key))
        final: list[bytes] = []
        for output in outputs:
            if isinstance(output, Result):
                stream.gauges.results += 1
                yield output.text.decode()
                if output.final and self._for_rules:
                    final.append(output.text)
            else:
                stream.gauges.late += output.events
                yield LATE, output.text.decode()
            if len(final) == _MOST_TOGETHER:
                yield FINAL, Row(shard, encode(FinalResults(final)))
                final = []
        if final:
            yield FINAL, Row(shard, encode(FinalResults(final)))

    def _look(self, key: str, clock: Clock) -> None:
        """Count what the shard holds; where it is too early, come again, as nothing else may happen."""
        stream = self._streams[stream_of(key)]
        wait_s = self._looks.look(key, stream.runner, stream.gauges)
        if wait_s:
            self._timers.at_processing_time(ceil(clock.now_ms / 1000 + wait_s) * 1000)
