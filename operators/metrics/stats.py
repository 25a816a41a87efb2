"""`stats`: count, min, max, mean and population standard deviation of a number, from exact sums."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import reduce
from math import ldexp, sqrt
from operator import add
from typing import ClassVar, Literal

import numpy as np

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.metrics.kind import Aggregator, AnswerColumns, Fields, Kind, typed_column
from sketches.errors import BadData
from sketches.exact_sum import ExactSum, exact_sums, nearest_double


class Stats(Kind):
    """Options of `stats`: `of`, a long or double column."""

    kind: Literal["stats"]
    of: str
    always_exact: ClassVar[bool] = True

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the aggregator of the column."""
        return StatsAggregator(self.of, typed_column("stats", columns, self.of, ("long", "double")) == "long")


class StatsAggregator(Aggregator):
    """A partial is count, min and max, the length of the sum, the sum and the sum of squares.

    Mean and deviation are computed once, from whole numbers: there is no cancellation, and any order of the
    same events gives the same digits.
    """

    def __init__(self, column: str, integral: bool) -> None:
        """Take the column's name, and whether its values are longs."""
        self._column, self._integral = column, integral
        self._head = struct.Struct("<qqqH" if integral else "<qddH")

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Aggregate the values of each group; nulls and what is not finite are left out."""
        column = batch.column(self._column)
        ids, which = groups.of(column)
        values = column.numbers[which]
        zeros = np.zeros(len(values), np.int64) if ids is None else ids
        counts = np.bincount(zeros, minlength=groups.count)
        least, most = (np.zeros(groups.count, values.dtype) for _ in range(2))
        order = np.argsort(zeros, kind="stable")
        filled = np.flatnonzero(counts)
        if len(filled):
            starts = (np.cumsum(counts) - counts)[filled]
            least[filled] = np.minimum.reduceat(values[order], starts)
            most[filled] = np.maximum.reduceat(values[order], starts)
        sums = exact_sums(values, ids, groups.count)
        squares = exact_sums(values, ids, groups.count, power=2)
        rows = zip(counts.tolist(), least.tolist(), most.tolist(), sums, squares, strict=True)
        return [self._write(*row) for row in rows]

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Add counts and sums, keep the extremes."""
        filled = [read for read in map(self._read, partials) if read[0]]
        if not filled:
            return partials[0]
        counts, least, most, totals, squares = zip(*filled, strict=True)
        return self._write(sum(counts), min(least), max(most), reduce(add, totals), reduce(add, squares))

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return `stats`; all but the count are null where no event had a value."""
        count, least, most, total, squares = self._read(partial)
        if not count:
            return {"stats": {"count": 0, "min": None, "max": None, "mean": None, "stddev": None}}
        sum_of_values, sum_of_squares = total.fraction(), squares.fraction()
        variance = (count * sum_of_squares - sum_of_values**2) / count**2
        if variance < 0:
            raise BadData("expected sums of numbers and of their squares, got others")
        return {
            "stats": {
                "count": count,
                "min": least,
                "max": most,
                "mean": nearest_double(*(sum_of_values / count).as_integer_ratio()),
                "stddev": _root(variance),
            },
            "confidence": 1.0,
        }

    def columns(self) -> AnswerColumns:
        """Return those of `stats`."""
        extreme = "long" if self._integral else "double"
        types = {"count": "long", "min": extreme, "max": extreme, "mean": "double", "stddev": "double"}
        return AnswerColumns(types, "mean")

    def rows(self, answer: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
        """Return `stats` as a row."""
        return (answer["stats"],)

    def _write(self, count: int, least: float, most: float, total: ExactSum, squares: ExactSum) -> bytes:
        written = total.serialize()
        return self._head.pack(count, least, most, len(written)) + written + squares.serialize()

    def _read(self, partial: bytes) -> tuple[int, float, float, ExactSum, ExactSum]:
        if len(partial) < self._head.size:
            raise BadData(f"expected statistics of {self._head.size} bytes or more, got {len(partial)}")
        count, least, most, length = self._head.unpack_from(partial)
        middle = self._head.size + length
        total = ExactSum.deserialize(partial[self._head.size : middle])
        return count, least, most, total, ExactSum.deserialize(partial[middle:])


def _root(square: Fraction) -> float:
    """Return the square root, also where the square is beyond the range of doubles."""
    half = (square.numerator.bit_length() - square.denominator.bit_length()) // 2
    return ldexp(sqrt(square / Fraction(4) ** half), half)
