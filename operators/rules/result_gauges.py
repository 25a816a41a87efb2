"""What the operator of rules on results tells of itself in Flink's metrics.

All are gauges, the totals too: PyFlink loses what a timer adds to a counter, and timers raise alerts.
"""

from __future__ import annotations

from pyflink.metrics import MetricGroup

from operators.rules.result_runner import ResultRunner


class ResultRuleGauges:
    """The gauges of this worker.

    Args:
        group: the operator's metric group.
        runner: what is told of.
    """

    def __init__(self, group: MetricGroup, runner: ResultRunner) -> None:
        """Register those that are there from the start."""
        self._group, self._runner = group, runner
        self._rules: set[str] = set()
        group.gauge("keys", lambda: runner.keys)
        for metric in runner.metrics:
            own = group.add_group("metric", metric)
            own.gauge("results_seen", lambda metric=metric: runner.results[metric])
            own.gauge("windows_too_old", lambda metric=metric: runner.too_old[metric])

    def update(self) -> None:
        """Register the gauges of rules that have spoken for the first time."""
        written = self._runner.alerts.written
        for rule in written.keys() - self._rules:
            self._rules.add(rule)
            own = self._group.add_group("rule", rule)
            own.gauge("alerts", lambda rule=rule: written[rule])
