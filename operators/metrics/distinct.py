"""`distinct`: how many different values, by HyperLogLog."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.metrics.kind import Aggregator, Fields, Kind, typed_column
from sketches.hll_coupons import coupons, sorted_unique
from sketches.hll_image import image_from_sorted_coupons
from sketches.hll_merge import merge_images
from sketches.hyperloglog import HyperLogLog

NUM_STD_DEV = 2


class Distinct(Kind):
    """Options of `distinct`: `of`, a column of any type, and `lg_k`, the sketch's size (2**lg_k bytes)."""

    kind: Literal["distinct"]
    of: str
    lg_k: int = Field(14, ge=4, le=21)

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the counter of the column's distinct values."""
        typed_column("distinct", columns, self.of, ("string", "long", "double", "bool", "list"))
        return DistinctAggregator(self.of, self.lg_k)


class DistinctAggregator(Aggregator):
    """A partial is a DataSketches HLL_8 image, sparse while it holds few values."""

    def __init__(self, column: str, lg_k: int) -> None:
        """Take the column's name and the sketch's size."""
        self._column, self._lg_k = column, lg_k

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Sketch the values of each group."""
        column = batch.column(self._column)
        ids, which = groups.of(column)
        seen = coupons(column.hashes[which])
        if ids is None:
            return [HyperLogLog.from_coupons(self._lg_k, seen).serialize()]
        tagged = sorted_unique(ids.astype(np.uint64) << np.uint64(32) | seen)
        ends = np.searchsorted(tagged >> np.uint64(32), np.arange(groups.count), side="right").tolist()
        values = (tagged & np.uint64(0xFFFFFFFF)).astype(np.uint32)
        starts = [0, *ends[:-1]]
        return [
            image_from_sorted_coupons(self._lg_k, values[start:end])
            for start, end in zip(starts, ends, strict=True)
        ]

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Return the union's image."""
        return merge_images(*partials)

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return the estimate with bounds two standard errors away."""
        sketch = HyperLogLog.deserialize(partial)
        return {
            "value": sketch.estimate(),
            "lower": sketch.lower_bound(NUM_STD_DEV),
            "upper": sketch.upper_bound(NUM_STD_DEV),
            "confidence": 0.95,
        }

    def sketch(self, partial: bytes) -> bytes:
        """Return the HLL_8 image, which Druid, Spark, PostgreSQL and BigQuery read."""
        return partial
