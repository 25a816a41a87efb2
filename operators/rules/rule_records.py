"""From a batch of events to records for the operator of rules: the events that rules see, by shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from math import isfinite

import numpy as np
import polars as pl

from operators.batch.event_batch import EventBatch, event_codes
from operators.expressions import Expression
from operators.records import RuleRecord, encode
from operators.rules.resolved import Features
from operators.shard_keys import shard_key

STREAM = "@rules"
Position = Callable[[int], bytes]


class RuleRecords:
    """Makes the records of the `features` section.

    Args:
        features: the section, checked.
        answered: which events are to be answered; None for all.
    """

    def __init__(self, features: Features, answered: Expression | None) -> None:
        """Take the section."""
        self._features = features
        # The conditions of features and of answers do not change while a job runs, those of rules do: so
        # these are evaluated here, once a batch.
        self._conditions = [one.condition for one in features.columns if one.condition is not None]
        self._answered = answered

    def records(self, batch: EventBatch, position: Position) -> Iterator[tuple[str, bytes]]:
        """Yield the shard key and the encoded record of all events that rules see.

        Events keep their order within a shard. Those without an entity are left out.

        Args:
            batch: accepted events.
            position: gives where an event of the batch is from, a JSON object.
        """
        features, shards = self._features, self._features.spec.shards
        entities = batch.column(features.spec.of)
        codes = event_codes(entities, len(batch))
        seen = codes >= 0
        if features.condition is not None:
            seen = seen & batch.mask(features.condition)
        rows = np.flatnonzero(seen)
        if not len(rows):
            return
        shard_of_code = (entities.distinct_hashes[:, 1] % np.uint64(shards)).astype(np.int64)
        own = shard_of_code[codes[rows]]
        order = np.argsort(own, kind="stable")
        rows = rows[order]
        bounds = np.searchsorted(own[order], np.arange(shards + 1)).tolist()
        # Lists are made once, of all events, and cut by shard. Polars would gather by threads, at whose hands
        # a batch of few events loses more time than all else takes.
        numbers, names = rows.tolist(), entities.distinct.to_list()
        columns = [list(map(_values(batch.frame[name]).__getitem__, numbers)) for name in features.events]
        masks = [batch.mask(condition)[rows].astype(np.uint8) for condition in self._conditions]
        answers = None if self._answered is None else batch.mask(self._answered)[rows].astype(np.uint8)
        codes, times = codes[rows], batch.time_ms[rows]
        for shard, (start, end) in enumerate(pairwise(bounds)):
            if start == end:
                continue
            present, owners = np.unique(codes[start:end], return_inverse=True)
            record = RuleRecord(
                [values[start:end] for values in columns],
                [names[code] for code in present.tolist()],
                owners.astype("<i4").tobytes(),
                times[start:end].astype("<i8").tobytes(),
                [mask[start:end].tobytes() for mask in masks],
                bytes([1]) * (end - start) if answers is None else answers[start:end].tobytes(),
                [position(row) for row in numbers[start:end]],
            )
            yield shard_key(STREAM, shard), encode(record)


def is_rules_stream(stream: str) -> bool:
    """Return whether a stream is that of events for rules."""
    return stream == STREAM


def _values(series: pl.Series) -> list[str | int | float | bool | None]:
    """Return the values of a column; null where a double is no number or infinite, as in all of ingest."""
    # The sum tells whether there is such a one in a fraction of the time that looking at each takes.
    if series.dtype == pl.Float64 and not isfinite(series.sum()):
        series = series.set(~series.is_finite(), None)
    return series.to_list()
