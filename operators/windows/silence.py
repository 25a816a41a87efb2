"""`on_idle: advance`: closing windows by the wall clock while the whole source is silent."""

from __future__ import annotations

from collections.abc import Callable

from operators.windows.runner import Clock
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ClockState

_STEP_MS = 1000


class Silence:
    """Measures how long nothing, not even a beat, has reached this process.

    Args:
        idle_timeout_ms: how long a silence must be to count; None where windows wait, as Flink does.
        out_of_orderness_ms: how far a watermark is behind the newest event.
    """

    def __init__(self, idle_timeout_ms: int | None, out_of_orderness_ms: int = 0) -> None:
        """Start without having heard anything: time before the process started is no silence."""
        self._idle_timeout_ms, self._out_of_orderness_ms = idle_timeout_ms, out_of_orderness_ms
        self._heard_ms: int | None = None

    def heard(self, now_ms: int) -> int | None:
        """Note a sign of life; return when to look again, if silence matters at all."""
        self._heard_ms = now_ms
        return None if self._idle_timeout_ms is None else now_ms + self._idle_timeout_ms

    def is_now(self, now_ms: int) -> bool:
        """Return whether nothing has been heard for so long that it counts."""
        return self.length_ms(now_ms, None) > 0

    def look_again_ms(self, now_ms: int) -> int | None:
        """Return when a shard with open windows is to look again, if silence matters at all.

        Others may have been heard after this shard was, so one look is not enough. While the source is idle
        it is every full second, the same for all who ask.
        """
        if self._idle_timeout_ms is None or self._heard_ms is None:
            return None
        idle_from_ms = self._heard_ms + self._idle_timeout_ms
        return idle_from_ms if now_ms < idle_from_ms else (now_ms // _STEP_MS + 1) * _STEP_MS

    def goes_on_to(
        self, clock: Clock, remembered: ClockState, newest_ms: Callable[[], int | None]
    ) -> int | None:
        """Return the watermark that a shard goes on to by a silence; None where there is none to count.

        Args:
            clock: the times now.
            remembered: what the shard remembers of time; that this silence was counted is added.
            newest_ms: gives an event time that the shard has reached, None where it has no events. That is
                what a source falls silent at before there ever was a watermark.
        """
        watermark_ms = remembered.watermark(clock.watermark_ms)
        silent_ms = self.length_ms(clock.now_ms, remembered.silent_until())
        if not silent_ms or watermark_ms == END_OF_TIME_MS:
            return None
        if watermark_ms == MIN_TIME_MS:
            newest = newest_ms()
            if newest is None:
                return None
            watermark_ms = newest - self._out_of_orderness_ms
        remembered.set_silent_until(clock.now_ms)
        return watermark_ms + silent_ms

    def length_ms(self, now_ms: int, counted_until_ms: int | None) -> int:
        """Return how much silence there is to count, 0 while the source is not idle.

        Args:
            now_ms: the wall clock.
            counted_until_ms: up to when silence was counted before, if it was.
        """
        if self._heard_ms is None:
            self._heard_ms = now_ms
        if self._idle_timeout_ms is None or now_ms - self._heard_ms < self._idle_timeout_ms:
            return 0
        counted = self._heard_ms if counted_until_ms is None else counted_until_ms
        return max(0, now_ms - max(self._heard_ms, counted))
