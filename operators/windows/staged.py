"""Windows behind a stage: they go by what its shards tell as well as by the engine's watermark.

What comes through a stage - values that are remembered, events that are gathered - comes from another
operator than all else that windows get. The engine's watermark is no measure of what that one has sent: where
a stream was silent for long its channel counts as idle, and when events come again the watermark overtakes
them. So each shard of the stage says in its own stream, behind what it sent, how far it is (see
`operators.windows.stage_news`). A window is answered once all have passed its end, and the watermark too, as
some events do not take that way.
"""

from __future__ import annotations

from operators.metric import Metric
from operators.records import Progress, Record
from operators.windows.results import ResultWriter
from operators.windows.runner import Clock, Held, Outputs, Runner, Timers
from operators.windows.silence import Silence
from operators.windows.sketch_window import SketchWindow
from state.clock_state import END_OF_TIME_MS, ByteMap, ClockState
from state.progress_state import ProgressState
from state.window_state import WindowState


class StagedWindows:
    """A runner of windows whose watermark is the engine's or what it is told by records, the lesser of both.

    Args:
        runner: the runner.
        progress: what the current shard was told.
        silence: what is known of the source's silence: in one, nothing is on its way any more.
    """

    def __init__(self, runner: Runner, progress: ProgressState, silence: Silence) -> None:
        """Keep the parts."""
        self._runner, self._progress, self._silence = runner, progress, silence

    def on_record(self, record: Record, clock: Clock) -> Outputs:
        """Take partials, a beat, or the news of how far a shard of the stage is."""
        before = self._told(clock)
        if not isinstance(record, Progress):
            yield from self._runner.on_record(record, before)
            return
        self._progress.told(record.shard, record.watermark_ms)
        now = self._told(clock)
        if now.watermark_ms > before.watermark_ms:
            yield from self._go_on(now)

    def on_event_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Do what is due when the engine's watermark reaches `time_ms`, unless the stage is behind.

        If so, its news will do it.
        """
        told = self._told(clock)
        if told.watermark_ms >= time_ms:
            yield from self._go_on(told)

    def on_processing_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Do what is due when the wall clock reaches `time_ms`."""
        silent = self._silence.is_now(clock.now_ms)
        return self._runner.on_processing_time(time_ms, clock if silent else self._told(clock))

    def held(self) -> Held:
        """Return what the current shard holds."""
        held = self._runner.held()
        return Held(held.open_windows, held.state_bytes + self._progress.held())

    def _go_on(self, told: Clock) -> Outputs:
        yield from self._runner.on_event_time(told.watermark_ms, told)
        if told.watermark_ms == END_OF_TIME_MS:
            self._progress.forget_end()

    def _told(self, clock: Clock) -> Clock:
        return Clock(min(clock.watermark_ms, self._progress.watermark_ms()), clock.now_ms)


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
    if metric.gather is not None:
        silence = Silence(None)
    windows = SketchWindow(metric, writer, state, ClockState(clock), timers, silence)
    if metric.stage is None:
        return windows
    return StagedWindows(windows, ProgressState(clock, metric.stage.shards), silence)
