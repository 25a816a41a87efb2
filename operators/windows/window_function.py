"""The window operator in Flink: gives the runners their state, timers and clock."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterator

from pyflink.common import Types
from pyflink.datastream import KeyedProcessFunction, OutputTag, RuntimeContext, TimeDomain, TimerService

from operators.ingest.partials import session_stream
from operators.plan import Plan
from operators.records import decode_record, stream_of
from operators.windows.results import Result, ResultWriter
from operators.windows.runner import Clock, Outputs, Runner
from operators.windows.sessions import SessionRunner
from operators.windows.silence import Silence
from operators.windows.sketch_window import SketchWindow
from state import descriptors
from state.clock_state import ClockState
from state.session_state import SessionState
from state.window_state import WindowState

LATE = OutputTag("late", Types.STRING())
_REMEMBERED_TIMERS = 4096
_COUNT_EVERY_S, _COUNT_SHARE = 1.0, 100


class WindowFunction(KeyedProcessFunction):
    """Runs all windows of all metrics; keyed by metric and shard.

    Results come out as JSON text, late events in the side output `LATE`.

    Args:
        plan_json: the plan, as JSON.
        with_sketch: whether results carry sketches.
    """

    def __init__(self, plan_json: str, with_sketch: bool) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json, self._with_sketch = plan_json, with_sketch

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
        self._timers = _FlinkTimers()
        silence = Silence(plan.event.idle_timeout if plan.event.on_idle == "advance" else None)
        window_state, session_state, clock_state = (
            WindowState(slices, large, revisions),
            SessionState(sessions),
            ClockState(clock),
        )
        self._runners: dict[str, Runner] = {}
        for metric in plan.resolved_metrics():
            writer = ResultWriter(plan.name, metric, self._with_sketch)
            if metric.grid is not None:
                self._runners[metric.name] = SketchWindow(
                    metric, writer, window_state, clock_state, self._timers, silence
                )
            for window in metric.sessions:
                self._runners[session_stream(metric, window)] = SessionRunner(
                    metric, window, writer, session_state, clock_state, self._timers, silence
                )
        self._register_metrics(runtime_context)

    def process_element(self, value: tuple, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take one record."""
        runner, clock = self._at(ctx.get_current_key(), ctx.timer_service())
        yield from self._emit(runner.on_record(decode_record(value[1]), clock))
        self._results.inc(self._unreported)
        self._unreported = 0
        self._open_windows.look(ctx.get_current_key(), runner)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        if stream_of(ctx.get_current_key()) not in self._runners:
            return  # of a metric that was taken out of the pipeline
        runner, clock = self._at(ctx.get_current_key(), ctx.timer_service())
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from self._emit(runner.on_event_time(timestamp, clock))
        else:
            yield from self._emit(runner.on_processing_time(timestamp, clock))
        self._open_windows.look(ctx.get_current_key(), runner)

    def _at(self, key: str, service: TimerService) -> tuple[Runner, Clock]:
        self._timers.turn_to(key, service)
        clock = Clock(service.current_watermark(), service.current_processing_time())
        return self._runners[stream_of(key)], clock

    def _emit(self, outputs: Outputs) -> Iterator:
        for output in outputs:
            if isinstance(output, Result):
                self._unreported += 1
                yield output.text.decode()
            else:
                self._late.inc(output.events)
                yield LATE, output.text.decode()

    def _register_metrics(self, runtime_context: RuntimeContext) -> None:
        group = runtime_context.get_metrics_group()
        self._results, self._late = group.counter("results"), group.counter("late")
        self._unreported = 0  # results since the last record: PyFlink loses what a timer counts
        self._open_windows = _OpenWindows()
        group.gauge("open_windows", self._open_windows.total)


class _OpenWindows:
    """Adds up the open windows of all shards of this worker, each counted anew now and then.

    Counting reads a shard's state, so it is done once a second at most, and takes a hundredth of the time.
    """

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}
        self._look_again: dict[str, float] = {}

    def total(self) -> int:
        """Return the open windows of all shards as last counted."""
        return sum(self._counts.values())

    def look(self, key: str, runner: Runner) -> None:
        """Count the open windows of the shard at hand, unless that was done lately."""
        started = time.monotonic()
        if started >= self._look_again.get(key, 0.0):
            self._counts[key] = runner.open_windows()
            now = time.monotonic()
            self._look_again[key] = now + max(_COUNT_EVERY_S, _COUNT_SHARE * (now - started))


class _FlinkTimers:
    """Registers timers for the key at hand; asks Flink only for those it has not asked for lately."""

    def __init__(self) -> None:
        self._asked: OrderedDict[tuple[str, int, bool], None] = OrderedDict()

    def turn_to(self, key: str, service: TimerService) -> None:
        self._key, self._service = key, service

    def at_event_time(self, time_ms: int) -> None:
        """Ask for a call when the watermark reaches this time."""
        if self._is_new(time_ms, True):
            self._service.register_event_time_timer(time_ms)

    def at_processing_time(self, time_ms: int) -> None:
        """Ask for a call when the wall clock reaches this time."""
        if self._is_new(time_ms, False):
            self._service.register_processing_time_timer(time_ms)

    def _is_new(self, time_ms: int, event_time: bool) -> bool:
        asked = (self._key, time_ms, event_time)
        if asked in self._asked:
            return False
        self._asked[asked] = None
        if len(self._asked) > _REMEMBERED_TIMERS:
            self._asked.popitem(last=False)
        return True
