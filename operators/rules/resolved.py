"""Features checked against the columns of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, TypeVar

from operators.durations import format_duration
from operators.expressions import Expression, compile_expression
from operators.metrics.kind import typed_column
from operators.rules.feature_spec import (
    Deviations,
    Distinct,
    Feature,
    FeaturesSpec,
    Previous,
    Speed,
    Sum,
)
from operators.rules.rule_spec import DecideSpec

_MULTI_VALUED: Final = "list"
_SCALARS: Final = ("string", "long", "double", "bool")
_NUMBERS: Final = ("long", "double")
_MADE: Final = {
    "count": "long",
    "sum": "double",
    "distinct": "long",
    "first": "bool",
    "since": "long",
    "deviations": "double",
    "speed": "double",
}
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class FeatureColumn:
    """A feature that was checked.

    Attributes:
        name: the column that it makes.
        feature: what it is.
        type: the type of the column that it makes.
        reads: the columns that it is made from, with their types.
        condition: which events count for it; None for all.
    """

    name: str
    feature: Feature
    type: str
    reads: Mapping[str, str]
    condition: Expression | None

    @property
    def number(self) -> int:
        """The number of 32 bits that what it knows is kept under: another one where it is defined anew.

        It is kept with each entity, where a name would take more room than what is known.
        """
        defined = self.feature.model_dump(mode="json", exclude={"at_least"}) | {"reads": dict(self.reads)}
        text = json.dumps([self.name, defined], sort_keys=True)
        return int.from_bytes(blake2b(text.encode(), digest_size=4).digest(), "little")


@dataclass(frozen=True)
class Features:
    """The section `features`, checked against the columns of events.

    Attributes:
        spec: the section.
        condition: which events rules see; None for all.
        events: the type of each column of an event that rules can read.
        columns: the features.
    """

    spec: FeaturesSpec
    condition: Expression | None
    events: Mapping[str, str]
    columns: tuple[FeatureColumn, ...]

    @property
    def types(self) -> dict[str, str]:
        """The type of each column that rules on events can read, features included."""
        return dict(self.events) | {column.name: column.type for column in self.columns}


def resolve_features(spec: FeaturesSpec, columns: Mapping[str, str]) -> Features:
    """Check the section `features` against the columns of events.

    Args:
        spec: the section.
        columns: the type of every column.

    Raises:
        ValueError: where a column is missing or of a wrong type, a name is taken, a time is too long or a
            condition is wrong; the message begins with the key.
    """
    typed_column("features", columns, spec.of, _SCALARS)
    if spec.id is not None:
        typed_column("features", columns, spec.id, ("string", "long"), key="id")
    events = {name: type_ for name, type_ in columns.items() if type_ != _MULTI_VALUED}
    resolved = []
    for name, feature in spec.columns.items():
        if name in columns:
            raise ValueError(f"columns.{name}: expected a name that no column has, got that of a column")
        within_ms = getattr(feature, "within", 0)
        if within_ms > spec.remember:
            raise ValueError(
                f"columns.{name}.within: expected at most remember, {format_duration(spec.remember)}, "
                f"got {format_duration(within_ms)}"
            )
        resolved.append(_keyed(f"columns.{name}.", lambda n=name, f=feature: _resolved(n, f, columns)))
    numbers: dict[int, str] = {}
    for column in resolved:
        other = numbers.setdefault(column.number, column.name)
        if other != column.name:
            raise ValueError(f"columns.{column.name}: cannot be told from {other} in state; rename it")
    return Features(spec, _condition(spec.where, columns), events, tuple(resolved))


def resolve_decide(spec: DecideSpec, features: Features | None) -> Expression | None:
    """Return the condition for which events are answered, None for all.

    Args:
        spec: the section `decide`.
        features: what rules on events may read; None where the pipeline has no such section.

    Raises:
        ValueError: where there are no features, or the condition is wrong.
    """
    if features is None:
        raise ValueError("decide: answers events, which needs the section features")
    return _keyed("decide.", lambda: _condition(spec.where, features.events))


def _resolved(name: str, feature: Feature, columns: Mapping[str, str]) -> FeatureColumn:
    reads = {}
    if isinstance(feature, Speed):
        for key in ("latitude", "longitude"):
            column = getattr(feature, key)
            reads[column] = typed_column(feature.kind, columns, column, _NUMBERS, key=key)
    elif isinstance(feature, Sum | Deviations):
        reads[feature.of] = typed_column(feature.kind, columns, feature.of, _NUMBERS)
    elif isinstance(feature, Distinct | Previous):
        reads[feature.of] = typed_column(feature.kind, columns, feature.of, _SCALARS)
    type_ = reads[feature.of] if isinstance(feature, Previous) else _MADE[feature.kind]
    return FeatureColumn(name, feature, type_, reads, _condition(feature.where, columns))


def _condition(text: str | None, columns: Mapping[str, str]) -> Expression | None:
    if text is None:
        return None
    return _keyed("where: ", lambda: compile_expression(text, columns, expect="bool"))


def _keyed(key: str, make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except ValueError as problem:
        raise ValueError(f"{key}{problem}") from problem
