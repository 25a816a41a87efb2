"""What must hold of single columns wherever a condition is true: found without evaluating the condition."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf

from operators.expressions.types import Typed

_MIRRORED = {"=": "=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


@dataclass(frozen=True)
class Range:
    """A column of numbers or booleans has a value from `low` to `high`, both included; false is 0, true 1."""

    column: str
    low: float
    high: float


@dataclass(frozen=True)
class OneOf:
    """A column of texts has one of these values."""

    column: str
    values: frozenset[str]


def necessary(typed: Typed) -> Iterator[Range | OneOf]:
    """Yield what must hold wherever a condition is true.

    Of comparisons of a column with a literal that are joined by `and`, which most conditions of rules are,
    nothing is missed but that ends of ranges are included. Of anything else nothing is said.

    Args:
        typed: the checked tree of a condition.
    """
    if typed.operator == "and":
        for argument in typed.arguments:
            yield from necessary(argument)
    elif typed.operator == "column":
        yield Range(str(typed.value), 1, 1)
    elif typed.operator == "not" and typed.arguments[0].operator == "column":
        yield Range(str(typed.arguments[0].value), 0, 0)
    elif typed.operator == "in":
        yield from _in(typed)
    elif typed.operator in _MIRRORED:
        left, right = typed.arguments
        if right.operator == "literal":
            yield from _compared(_column(left), typed.operator, right.value)
        elif left.operator == "literal":
            yield from _compared(_column(right), _MIRRORED[typed.operator], left.value)


def _column(typed: Typed) -> str | None:
    """Return the name of a column, taken as a double or as it is; None for anything else."""
    if typed.operator == "to double":
        typed = typed.arguments[0]
    return str(typed.value) if typed.operator == "column" else None


def _compared(column: str | None, operator: str, value: object) -> Iterator[Range | OneOf]:
    if column is None or value is None:
        return
    if isinstance(value, str):
        if operator == "=":
            yield OneOf(column, frozenset((value,)))
        return
    # A long and a double are compared as doubles, which may round: ends are included, so that is harmless.
    number = float(value)
    yield Range(column, -inf if operator[0] == "<" else number, inf if operator[0] == ">" else number)


def _in(typed: Typed) -> Iterator[Range | OneOf]:
    operand, *items = typed.arguments
    column, values = _column(operand), [item.value for item in items if item.value is not None]
    if column is None or not values:
        return
    if isinstance(values[0], str):
        yield OneOf(column, frozenset(values))
    else:
        yield Range(column, float(min(values)), float(max(values)))
