"""From a batch of events to records for enriching: the events themselves, in columns, by shard of user."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise

import numpy as np
import polars as pl

from operators.batch.event_batch import Column, EventBatch, event_codes
from operators.enrich.enrich_spec import EnrichSpec
from operators.first_seen.seen_shards import shards_of
from operators.records import EnrichRecord, encode
from operators.shard_keys import shard_key

STREAM = "@enrich"


class EnrichRecords:
    """Makes the records of the `enrich` section.

    Args:
        spec: the section.
        columns: the type of every column.
    """

    def __init__(self, spec: EnrichSpec, columns: Mapping[str, str]) -> None:
        """Compile the condition."""
        self._spec, self._condition = spec, spec.condition(columns)

    def records(self, batch: EventBatch) -> Iterator[tuple[str, bytes]]:
        """Yield the shard key and the encoded record of all events that are to be enriched.

        Events keep their order within a shard; those without a user are in the first.
        """
        users = batch.column(self._spec.user)
        codes = event_codes(users, len(batch))
        rows = None
        if self._condition is not None:
            rows = np.flatnonzero(batch.mask(self._condition))
            codes = codes[rows]
        # The last shard number is that of code -1: no user.
        shard_of_code = np.append(shards_of(users.distinct_hashes, self._spec), 0)
        shards = shard_of_code[codes]
        order = np.argsort(shards, kind="stable")
        bounds = np.searchsorted(shards[order], np.arange(self._spec.value_shards + 1)).tolist()
        for shard, (start, end) in enumerate(pairwise(bounds)):
            if start < end:
                which = order[start:end] if rows is None else rows[order[start:end]]
                yield shard_key(STREAM, shard), encode(self._record(batch, which))

    def _record(self, batch: EventBatch, rows: np.ndarray) -> EnrichRecord:
        events = batch.frame[rows]
        users = batch.column(self._spec.user)
        users_present, owners = np.unique(event_codes(users, len(batch))[rows], return_inverse=True)
        without = int(len(users_present) > 0 and users_present[0] < 0)
        hashes = users.distinct_hashes[users_present[without:]]
        actions, of_action, values = [], b"", b""
        if self._spec.action is not None:
            action = Column(events[self._spec.action])
            actions = action.distinct.to_list()
            of_action = event_codes(action, len(rows)).astype("<i4").tobytes()
        if self._spec.value is not None:
            given = events[self._spec.value].cast(pl.Float64).fill_null(0.0)
            values = given.to_numpy().astype("<f8").tobytes()
        return EnrichRecord(
            # Read by the same job within seconds, and never kept: no format for later.
            events.write_ipc_stream(None).getvalue(),
            hashes.astype("<u8").tobytes(),
            (owners - without).astype("<i4").tobytes(),
            batch.time_ms[rows].astype("<i8").tobytes(),
            actions,
            of_action,
            values,
        )


def is_enrich_stream(stream: str) -> bool:
    """Return whether a stream is that of events to be enriched."""
    return stream == STREAM
