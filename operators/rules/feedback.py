"""What a verdict on an alert does to the rule that raised it."""

from __future__ import annotations

from typing import Literal

from operators.rules.rule_spec import Parameter, Rule


def moved(rule: Rule, verdict: Literal["fraud", "legitimate"]) -> Rule:
    """Return the rule with its parameters moved as `Parameter` says; the same where none can be.

    Args:
        rule: the rule.
        verdict: what was said of one of its alerts.
    """
    parameters = {name: _moved(parameter, verdict) for name, parameter in rule.parameters.items()}
    return rule.model_copy(update={"parameters": parameters})


def _moved(parameter: Parameter, verdict: Literal["fraud", "legitimate"]) -> Parameter:
    if parameter.min is None:
        return parameter
    speaks_less = verdict == "legitimate"
    share = parameter.step * (parameter.precision if speaks_less else 1 - parameter.precision)
    up = speaks_less == (parameter.stricter == "up")
    value = parameter.value * (1 + share if up else 1 - share)
    return parameter.model_copy(update={"value": min(max(value, parameter.min), parameter.max)})
