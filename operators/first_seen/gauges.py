"""The metrics of the first-seen operator, in Flink's own metric groups."""

from __future__ import annotations

from collections.abc import Iterator

from pyflink.metrics import MetricGroup

from state.seen_state import Members, SeenState

_MILLION = 1_000_000


class SeenGauges:
    """How many values are remembered, and how well.

    Fractions would be cut off on their way to a reporter, so shares are in millionths.

    Args:
        group: the operator's metric group.
        metric: the metric's name.
        state: what this worker's shards have seen.
    """

    def __init__(self, group: MetricGroup, metric: str, state: SeenState) -> None:
        """Register the gauges."""
        self._state = state
        own = group.add_group("metric", metric)
        own.gauge("seen_values", lambda: sum(members.members for members in self._all()))
        own.gauge("seen_state_bytes", lambda: sum(state.state_bytes.values()))
        own.gauge("seen_false_positive_ppm", self._false_positive_ppm)

    def _all(self) -> Iterator[Members]:
        for periods in self._state.shards().values():
            yield from periods.values()

    def _false_positive_ppm(self) -> int:
        """Return with which probability a new value is missed now in the shard where that is most likely."""
        worst = 0.0
        for periods in self._state.shards().values():
            found = 1.0
            for members in periods.values():
                found *= 1.0 - members.false_positive_rate
            worst = max(worst, 1.0 - found)
        return round(worst * _MILLION)
