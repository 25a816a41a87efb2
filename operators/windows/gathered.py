"""Windows of what is gathered: they go by what the shards of entities tell, not by the engine's watermark.

What is gathered comes from another operator than all else that windows get. The engine's watermark is no
measure of what that one has sent: where a stream was silent for long its channel counts as idle, and when
events come again the watermark overtakes what they make it close. So each shard of entities says in its own
stream, behind what it sent, how far it is, and a window is answered once all have passed its end.
"""

from __future__ import annotations

from operators.metric import Metric
from operators.records import Progress, Record
from operators.windows.results import ResultWriter
from operators.windows.runner import Clock, Held, Outputs, Runner, Timers
from operators.windows.silence import Silence
from operators.windows.sketch_window import SketchWindow
from state.clock_state import ByteMap, ClockState
from state.progress_state import ProgressState
from state.window_state import WindowState


class GatheredWindows:
    """A runner of windows whose watermark is told to it by records.

    Args:
        runner: the runner; its timers must be `NoEventTimers`.
        progress: what the current shard was told.
    """

    def __init__(self, runner: Runner, progress: ProgressState) -> None:
        """Keep both."""
        self._runner, self._progress = runner, progress

    def on_record(self, record: Record, clock: Clock) -> Outputs:
        """Take partials, a beat, or the news of how far a shard of entities is."""
        if not isinstance(record, Progress):
            yield from self._runner.on_record(record, self._told(clock))
            return
        before_ms = self._progress.watermark_ms()
        watermark_ms = self._progress.told(record.shard, record.watermark_ms)
        if watermark_ms > before_ms:
            yield from self._runner.on_event_time(watermark_ms, Clock(watermark_ms, clock.now_ms))

    def on_event_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Do nothing: no such timer is asked for."""
        return iter(())

    def on_processing_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Do what is due when the wall clock reaches `time_ms`."""
        return self._runner.on_processing_time(time_ms, self._told(clock))

    def held(self) -> Held:
        """Return what the current shard holds."""
        held = self._runner.held()
        return Held(held.open_windows, held.state_bytes + self._progress.held())

    def _told(self, clock: Clock) -> Clock:
        return Clock(self._progress.watermark_ms(), clock.now_ms)


class NoEventTimers:
    """Timers of a runner that is called when its watermark rises.

    Args:
        timers: the timers of the current shard.
    """

    def __init__(self, timers: Timers) -> None:
        """Keep them."""
        self._timers = timers

    def at_event_time(self, time_ms: int) -> None:
        """Do nothing: what is due is done when the watermark is told."""

    def at_processing_time(self, time_ms: int) -> None:
        """Ask to be called when the wall clock reaches this time."""
        self._timers.at_processing_time(time_ms)


def time_windows(
    metric: Metric,
    writer: ResultWriter,
    state: WindowState,
    clock: ByteMap,
    timers: Timers,
    silence: Silence,
) -> Runner:
    """Return what runs the tumbling and sliding windows of a metric.

    Those of a metric that is gathered do not go on through a silence of the source: gathering does not.

    Args:
        metric: the metric; it has a grid.
        writer: makes its results.
        state: the slices of the current shard.
        clock: the map of what the current shard remembers of time.
        timers: the timers of the current shard.
        silence: what is known of the source's silence.
    """
    if metric.gather is None:
        return SketchWindow(metric, writer, state, ClockState(clock), timers, silence)
    windows = SketchWindow(metric, writer, state, ClockState(clock), NoEventTimers(timers), Silence(None))
    return GatheredWindows(windows, ProgressState(clock, metric.gather.shards))
