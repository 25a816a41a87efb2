"""A rule as the pipeline file's `rules` list and the topic of rules have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from operators.durations import DurationMs
from operators.section import Section
from operators.windows.window_spec import WindowSpec

FIRST_VERSION = 1
"""The version of a rule as the pipeline file has it."""
RULE_NAME = "^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
_Positive = Annotated[DurationMs, Field(gt=0)]
_ParameterName = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class Parameter(Section):
    """A number in a rule's conditions that verdicts may move between `min` and `max`.

    Without limits it stays as it is. Each verdict moves it by a share of itself: `legitimate` by
    `step * precision` towards `stricter`, so that the rule speaks less, `fraud` by `step * (1 - precision)`
    the other way. So it comes to rest where the share `precision` of its alerts is fraud (the stochastic
    approximation of a quantile by Robbins and Monro, 1951).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    value: FiniteFloat
    min: FiniteFloat | None = None
    max: FiniteFloat | None = None
    step: Annotated[float, Field(gt=0, le=0.5)] = 0.05
    precision: Annotated[float, Field(gt=0, lt=1)] = 0.8
    stricter: Literal["up", "down"] = "up"

    @model_validator(mode="after")
    def _within_limits(self) -> Parameter:
        if (self.min is None) != (self.max is None):
            raise ValueError("expected both min and max, or neither")
        if self.min is not None and not 0 < self.min <= self.value <= self.max:
            raise ValueError(
                f"expected 0 < min <= value <= max, got {self.min:g}, {self.value:g}, {self.max:g}"
            )
        return self


class Rule(Section):
    """A condition that raises an alert.

    Of three kinds. *On an event*: `when` is over its columns, the features and the rule's parameters. *On a
    sequence*: an event that `when` holds for is followed `within` some time by none that `unless` holds for,
    or by one that `then` holds for, of the same entity. *On a result*: `metric` names whose (and `window`
    which, where it has several), `when` is over the result's fields and those of the `before` windows before
    it; it speaks when `when` held `for` so many windows in a row and is quiet again after `clear` held for
    one. With `absent_for` it also speaks where a key has no result for so long.

    `decide` is what the rule asks for an event, `text` what people are told, with names of columns in braces.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)
    name: Annotated[str, Field(pattern=RULE_NAME)]
    enabled: bool = True
    when: str | None = None
    parameters: Mapping[_ParameterName, Parameter] = {}
    severity: Literal["info", "warning", "critical"] = "warning"
    decide: Literal["review", "block"] | None = None
    text: str | None = None
    within: _Positive | None = None
    unless: str | None = None
    then: str | None = None
    metric: str | None = None
    window: WindowSpec | None = None
    before: Annotated[int, Field(ge=1, le=10_000)] | None = None
    for_windows: Annotated[int, Field(ge=1, le=10_000, alias="for")] = 1
    clear: str | None = None
    absent_for: _Positive | None = None

    @model_validator(mode="after")
    def _of_one_kind(self) -> Rule:
        of_results = self._given("window", "before", "for_windows", "clear", "absent_for")
        of_sequences = self._given("within", "unless", "then")
        if self.when is None and self.absent_for is None:
            raise ValueError("when: is missing")
        if self.metric is None and of_results:
            raise ValueError(f"{_as_written(of_results)}: needs metric, whose results the rule is on")
        if self.metric is not None and of_sequences:
            raise ValueError(f"{_as_written(of_sequences)}: is for rules on events, not on results")
        if self.metric is not None and self.decide is not None:
            raise ValueError("decide: is for rules on events, not on results")
        if self.when is None and (needs_when := self._given("before", "for_windows", "clear")):
            raise ValueError(f"{_as_written(needs_when)}: needs when")
        if of_sequences and (self.within is None or (self.unless is None) == (self.then is None)):
            raise ValueError("a sequence needs within, and one of unless and then")
        return self

    def _given(self, *fields: str) -> set[str]:
        """Return which of these have another value than their default: written out, a rule has them all."""
        return {name for name in fields if getattr(self, name) != type(self).model_fields[name].default}

    @property
    def kind(self) -> Literal["event", "sequence", "result"]:
        """Which of the three it is."""
        if self.metric is not None:
            return "result"
        return "event" if self.within is None else "sequence"


class DecideSpec(BaseModel):
    """Which events are answered (all): `approve`, or what the strictest rule that spoke asks for."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    where: str | None = None


def _as_written(fields: set[str]) -> str:
    return ", ".join(sorted("for" if field == "for_windows" else field for field in fields))
