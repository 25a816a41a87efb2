"""What must hold of the columns of some events if a condition is true for one: found without evaluating it.

Of each column of numbers or booleans only the least and the greatest value are looked at, of each column of
texts which there are. What follows from that for sums, products and quotients is found by interval
arithmetic: rounding keeps the order of numbers, so that ends computed as values are, bound them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from math import inf, isnan

from operators.expressions.syntax import LONG_MAX, LONG_MIN
from operators.expressions.types import Typed

MOST_ALTERNATIVES = 16
"""Beyond so many nothing is said of an expression."""

Reach = tuple[float, float]
"""The least and the greatest value; of none a range that nothing is in."""
NOTHING: Reach = (inf, -inf)
EVERYTHING: Reach = (-inf, inf)
_BOUNDED = frozenset(("column", "literal", "to double", "+", "-", "*", "/", "negate", "abs()"))


@dataclass(frozen=True)
class Reaches:
    """The greatest value of `high` is the least of `low` or more."""

    high: Typed
    low: Typed


@dataclass(frozen=True)
class OneOf:
    """A column of texts has one of these values."""

    column: str
    values: frozenset[str]


Alternatives = tuple[tuple[Reaches | OneOf, ...], ...]
_ANYTHING: Alternatives = ((),)
_NEVER: Alternatives = ()


def alternatives(typed: Typed, wanted: bool = True) -> Alternatives:
    """Return what must hold if a condition is true: all of one of the alternatives.

    Args:
        typed: the checked tree of a condition.
        wanted: whether it is to be true; else false, which is not null.
    """
    if typed.operator == "not":
        return alternatives(typed.arguments[0], not wanted)
    if typed.operator in ("and", "or"):
        own = [alternatives(argument, wanted) for argument in typed.arguments]
        return _all_of(own) if (typed.operator == "and") == wanted else _one_of(own)
    if typed.operator == "literal":
        return _ANYTHING if typed.value is wanted else _NEVER
    if typed.operator == "column":
        limit = Typed("literal", "bool", value=wanted)
        return ((Reaches(typed, limit) if wanted else Reaches(limit, typed),),)
    if typed.operator == "in" and wanted:
        return (tuple(_in(typed)),)
    if typed.operator in ("=", "<", "<=", ">", ">="):
        return (tuple(_compared(typed, wanted)),)
    return _ANYTHING


def reach(typed: Typed, columns: Mapping[str, Reach]) -> Reach:
    """Return between which values an expression of numbers or booleans is, nulls left out.

    Args:
        typed: the expression.
        columns: between which each column that it reads is.
    """
    if typed.operator == "column":
        return columns[str(typed.value)]
    if typed.operator == "literal":
        return (typed.value, typed.value) if typed.value is not None else NOTHING
    if typed.operator not in _BOUNDED:
        return EVERYTHING
    ranges = [reach(argument, columns) for argument in typed.arguments]
    if NOTHING in ranges:
        return NOTHING
    ends = _ends(typed.operator, *ranges)
    if any(map(isnan, ends)):
        return EVERYTHING
    if typed.type == "long":  # what is outside is null
        return max(min(ends), LONG_MIN), min(max(ends), LONG_MAX)
    return float(min(ends)), float(max(ends))


def _ends(operator: str, one: Reach, other: Reach = NOTHING) -> list[float]:
    """Return values that the least and the greatest of a result are among."""
    if operator == "+":
        return [one[0] + other[0], one[1] + other[1]]
    if operator == "-":
        return [one[0] - other[1], one[1] - other[0]]
    if operator == "*":
        return [left * right for left in one for right in other]
    if operator == "/":
        if other[0] <= 0 <= other[1]:
            return list(EVERYTHING)
        return [left / right for left in one for right in other]
    if operator == "negate":
        return [-one[0], -one[1]]
    if operator == "abs()":
        return [abs(one[0]), abs(one[1]), *([0] if one[0] <= 0 <= one[1] else [])]
    return list(one)


def _all_of(own: list[Alternatives]) -> Alternatives:
    combined: Alternatives = _ANYTHING
    for one in sorted(own, key=len):  # what says most comes first, in case of too many
        if len(combined) * len(one) <= MOST_ALTERNATIVES:
            combined = tuple(left + right for left, right in product(combined, one))
    return combined


def _one_of(own: list[Alternatives]) -> Alternatives:
    every = tuple(needs for one in own for needs in one)
    return _ANYTHING if () in every or len(every) > MOST_ALTERNATIVES else every


def _compared(typed: Typed, wanted: bool) -> Iterator[Reaches | OneOf]:
    left, right = typed.arguments
    if left.type == "string":
        if typed.operator == "=" and wanted:
            for column, literal in ((left, right), (right, left)):
                if column.operator == "column" and literal.operator == "literal":
                    values = frozenset(() if literal.value is None else (literal.value,))
                    yield OneOf(str(column.value), values)
        return
    if not (_is_bounded(left) and _is_bounded(right)):
        return
    # A comparison that is false is the other one: less is not (greater or equal).
    is_greater = (typed.operator[0] == ">") == wanted
    if typed.operator == "=":
        if wanted:
            yield Reaches(left, right)
            yield Reaches(right, left)
    else:
        yield Reaches(left, right) if is_greater else Reaches(right, left)


def _in(typed: Typed) -> Iterator[Reaches | OneOf]:
    operand, *items = typed.arguments
    values = [item.value for item in items if item.value is not None]
    if operand.type == "string":
        if operand.operator == "column":
            yield OneOf(str(operand.value), frozenset(values))
    elif values and _is_bounded(operand):
        yield Reaches(operand, Typed("literal", operand.type, value=min(values)))
        yield Reaches(Typed("literal", operand.type, value=max(values)), operand)


def _is_bounded(typed: Typed) -> bool:
    """Return whether an expression is of what interval arithmetic is known for."""
    return typed.operator in _BOUNDED and all(map(_is_bounded, typed.arguments))
