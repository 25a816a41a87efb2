"""`on_idle: advance`: closing windows by the wall clock while the whole source is silent."""

from __future__ import annotations

_STEP_MS = 1000


class Silence:
    """Measures how long nothing, not even a beat, has reached this process.

    Args:
        idle_timeout_ms: how long a silence must be to count; None where windows wait, as Flink does.
    """

    def __init__(self, idle_timeout_ms: int | None) -> None:
        """Start without having heard anything: time before the process started is no silence."""
        self._idle_timeout_ms = idle_timeout_ms
        self._heard_ms: int | None = None

    def heard(self, now_ms: int) -> int | None:
        """Note a sign of life; return when to look again, if silence matters at all."""
        self._heard_ms = now_ms
        return None if self._idle_timeout_ms is None else now_ms + self._idle_timeout_ms

    def look_again_ms(self, now_ms: int) -> int | None:
        """Return when a shard with open windows is to look again, if silence matters at all.

        Others may have been heard after this shard was, so one look is not enough. While the source is idle
        it is every full second, the same for all who ask.
        """
        if self._idle_timeout_ms is None or self._heard_ms is None:
            return None
        idle_from_ms = self._heard_ms + self._idle_timeout_ms
        return idle_from_ms if now_ms < idle_from_ms else (now_ms // _STEP_MS + 1) * _STEP_MS

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
