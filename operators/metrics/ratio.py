"""`ratio`: one metric divided by another over the same windows and keys, with bounds from both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.expressions import Expression, compile_expression
from operators.metrics.count import Count
from operators.metrics.distinct import Distinct
from operators.metrics.kind import Aggregator, Fields, Kind
from operators.metrics.sum import Sum, SumAggregator
from sketches.exact_sum import nearest_double


class CountOperand(Count):
    """`count` as an operand, over the events that `where` is true for."""

    where: str | None = None


class DistinctOperand(Distinct):
    """`distinct` as an operand, over the events that `where` is true for."""

    where: str | None = None


class SumOperand(Sum):
    """`sum` as an operand, over the events that `where` is true for."""

    where: str | None = None


Operand = Annotated[CountOperand | DistinctOperand | SumOperand, Field(discriminator="kind")]


class Ratio(Kind):
    """Options of `ratio`: `numerator` and `denominator`, each a `count`, `sum` or `distinct`."""

    kind: Literal["ratio"]
    numerator: Operand
    denominator: Operand

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the aggregator of both operands."""
        return RatioAggregator(
            [_operand(name, columns, getattr(self, name)) for name in ("numerator", "denominator")],
            0.95 if not (self.numerator.always_exact and self.denominator.always_exact) else 1.0,
        )


class RatioAggregator(Aggregator):
    """A partial is the length of the numerator's partial (4 bytes), that partial, the denominator's."""

    def __init__(self, operands: list[tuple[Aggregator, Expression | None]], confidence: float) -> None:
        """Take both operands with their conditions."""
        self._operands, self._confidence = operands, confidence

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Aggregate both operands of each group."""
        numerators, denominators = (
            aggregator.partials(batch, groups if condition is None else groups.where(batch.mask(condition)))
            for aggregator, condition in self._operands
        )
        return [_join(n, d) for n, d in zip(numerators, denominators, strict=True)]

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Merge operand by operand."""
        of_operands = zip(*map(_split, partials), strict=True)
        pairs = zip(self._operands, of_operands, strict=True)
        return _join(*(aggregator.merge(own) for (aggregator, _), own in pairs))

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return the quotient, rounded once.

        It is null where the denominator is zero, and a bound is null where none is known.
        """
        top, bottom = (
            _figures(aggregator, part, events)
            for (aggregator, _), part in zip(self._operands, _split(partial), strict=True)
        )
        if not bottom.value:
            return {"value": None, "lower": None, "upper": None, "confidence": self._confidence}
        bounds = _quotients(top, bottom)
        return {
            "value": _double(top.value / bottom.value),
            "lower": _double(min(bounds)) if bounds else None,
            "upper": _double(max(bounds)) if bounds else None,
            "confidence": self._confidence,
        }


class _Figures(NamedTuple):
    """The exact answer of an operand: a sum may overflow a double even where the quotient does not."""

    value: Fraction
    lower: Fraction
    upper: Fraction


def _figures(aggregator: Aggregator, partial: bytes, events: int) -> _Figures:
    if isinstance(aggregator, SumAggregator):
        return _Figures(*[aggregator.total(partial)] * 3)
    answer = aggregator.answer(partial, events)
    return _Figures(*(Fraction(answer[name]) for name in _Figures._fields))


def _quotients(top: _Figures, bottom: _Figures) -> list[Fraction]:
    """Return the quotients at the corners of both intervals; none where the denominator may be zero.

    For numbers that are not negative the least is `lower / upper` and the greatest `upper / lower`.
    """
    if bottom.lower <= 0 <= bottom.upper:
        return []
    return [one / other for one in (top.lower, top.upper) for other in (bottom.lower, bottom.upper)]


def _double(quotient: Fraction) -> float:
    return nearest_double(*quotient.as_integer_ratio())


def _operand(name: str, columns: Mapping[str, str], operand: Kind) -> tuple[Aggregator, Expression | None]:
    try:
        condition = operand.where and compile_expression(operand.where, columns, expect="bool")
        return operand.build(columns), condition or None
    except ValueError as problem:
        raise ValueError(f"{name}: {problem}") from problem


def _join(numerator: bytes, denominator: bytes) -> bytes:
    return len(numerator).to_bytes(4, "little") + numerator + denominator


def _split(partial: bytes) -> tuple[bytes, bytes]:
    end = 4 + int.from_bytes(partial[:4], "little")
    return partial[4:end], partial[end:]
