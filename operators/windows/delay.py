"""Runners behind the watermark: what is gathered waits for late events before it is closed.

The runner itself knows nothing of it. It is shown a watermark that is so far behind, and the timers that it
asks for are set so much later.
"""

from __future__ import annotations

from operators.records import Record
from operators.windows.runner import Clock, Held, Outputs, Runner, Timers
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS


class Delayed:
    """A runner that sees the watermark later than it is; its timers must be `DelayedTimers`.

    Args:
        runner: the runner.
        delay_ms: by how much.
    """

    def __init__(self, runner: Runner, delay_ms: int) -> None:
        """Keep both."""
        self._runner, self._delay_ms = runner, delay_ms

    def on_record(self, record: Record, clock: Clock) -> Outputs:
        """Take partials of one batch, or a beat."""
        return self._runner.on_record(record, self._behind(clock))

    def on_event_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Do what is due when the watermark reaches `time_ms`."""
        return self._runner.on_event_time(time_ms - self._delay_ms, self._behind(clock))

    def on_processing_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Do what is due when the wall clock reaches `time_ms`."""
        return self._runner.on_processing_time(time_ms, self._behind(clock))

    def held(self) -> Held:
        """Return what the current shard holds."""
        return self._runner.held()

    def _behind(self, clock: Clock) -> Clock:
        """Return the times that the runner is shown; no watermark yet and the input's end are no times."""
        if clock.watermark_ms in (MIN_TIME_MS, END_OF_TIME_MS):
            return clock
        return clock._replace(watermark_ms=max(clock.watermark_ms - self._delay_ms, MIN_TIME_MS + 1))


class DelayedTimers:
    """Timers of a runner that sees the watermark later than it is.

    Args:
        timers: the timers of the current shard.
        delay_ms: by how much.
    """

    def __init__(self, timers: Timers, delay_ms: int) -> None:
        """Keep both."""
        self._timers, self._delay_ms = timers, delay_ms

    def at_event_time(self, time_ms: int) -> None:
        """Ask to be called when the watermark that the runner sees reaches this time."""
        if time_ms < END_OF_TIME_MS - self._delay_ms:
            self._timers.at_event_time(time_ms + self._delay_ms)

    def at_processing_time(self, time_ms: int) -> None:
        """Ask to be called when the wall clock reaches this time."""
        self._timers.at_processing_time(time_ms)
