"""From a batch of events to records for the window operator: one metric's partials by shard and slice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from operator import itemgetter
from zlib import crc32

import numpy as np

from operators.batch.event_batch import EventBatch
from operators.batch.groups import pair_codes, slice_codes
from operators.ingest.selected import Raw, Selected, select
from operators.metric import Metric
from operators.records import LocalSession, SessionRecord, SliceRecord, encode
from operators.shard_keys import shard_key
from operators.windows.slices import SessionWindow
from state.clock_state import MIN_TIME_MS
from state.packed import Entry, pack


class MetricPartials:
    """Makes the records of one metric.

    Args:
        metric: the metric.
    """

    def __init__(self, metric: Metric) -> None:
        """Name the streams that the records go to."""
        self._metric = metric
        self._sessions = [(window, session_stream(metric, window)) for window in metric.sessions]

    def records(
        self, batch: EventBatch, late_before_ms: int, raw: Raw, origin: bytes
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the shard key and the encoded record of all partials of a batch.

        Args:
            batch: accepted events.
            late_before_ms: the highest watermark that the window operator may have.
            raw: gives the payload and position of an event of the batch, a JSON object.
            origin: where the batch comes from, a JSON object.
        """
        metric = self._metric
        selected = select(metric, batch, late_before_ms, raw, origin)
        if selected is None:
            return
        if metric.grid is not None:
            yield from slice_records(metric, selected)
        for window, stream in self._sessions:
            yield from session_records(metric, selected, window, stream)


def slice_records(metric: Metric, selected: Selected) -> Iterator[tuple[str, bytes]]:
    """Yield the shard key and the encoded record of the slices that some events of a batch are in."""
    keys, late = selected.keys, selected.late
    slices, slice_ends = slice_codes(selected.times, metric.grid.slice_ms)
    ids, key_numbers, slice_numbers = pair_codes(selected.codes, len(keys), slices, len(slice_ends))
    groups = selected.groups(len(key_numbers), ids)
    partials = metric.aggregator.partials(selected.batch, groups)
    packed: dict[tuple[int, int], dict[bytes, Entry]] = defaultdict(dict)
    members: dict[tuple[int, int], list[int]] = defaultdict(list)
    for group, (key_number, slice_number, events) in enumerate(
        zip(key_numbers.tolist(), slice_numbers.tolist(), groups.events.tolist(), strict=True)
    ):
        key = keys[key_number]
        place = (slice_number, shard_of(key, metric.shards))
        packed[place][key] = Entry(events, partials[group])
        members[place].append(group)
    # The oldest slices first: a window that a later one answers again looks back on them.
    for (slice_number, shard), entries in sorted(packed.items(), key=itemgetter(0)):
        end = int(slice_ends[slice_number])
        candidates = None
        if metric.late_sessions is None and metric.grid.last_taken_ms(end) <= late.before_ms:
            of_group = {group: keys[int(key_numbers[group])] for group in members[slice_number, shard]}
            candidates = late.candidates(ids, of_group)
        origin = b"" if candidates is not None else selected.origin
        record = SliceRecord(end, pack(entries), candidates, origin)
        yield shard_key(metric.name, shard), encode(record)


def session_records(
    metric: Metric, selected: Selected, window: SessionWindow, stream: str
) -> Iterator[tuple[str, bytes]]:
    """Yield the shard key and the encoded record of the local sessions that some events of a batch make.

    Args:
        metric: says how keys are spread and aggregated, and how late events may come.
        selected: the events.
        window: says which of them are together.
        stream: where the records go.
    """
    times, late = selected.times, selected.late
    of_key = np.zeros(len(times), np.int64) if selected.codes is None else selected.codes
    order = np.lexsort((times, of_key))
    ordered_keys, ordered_times = of_key[order], times[order]
    begins = np.ones(len(order), bool)
    begins[1:] = (np.diff(ordered_keys) != 0) | (np.diff(ordered_times) > window.gap_ms)
    # Events that may be late by themselves come by themselves, for the operator to decide on each.
    closed_before_ms = late.before_ms - window.gap_ms + 1 - metric.allowed_lateness_ms
    alone = ordered_times <= max(closed_before_ms, MIN_TIME_MS)
    begins |= alone
    begins[1:] |= alone[:-1]
    starts = np.flatnonzero(begins)
    ids = np.empty(len(order), np.int64)
    ids[order] = np.cumsum(begins) - 1
    groups = selected.groups(len(starts), ids)
    lasts = ordered_times[np.append(starts[1:], len(order)) - 1].tolist()
    partials = metric.aggregator.partials(selected.batch, groups)
    by_shard: dict[int, list[LocalSession]] = defaultdict(list)
    firsts, events_of = ordered_times[starts].tolist(), groups.events.tolist()
    described = zip(ordered_keys[starts].tolist(), firsts, lasts, events_of, strict=True)
    for number, (key_number, first_ms, last_ms, events) in enumerate(described):
        key = selected.keys[key_number]
        candidates = None
        closed_ms = last_ms + window.gap_ms - 1 + metric.allowed_lateness_ms
        if window == metric.late_sessions and closed_ms <= late.before_ms:
            candidates = late.candidates(ids, {number: key})
        by_shard[shard_of(key, metric.shards)].append(
            LocalSession(key, first_ms, last_ms, events, partials[number], candidates)
        )
    for shard, sessions in by_shard.items():
        foreseen = all(session.candidates is not None for session in sessions)
        yield (
            shard_key(stream, shard),
            encode(SessionRecord(sessions, b"" if foreseen else selected.origin)),
        )


def session_stream(metric: Metric, window: SessionWindow) -> str:
    """Return the name of the stream of a metric's sessions of one gap."""
    return f"{metric.name}@{window.gap_ms}"


def shard_of(key: bytes, shards: int) -> int:
    """Return the shard of a key, the same on every machine."""
    return crc32(key) % shards
