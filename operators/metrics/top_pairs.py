"""`top_pairs`: which two items are most often in the same order, with bounds that always hold."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, ClassVar, Literal

import msgspec
import numpy as np
from pydantic import Field

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.durations import DurationMs
from operators.gather.gathering import Gathering
from operators.gather.orders import Orders, read_items
from operators.metrics.items import ITEM_TYPES
from operators.metrics.kind import Aggregator, AnswerColumns, Fields, Kind, item_columns, typed_column
from sketches.errors import BadData
from sketches.top_k import TopK

_HEAD = struct.Struct("<Bqq")
_VERSION = 1


class TopPairs(Kind):
    """Options of `top_pairs`.

    All events of one value of `within`, none more than `gap` from the next, are an order; `of` is the column
    of its items, of any type. Each two different items of an order are a pair, counted once in the window of
    its last event, `gap` later. An order of more than `max_items` different items makes no pairs. `k` is how
    many pairs to report; the sketch keeps up to `3/4 * 2**lg_max_map_size` of them, and counts are exact
    while no more occur. Orders are spread over `entity_shards`; never change it for a job that goes on from a
    checkpoint.
    """

    kind: Literal["top_pairs"]
    of: str
    within: str
    gap: Annotated[DurationMs, Field(gt=0)] = Field("30m", validate_default=True)
    max_items: int = Field(50, ge=2, le=500)
    k: int = Field(10, ge=1, le=1000)
    lg_max_map_size: int = Field(15, ge=5, le=20)
    entity_shards: int = Field(8, ge=1, le=1024)
    takes_sessions: ClassVar[bool] = False
    takes_lists: ClassVar[bool] = False
    answer_options: ClassVar[frozenset[str]] = frozenset({"k"})

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the counter of pairs."""
        typed_column("top_pairs", columns, self.of, ITEM_TYPES)
        return TopPairsAggregator(self.k, self.lg_max_map_size)

    def gathering(self, columns: Mapping[str, str]) -> Gathering:
        """Return what brings the items of an order together."""
        typed_column("top_pairs", columns, self.within, ("string", "long", "double", "bool"), key="within")
        return Orders(self.of, self.within, self.gap, self.max_items, self.entity_shards)


class TopPairsAggregator(Aggregator):
    """A partial is a version byte, how many orders and how many too large ones, and a sketch of pairs.

    The numbers are i64 little-endian; the sketch is one of heavy hitters, where there are pairs. A pair is
    text: its two items as a JSON array, the lesser one first.
    """

    def __init__(self, k: int, lg_max_map_size: int) -> None:
        """Take how many pairs to report and the sketch's size."""
        self._k, self._lg_max_map_size = k, lg_max_map_size

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Return partials without orders: what ingest sends to windows by itself are events of no order."""
        return [_HEAD.pack(_VERSION, 0, 0)] * groups.count

    def partial(self, outcomes: Sequence[tuple[object, bytes]]) -> bytes:
        """Return the partial of closed orders.

        Args:
            outcomes: each order and its items, as `read_items` reads them.
        """
        pairs: Counter[str] = Counter()
        orders = oversized = 0
        for _, data in outcomes:
            items = read_items(data)
            if items is None:
                oversized += 1
            elif items:
                orders += 1
                texts = [msgspec.json.encode(item).decode() for item in items]
                pairs.update([f"[{one},{other}]" for one, other in combinations(texts, 2)])
        sketch = b""
        if pairs:
            counts = np.fromiter(pairs.values(), np.int64, len(pairs))
            sketch = TopK.image_of(list(pairs), counts, self._lg_max_map_size)
        return _HEAD.pack(_VERSION, orders + oversized, oversized) + sketch

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Add the numbers, merge the sketches."""
        orders, oversized, images = zip(*map(_read, partials), strict=True)
        sketches = [TopK.deserialize(image) for image in images if image]
        for other in sketches[1:]:
            sketches[0].merge(other)
        image = sketches[0].serialize() if sketches else b""
        return _HEAD.pack(_VERSION, sum(orders), sum(oversized)) + image

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return the `k` pairs of the highest count, ties by their items, and how many orders there were."""
        orders, oversized, image = _read(partial)
        top = TopK.deserialize(image).top(self._k, order=msgspec.json.decode) if image else []
        items = [
            {"item": msgspec.json.decode(pair), "count": count, "lower": lower, "upper": upper}
            for pair, count, lower, upper in top
        ]
        return {"items": items, "orders": orders, "oversized_orders": oversized, "confidence": 1.0}

    def sketch(self, partial: bytes) -> bytes | None:
        """Return the frequent-items sketch of strings as Apache DataSketches writes it."""
        image = _read(partial)[2]
        sketch = TopK.deserialize(image) if image else TopK(self._lg_max_map_size)
        return sketch.datasketches_image()

    def columns(self) -> AnswerColumns:
        """Return those of a pair, which is a text, and how many orders there were."""
        of_pair = item_columns("string")
        orders = dict.fromkeys(("orders", "oversized_orders"), "long")
        return AnswerColumns(of_pair.types | orders, of_pair.history, of_pair.item)

    def rows(self, answer: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
        """Return a row a pair, which is its two items as a JSON array."""
        orders = {name: answer[name] for name in ("orders", "oversized_orders")}
        return [
            pair | orders | {"item": msgspec.json.encode(pair["item"]).decode()} for pair in answer["items"]
        ]


def _read(partial: bytes) -> tuple[int, int, bytes]:
    """Return orders, too large ones and the sketch's image, empty where there is none.

    Raises:
        BadData: where the bytes are of another version or cut short.
    """
    if len(partial) < _HEAD.size or partial[0] != _VERSION:
        raise BadData(f"expected pairs of version {_VERSION}, got {len(partial)} bytes {partial[:1]!r}")
    _, orders, oversized = _HEAD.unpack_from(partial)
    return orders, oversized, partial[_HEAD.size :]
