"""`quantiles`: percentiles of a number, by KLL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.metrics.kind import Aggregator, AnswerColumns, Fields, Kind, split_by_group, typed_column
from sketches.quantiles import Quantiles

_DOUBLES_HOLD = 2**53
"""Largest magnitude up to which every long is exactly representable as a double."""
Rank = Annotated[float, Field(ge=0, le=1)]


class QuantilesOptions(Kind):
    """Options of `quantiles`: `of`, a long or double column, `at`, the ranks asked, and `k`, the accuracy.

    With `k` 200 the rank of an answer is within 1.33 % of the rank asked, with 99 % confidence.
    """

    kind: Literal["quantiles"]
    of: str
    at: Annotated[tuple[Rank, ...], Field(min_length=1)] = (0.5, 0.95, 0.99)
    k: int = Field(200, ge=8, le=65535)
    answer_options: ClassVar[frozenset[str]] = frozenset({"at"})

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the aggregator of the column."""
        typed_column("quantiles", columns, self.of, ("long", "double"))
        return QuantilesAggregator(self)


class QuantilesAggregator(Aggregator):
    """A partial is a KLL sketch of doubles, or of longs once a value may not be exact as a double."""

    def __init__(self, options: QuantilesOptions) -> None:
        """Take the options."""
        self._options = options

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Sketch the values of each group; nulls and what is not finite are left out."""
        column = batch.column(self._options.of)
        ids, which = groups.of(column)
        numbers, partials = column.numbers[which], []
        whole = _has_longs_beyond_doubles(numbers)
        for values in split_by_group(ids, numbers if whole else numbers.astype(float), groups.count):
            sketch = Quantiles(self._options.k)
            if whole:
                sketch.update_longs(values)
            else:
                sketch.update_many(values)
            partials.append(sketch.serialize())
        return partials

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Return the merged sketch."""
        sketch, *others = map(Quantiles.deserialize, partials)
        for other in others:
            sketch.merge(other)
        return sketch.serialize()

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return value, lower and upper at each rank asked; null where no event had a value.

        They are integers where a value may not be exact as a double.
        """
        sketch = Quantiles.deserialize(partial)
        quantiles = {}
        for rank in self._options.at:
            value, lower, upper = sketch.quantile(rank) or (None, None, None)
            quantiles[_written(rank)] = {"value": value, "lower": lower, "upper": upper}
        return {"quantiles": quantiles, "confidence": 0.99}

    def sketch(self, partial: bytes) -> bytes:
        """Return the KLL sketch of doubles as Apache DataSketches writes it."""
        return Quantiles.deserialize(partial).datasketches_image()

    def columns(self) -> AnswerColumns:
        """Return a column a rank, such as `p50` or `p99_9`, and its bounds, `p50_lower` and `p50_upper`."""
        names = [_column(_written(rank)) for rank in self._options.at]
        types = {name + bound: "double" for name in names for bound in ("", "_lower", "_upper")}
        return AnswerColumns(types, names[0])

    def rows(self, answer: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
        """Return all ranks as one row."""
        row = {}
        for rank, own in answer["quantiles"].items():
            name = _column(rank)
            row |= {name: own["value"], f"{name}_lower": own["lower"], f"{name}_upper": own["upper"]}
        return (row,)


def _has_longs_beyond_doubles(numbers: np.ndarray) -> bool:
    """Return whether there are longs beyond 2**53, which doubles may round."""
    if numbers.dtype != np.int64 or not len(numbers):
        return False
    return int(numbers.min()) < -_DOUBLES_HOLD or int(numbers.max()) > _DOUBLES_HOLD


def _written(rank: float) -> str:
    return str(rank + 0.0).removesuffix(".0")


def _column(rank: str) -> str:
    """Return the column of a rank: the percentile, with _ for the point."""
    percentile = f"{Decimal(rank) * 100:f}"
    whole, _, rest = percentile.partition(".")
    rest = rest.rstrip("0")
    return f"p{whole}_{rest}" if rest else f"p{whole}"
