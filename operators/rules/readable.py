"""What the rules of a pipeline may read, and so which rules it can have."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from operators.metric import Metric
from operators.rules.compiled_rule import CompiledRule, compile_rule
from operators.rules.result_columns import result_columns, window_of
from operators.rules.rule_spec import Rule


class Readable:
    """Checks rules against all columns there are.

    Args:
        events: the type of each column of an event, features included; none where nothing sees events.
        metrics: whose results rules may be on.
    """

    def __init__(self, events: Mapping[str, str], metrics: Iterable[Metric]) -> None:
        """Name the columns of results."""
        self._events, self._metrics = events, {metric.name: metric for metric in metrics}
        self._results = {name: result_columns(metric) for name, metric in self._metrics.items()}

    def compile(self, rule: Rule, version: int) -> CompiledRule:
        """Check a rule and compile its conditions.

        Raises:
            ValueError: where a metric, a window or a column is missing or types do not fit; begins with the
                key.
        """
        if rule.metric is None and not self._events:
            raise ValueError("when: is on events, which needs the section features")
        compiled = compile_rule(rule, version, self._events, self._results)
        if rule.metric is not None:
            window_of(rule, self._metrics[rule.metric])
        return compiled
