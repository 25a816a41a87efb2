"""Counts rejects in Flink's metrics: all of them, and by reason."""

from __future__ import annotations

from pyflink.metrics import Counter, MetricGroup


class RejectCounters:
    """What one worker rejected.

    Args:
        group: the function's metric group.
    """

    def __init__(self, group: MetricGroup) -> None:
        """Register the counter of all; those of reasons are there once they are needed."""
        self._group, self._all = group, group.counter("rejected")
        self._by_reason: dict[str, Counter] = {}

    def count(self, reason: str, number: int) -> None:
        """Count so many for a reason; there are about a dozen."""
        self._all.inc(number)
        if reason not in self._by_reason:
            self._by_reason[reason] = self._group.add_group("reason", reason).counter("rejected_by_reason")
        self._by_reason[reason].inc(number)
