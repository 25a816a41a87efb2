"""`top_k`: the heavy hitters, the items of the greatest weight, with bounds that always hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
from pydantic import Field

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.metrics.items import (
    check_item_columns,
    item_of,
    item_type,
    text_of,
    weight_checks,
    weighted_items,
)
from operators.metrics.kind import Aggregator, AnswerColumns, Fields, Kind, item_columns
from sketches.top_k import TopK


class TopItems(Kind):
    """Options of `top_k`.

    `of` is a column of any type, `k` how many items to report, `weight` a long column, at least 0. The sketch
    keeps up to `3/4 * 2**lg_max_map_size` items; counts are exact while no more occur.
    """

    kind: Literal["top_k"]
    of: str
    k: int = Field(10, ge=1, le=1000)
    weight: str | None = None
    lg_max_map_size: int = Field(12, ge=5, le=20)
    answer_options: ClassVar[frozenset[str]] = frozenset({"k"})

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the aggregator of the column's items."""
        type_ = check_item_columns("top_k", columns, self.of, self.weight)
        return TopKAggregator(self, type_)

    def checks(self) -> tuple[str, ...]:
        """Refuse negative weights."""
        return weight_checks(self.weight)


class TopKAggregator(Aggregator):
    """A partial is a heavy-hitters sketch of the items as text."""

    def __init__(self, options: TopItems, type_: str) -> None:
        """Take the options and the column's type."""
        self._options, self._type = options, type_

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Sketch the items of each group."""
        column, owners, items, weights = weighted_items(batch, groups, self._options.of, self._options.weight)
        texts = np.array(text_of(column.distinct), dtype=object)
        ends = np.searchsorted(owners, np.arange(groups.count), side="right").tolist()
        partials = []
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            own = texts[items[start:end]].tolist()
            partials.append(TopK.image_of(own, weights[start:end], self._options.lg_max_map_size))
        return partials

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Return the merged sketch."""
        sketch, *others = map(TopK.deserialize, partials)
        for other in others:
            sketch.merge(other)
        return sketch.serialize()

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return the `k` items of the highest count, ties by item."""
        top = TopK.deserialize(partial).top(self._options.k, order=self._item)
        items = [
            {"item": self._item(text), "count": count, "lower": lower, "upper": upper}
            for text, count, lower, upper in top
        ]
        return {"items": items, "confidence": 1.0}

    def sketch(self, partial: bytes) -> bytes | None:
        """Return the frequent-items sketch of strings in the format of Apache DataSketches.

        None where the total weight is beyond the 63 bits of that format.
        """
        return TopK.deserialize(partial).datasketches_image()

    def columns(self) -> AnswerColumns:
        """Return those of an item."""
        return item_columns(item_type(self._type))

    def rows(self, answer: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
        """Return a row an item."""
        return answer["items"]

    def _item(self, text: str) -> object:
        """Return an item in its type, by which items of the same count go."""
        return item_of(text, self._type)
