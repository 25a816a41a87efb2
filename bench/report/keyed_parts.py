"""What runners are given in the place of Flink's state and timers."""

from __future__ import annotations


class Map(dict):
    """A map of Flink's state."""

    put = dict.__setitem__
    remove = dict.pop


class NoTimers:
    """Timers that never fire."""

    def at_event_time(self, time_ms: int) -> None:
        """Forget it."""

    at_processing_time = at_event_time
