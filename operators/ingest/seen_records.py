"""From a batch of events to records for the first-seen operator: one metric's values by shard."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import polars as pl

from operators.batch.event_batch import EventBatch
from operators.batch.groups import pair_codes, slice_codes
from operators.first_seen.seen_shards import shards_of
from operators.ingest.partials import slice_records
from operators.ingest.selected import Raw, Selected, select
from operators.metric import Metric
from operators.records import SeenPane, SeenRecord, encode
from operators.shard_keys import shard_key

_SEEN = "@seen"


class SeenRecords:
    """Makes the records of one metric of kind `first_seen`.

    Args:
        metric: the metric.
        with_values: whether the values themselves are wanted, not only their hashes.
    """

    def __init__(self, metric: Metric, with_values: bool) -> None:
        """Name the stream that the records go to."""
        self._metric, self._with_values, self._stream = metric, with_values, seen_stream(metric)

    def records(
        self, batch: EventBatch, late_before_ms: int, raw: Raw, origin: bytes
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the shard key and the encoded record of all values of a batch.

        Events without a value go to the windows at once.

        Args:
            batch: accepted events.
            late_before_ms: the highest watermark that the window operator may have.
            raw: gives the payload and position of an event of the batch, a JSON object.
            origin: where the batch comes from, a JSON object.
        """
        selected = select(self._metric, batch, late_before_ms, raw, origin)
        if selected is None:
            return
        column = batch.column(self._metric.seen.of)
        codes, hashes = np.full(len(batch), -1, np.int64), column.distinct_hashes
        codes[slice(None) if column.owners is None else column.owners] = column.codes
        if selected.rows is not None:
            codes = codes[selected.rows]
        if column.owners is not None:
            without = np.flatnonzero(codes < 0)
            if len(without):
                yield from slice_records(self._metric, selected.only(without))
            there = np.flatnonzero(codes >= 0)
            selected, codes = selected.only(there), codes[there]
        shards = shards_of(hashes, self._metric.seen)[codes]
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(self._metric.seen.value_shards + 1)).tolist()
        for shard, (start, end) in enumerate(pairwise(bounds)):
            if start < end:
                which = order[start:end]
                record = self._record(selected.only(which), codes[which], column.distinct, hashes)
                yield shard_key(self._stream, shard), encode(record)

    def _record(
        self, selected: Selected, codes: np.ndarray, values: pl.Series, hashes: np.ndarray
    ) -> SeenRecord:
        grid, keys, late = self._metric.grid, selected.keys, selected.late
        times = selected.times
        slices, slice_ends = slice_codes(times, grid.slice_ms)
        ids, key_numbers, slice_numbers = pair_codes(selected.codes, len(keys), slices, len(slice_ends))
        panes = []
        for number, (key_number, slice_number) in enumerate(
            zip(key_numbers.tolist(), slice_numbers.tolist(), strict=True)
        ):
            key, end = keys[key_number], int(slice_ends[slice_number])
            may_be_late = grid.last_taken_ms(end) <= late.before_ms
            panes.append(SeenPane(end, key, late.candidates(ids, {number: key}) if may_be_late else None))
        present, owners = np.unique(codes, return_inverse=True)
        groups = np.zeros(len(codes), np.int64) if ids is None else ids
        return SeenRecord(
            panes,
            hashes[present].astype("<u8").tobytes(),
            values[present].to_list() if self._with_values else None,
            owners.astype("<u4").tobytes(),
            groups.astype("<u4").tobytes(),
            times.astype("<i8").tobytes(),
            selected.origin,
        )


def seen_stream(metric: Metric) -> str:
    """Return the name of the stream of a metric's values."""
    return metric.name + _SEEN


def is_seen_stream(stream: str) -> bool:
    """Return whether a stream is one of values, for the first-seen operator."""
    return stream.endswith(_SEEN)
