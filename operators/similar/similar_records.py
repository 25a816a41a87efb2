"""From a batch of events to records for the operator of similar items: one entry's events by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from operators.batch.event_batch import Column, EventBatch, event_codes
from operators.records import SimilarRecord, encode
from operators.shard_keys import shard_key
from operators.similar.answerer import Answerer, shards_of

Position = Callable[[int], bytes]


class SimilarRecords:
    """Makes the records of one entry of `similar`.

    Args:
        answerer: the entry.
    """

    def __init__(self, answerer: Answerer) -> None:
        """Take the entry."""
        self._answerer = answerer

    def records(self, batch: EventBatch, position: Position) -> Iterator[tuple[str, bytes]]:
        """Yield the shard key and the encoded record of all events that ask or touch.

        Events keep their order within a shard. One whose query is null neither asks nor touches.

        Args:
            batch: accepted events.
            position: gives where an event of the batch is from, a JSON object.
        """
        spec, condition = self._answerer.spec, self._answerer.condition
        queries = batch.column(spec.query.column)
        codes = event_codes(queries, len(batch))
        asks = codes >= 0
        if condition is not None:
            asks = asks & batch.mask(condition)
        touches = self._touches(batch, codes)
        rows = np.flatnonzero(asks if touches is None else asks | (touches >= 0))
        if not len(rows):
            return
        shards = shards_of(queries.distinct_hashes, spec)[codes[rows]]
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(spec.shards + 1)).tolist()
        for shard, (start, end) in enumerate(pairwise(bounds)):
            if start < end:
                own = rows[order[start:end]]
                record = self._record(batch, own, codes[own], asks[own], touches, position)
                yield shard_key(self._answerer.stream, shard), encode(record)

    def _touches(self, batch: EventBatch, codes: np.ndarray) -> np.ndarray | None:
        """Return the number of the item that each event touches, -1 where none; None where none counts."""
        profile = self._answerer.spec.profile
        if profile is None:
            return None
        touches = event_codes(batch.column(profile.touched), len(batch))
        counts = codes >= 0
        if self._answerer.touch_condition is not None:
            counts = counts & batch.mask(self._answerer.touch_condition)
        return np.where(counts, touches, -1)

    def _record(
        self,
        batch: EventBatch,
        rows: np.ndarray,
        codes: np.ndarray,
        asks: np.ndarray,
        touches: np.ndarray | None,
        position: Position,
    ) -> SimilarRecord:
        spec = self._answerer.spec
        values, owners = _renumbered(batch.column(spec.query.column), codes)
        items, touched = [], b""
        if touches is not None:
            own = touches[rows]
            items, numbers = _renumbered(batch.column(spec.profile.touched), own[own >= 0])
            own[own >= 0] = numbers
            touched = own.astype("<i4").tobytes()
        return SimilarRecord(
            values,
            owners.astype("<u4").tobytes(),
            asks.astype(np.uint8).tobytes(),
            items,
            touched,
            batch.time_ms[rows].astype("<i8").tobytes(),
            [position(row) for row in rows[asks].tolist()],
        )


def _renumbered(column: Column, codes: np.ndarray) -> tuple[list[str | int], np.ndarray]:
    """Return the values that occur, and the number of each code among them."""
    present, numbers = np.unique(codes, return_inverse=True)
    return column.distinct[present].to_list(), numbers
