"""A rule that was checked against the columns it can read, ready to be evaluated."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from operators.expressions import Expression, compile_expression
from operators.plain_text import in_one_line
from operators.rules.rule_spec import Rule

_CONDITIONS = ("when", "unless", "then", "clear")
_PLACE = re.compile(r"\{(\w+)\}")
COLUMNS_BEFORE = {
    "previous": "double",
    "mean_before": "double",
    "stddev_before": "double",
    "median_before": "double",
    "mad_before": "double",
    "count_before": "long",
}
"""What a rule on results with `before` reads besides: of the windows before the one that it looks at."""


@dataclass(frozen=True)
class CompiledRule:
    """A rule with its conditions compiled.

    Attributes:
        rule: the rule.
        version: which version of it this is.
        conditions: those of `when`, `unless`, `then` and `clear` that it has, compiled.
        columns: the columns that its conditions and its text read, sorted: what an alert shows.
    """

    rule: Rule
    version: int
    conditions: Mapping[str, Expression]
    columns: tuple[str, ...]

    def text(self, values: Mapping[str, object]) -> str | None:
        """Return what people are told.

        Args:
            values: the value of each of `columns`; parameters need not be in it.
        """
        if self.rule.text is None:
            return None
        known = {name: parameter.value for name, parameter in self.rule.parameters.items()} | dict(values)
        return _PLACE.sub(lambda place: in_one_line(str(known[place[1]])), self.rule.text)


def compile_rule(
    rule: Rule, version: int, events: Mapping[str, str], results: Mapping[str, Mapping[str, str]]
) -> CompiledRule:
    """Check a rule and compile its conditions.

    Args:
        rule: the rule.
        version: which version of it this is.
        events: the type of each column of an event, features included.
        results: the type of each column that a rule on a result of a metric reads, by metric.

    Raises:
        ValueError: where a metric or a column is missing or types do not fit; begins with the key.
    """
    if rule.metric is not None and rule.metric not in results:
        known = ", ".join(sorted(results))
        allowed = f"expected one of {known}" if known else "there are no metrics"
        raise ValueError(f"metric: {allowed}, got {rule.metric!r}")
    columns = events if rule.metric is None else _of_results(rule, results[rule.metric])
    constants = {name: parameter.value for name, parameter in rule.parameters.items()}
    hidden = sorted(constants.keys() & columns.keys())
    if hidden:
        raise ValueError(f"parameters.{hidden[0]}: there is a column of that name")
    conditions = {}
    for key in _CONDITIONS:
        text = getattr(rule, key)
        if text is not None:
            try:
                conditions[key] = compile_expression(text, columns, expect="bool", constants=constants)
            except ValueError as problem:
                raise ValueError(f"{key}: {problem}") from problem
    read = {name for condition in conditions.values() for name in condition.columns}
    named = set(_PLACE.findall(rule.text or ""))
    unknown = sorted(named - columns.keys() - constants.keys())
    if unknown:
        allowed = ", ".join(sorted([*columns, *constants]))
        raise ValueError(f"text: there is no column {unknown[0]!r}; expected one of: {allowed}")
    return CompiledRule(rule, version, conditions, tuple(sorted(read | (named & columns.keys()))))


def _of_results(rule: Rule, columns: Mapping[str, str]) -> Mapping[str, str]:
    """Return what the rule reads of a metric's results: of windows before only where it says how many."""
    if rule.before is None:
        return {name: type_ for name, type_ in columns.items() if name not in COLUMNS_BEFORE}
    if not COLUMNS_BEFORE.keys() <= columns.keys():
        raise ValueError(f"before: results of {rule.metric} have no number that windows can be compared by")
    return columns
