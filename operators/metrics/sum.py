"""`sum`: the total of a number. Exact: doubles too, whatever the order they come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import reduce
from operator import add
from typing import ClassVar, Literal

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.metrics.kind import Aggregator, AnswerColumns, Fields, Kind, typed_column, value_columns
from sketches.exact_sum import ExactSum, exact_sums


class Sum(Kind):
    """Options of `sum`: `of`, a long or double column."""

    kind: Literal["sum"]
    of: str
    always_exact: ClassVar[bool] = True

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the adder of the column."""
        return SumAggregator(self.of, typed_column("sum", columns, self.of, ("long", "double")) == "long")


class SumAggregator(Aggregator):
    """A partial is an exact sum."""

    def __init__(self, column: str, integral: bool) -> None:
        """Take the column's name, and whether its values are longs."""
        self._column, self._integral = column, integral

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Sum the values of each group; nulls and what is not finite are left out."""
        column = batch.column(self._column)
        ids, which = groups.of(column)
        return [total.serialize() for total in exact_sums(column.numbers[which], ids, groups.count)]

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Add, exactly."""
        return reduce(add, map(ExactSum.deserialize, partials)).serialize()

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return the sum rounded once, to the nearest double; longs are not rounded."""
        total = ExactSum.deserialize(partial)
        value = total.scaled << total.exponent if self._integral else float(total)
        return {"value": value, "lower": value, "upper": value, "confidence": 1.0}

    def total(self, partial: bytes) -> Fraction:
        """Return the exact sum, which may be beyond the range of doubles."""
        return ExactSum.deserialize(partial).fraction()

    def columns(self) -> AnswerColumns:
        """Return that the sum is of the column's type."""
        return value_columns("long" if self._integral else "double")
