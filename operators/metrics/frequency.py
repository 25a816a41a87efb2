"""`frequency`: how often each of some named items occurs, by Count-Min."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Annotated, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field

from operators.batch.event_batch import EventBatch, hashes_of
from operators.batch.groups import Groups
from operators.metrics.items import check_item_columns, item_type, weight_checks, weighted_items
from operators.metrics.kind import Aggregator, AnswerColumns, Fields, Kind, item_columns
from sketches.count_min import CountMin

_DTYPES = {"string": pl.String, "list": pl.String, "long": pl.Int64, "double": pl.Float64, "bool": pl.Boolean}
_JSON_TYPES = {"string": str, "list": str, "long": int, "double": (int, float), "bool": bool}


class Frequency(Kind):
    """Options of `frequency`.

    `of` is a column of any type, `ask` the items to report. With probability `1 - delta` a count is too high
    by at most `epsilon` times the total weight; it is never too low. `weight` is a long column, at least 0.
    """

    kind: Literal["frequency"]
    of: str
    ask: Annotated[tuple[str | bool | int | float, ...], Field(min_length=1)]
    epsilon: float = Field(0.005, gt=0, lt=1)
    delta: float = Field(0.01, gt=0, lt=1)
    weight: str | None = None
    answer_options: ClassVar[frozenset[str]] = frozenset({"ask"})

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the counter of the column's items."""
        type_ = check_item_columns("frequency", columns, self.of, self.weight)
        for item in self.ask:
            wrong_bool = isinstance(item, bool) and type_ != "bool"
            if wrong_bool or not isinstance(item, _JSON_TYPES[type_]):
                raise ValueError(f"ask: {item!r} is not a {type_}, but column {self.of!r} is")
        ask = [item + 0.0 for item in self.ask] if type_ == "double" else self.ask  # -0.0 is 0.0
        return FrequencyAggregator(self, pl.Series(ask, dtype=_DTYPES[type_], strict=False), type_)

    def checks(self) -> tuple[str, ...]:
        """Refuse negative weights."""
        return weight_checks(self.weight)


class FrequencyAggregator(Aggregator):
    """A partial is a Count-Min sketch, written sparse while few of its counters are used."""

    def __init__(self, options: Frequency, asked: pl.Series, type_: str) -> None:
        """Take the options, the asked items in the column's type, and that type."""
        self._options, self._asked, self._type = options, asked, type_
        self._asked_hashes = hashes_of(asked)
        self._epsilon = Fraction(str(options.epsilon))
        self._shape = CountMin.suggest(options.epsilon, options.delta)

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Sketch the items of each group."""
        column, owners, items, weights = weighted_items(batch, groups, self._options.of, self._options.weight)
        hashes = column.distinct_hashes[items]
        ends = np.searchsorted(owners, np.arange(groups.count), side="right").tolist()
        partials = []
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            sketch = CountMin(*self._shape)
            sketch.update_many(hashes[start:end], weights[start:end])
            partials.append(sketch.serialize())
        return partials

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Add the counters."""
        sketch, *others = map(CountMin.deserialize, partials)
        for other in others:
            sketch.merge(other)
        return sketch.serialize()

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return one entry an asked item, in the order asked."""
        sketch = CountMin.deserialize(partial)
        counts = sketch.estimate_many(self._asked_hashes).tolist()
        margin = sketch.total_weight * self._epsilon.numerator // self._epsilon.denominator
        items = [
            {"item": item, "count": count, "lower": max(0, count - margin), "upper": count}
            for item, count in zip(self._asked.to_list(), counts, strict=True)
        ]
        return {"items": items, "confidence": 1 - self._options.delta}

    def sketch(self, partial: bytes) -> bytes:
        """Return the Count-Min sketch in the format of `sketches.count_min`."""
        return partial

    def columns(self) -> AnswerColumns:
        """Return those of an item."""
        return item_columns(item_type(self._type))

    def rows(self, answer: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
        """Return a row an asked item."""
        return answer["items"]
