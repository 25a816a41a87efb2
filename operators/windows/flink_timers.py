"""Timers of a keyed operator in Flink."""

from __future__ import annotations

from collections import OrderedDict

from pyflink.datastream import TimerService

from operators.windows.runner import Clock

_REMEMBERED_TIMERS = 4096


class FlinkTimers:
    """Registers timers for the key at hand; asks Flink only for those it has not asked for lately.

    Attributes:
        key: the key at hand.
    """

    def __init__(self) -> None:
        """Start without having asked for any."""
        self.key = ""
        self._asked: OrderedDict[tuple[str, int, bool], None] = OrderedDict()

    def turn_to(self, key: str, service: TimerService) -> Clock:
        """Register timers for this key from now on; return the times now."""
        self.key, self._service = key, service
        return Clock(service.current_watermark(), service.current_processing_time())

    def at_event_time(self, time_ms: int) -> None:
        """Ask for a call when the watermark reaches this time."""
        if self._is_new(time_ms, True):
            self._service.register_event_time_timer(time_ms)

    def at_processing_time(self, time_ms: int) -> None:
        """Ask for a call when the wall clock reaches this time."""
        if self._is_new(time_ms, False):
            self._service.register_processing_time_timer(time_ms)

    def _is_new(self, time_ms: int, event_time: bool) -> bool:
        asked = (self.key, time_ms, event_time)
        if asked in self._asked:
            return False
        self._asked[asked] = None
        if len(self._asked) > _REMEMBERED_TIMERS:
            self._asked.popitem(last=False)
        return True
