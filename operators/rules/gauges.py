"""The metrics of the operator of rules, in Flink's own metric groups.

All are gauges, the totals too: PyFlink loses what a timer adds to a counter, and sequences that wait in vain
speak by timers.
"""

from __future__ import annotations

from functools import partial

from pyflink.metrics import MetricGroup

from operators.rules.rules_runner import RulesRunner


class RulesGauges:
    """What rules see and say, and what is remembered for them, in this worker.

    Args:
        group: the operator's metric group.
        runner: what raises alerts.
    """

    def __init__(self, group: MetricGroup, runner: RulesRunner) -> None:
        """Register the gauges."""
        self._group, self._runner, self._told = group.add_group("rules"), runner, set()
        own, state = self._group, runner.state
        own.gauge("events_seen", lambda: runner.events)
        own.gauge("decisions", lambda: runner.decisions)
        own.gauge("rules_in_force", lambda: len(runner.rules))
        own.gauge("rules_unusable", lambda: len(runner.rules.unusable))
        own.gauge("entities", state.entities)
        own.gauge("history_state_bytes", state.bytes)

    def update(self) -> None:
        """Register the gauges of rules that have spoken for the first time."""
        if len(self._told) < len(self._runner.alerts):
            for name in self._runner.alerts.keys() - self._told:
                self._told.add(name)
                self._group.add_group("rule", name).gauge("alerts", partial(self._alerts_of, name))

    def _alerts_of(self, name: str) -> int:
        return self._runner.alerts[name]
