"""The metrics of the gather operator, in Flink's own metric groups."""

from __future__ import annotations

from pyflink.metrics import MetricGroup


class GatherGauges:
    """What one metric of the pipeline holds on one worker.

    All are gauges, since what a timer adds to a counter is lost.

    Args:
        group: the operator's metric group.
        metric: the metric's name.

    Attributes:
        late: how many events were late since the worker started.
        open_windows: how many entities are held, as last counted.
        state_bytes: as last counted.
    """

    def __init__(self, group: MetricGroup, metric: str) -> None:
        """Register the gauges."""
        self.late = self.open_windows = self.state_bytes = 0
        own = group.add_group("metric", metric)
        own.gauge("late", lambda: self.late)
        own.gauge("gathered", lambda: self.open_windows)
        own.gauge("gathered_state_bytes", lambda: self.state_bytes)
