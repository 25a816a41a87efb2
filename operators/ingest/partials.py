"""From a batch of events to records for the window operator: one metric's partials by shard and slice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from zlib import crc32

import numpy as np

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups, key_codes, pair_codes, slice_codes
from operators.metric import Metric
from operators.records import LateCandidate, LocalSession, SessionRecord, SliceRecord, encode, shard_key
from operators.windows.slices import SessionWindow
from state.clock_state import MIN_TIME_MS
from state.packed import Entry, pack

Raw = Callable[[int], bytes]


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
        metric, events = self._metric, None
        rows = None if metric.condition is None else np.flatnonzero(batch.mask(metric.condition))
        if metric.exploded is not None:
            counts = np.ones(len(batch), bool) if metric.condition is None else batch.mask(metric.condition)
            batch, events = batch.exploded(metric.exploded)
            rows = np.flatnonzero(counts[events])
        if not len(batch) or (rows is not None and not len(rows)):
            return
        late = _LateEvents(batch, rows, events, late_before_ms, raw)
        selected = _Selected(batch, rows, *key_codes(batch, metric.by, rows), late, origin)
        if metric.grid is not None:
            yield from self._slices(selected)
        for window, stream in self._sessions:
            yield from self._local_sessions(selected, window, stream)

    def _slices(self, selected: _Selected) -> Iterator[tuple[str, bytes]]:
        metric, keys, late = self._metric, selected.keys, selected.late
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
        for (slice_number, shard), entries in packed.items():
            end = int(slice_ends[slice_number])
            candidates = None
            if metric.late_sessions is None and metric.grid.last_needed_ms(end) <= late.before_ms:
                of_group = {group: keys[int(key_numbers[group])] for group in members[slice_number, shard]}
                candidates = late.candidates(ids, of_group)
            origin = b"" if candidates is not None else selected.origin
            record = SliceRecord(end, pack(entries), candidates, origin)
            yield shard_key(metric.name, shard), encode(record)

    def _local_sessions(
        self, selected: _Selected, window: SessionWindow, stream: str
    ) -> Iterator[tuple[str, bytes]]:
        metric, times, late = self._metric, selected.times, selected.late
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


@dataclass(frozen=True)
class _Selected:
    """The events of a batch that count for a metric, and the keys they have.

    `rows` are the events, None for all; `codes` the number of each one's key in `keys`, None where there is
    one key only; `origin` says where the batch comes from.
    """

    batch: EventBatch
    rows: np.ndarray | None
    codes: np.ndarray | None
    keys: list[bytes]
    late: _LateEvents
    origin: bytes

    @property
    def times(self) -> np.ndarray:
        """Event time of each of them."""
        return self.batch.time_ms if self.rows is None else self.batch.time_ms[self.rows]

    def groups(self, count: int, ids: np.ndarray | None) -> Groups:
        """Return them in groups of these numbers."""
        return Groups(count, self.rows, ids, len(self.batch))


class _LateEvents:
    """The events of one metric that may be late, taken out of a batch only where they are asked for."""

    def __init__(
        self, batch: EventBatch, rows: np.ndarray | None, events: np.ndarray | None, before_ms: int, raw: Raw
    ) -> None:
        self.before_ms = before_ms
        self._batch, self._raw = batch, raw
        self._rows = np.arange(len(batch)) if rows is None else rows
        self._events = events
        self._sent: set[int] = set()
        self._ids: np.ndarray | None = None
        self._order = self._bounds = np.empty(0, np.int64)

    def candidates(self, ids: np.ndarray | None, keys: dict[int, bytes]) -> list[LateCandidate]:
        """Return the events of these groups; an event with several keys comes once."""
        found = []
        for group, key in keys.items():
            for row in self._rows_of(ids, group):
                event = row if self._events is None else int(self._events[row])
                if self._events is None or event not in self._sent:
                    self._sent.add(event)
                    found.append(LateCandidate(key, int(self._batch.time_ms[row]), self._raw(event)))
        return found

    def _rows_of(self, ids: np.ndarray | None, group: int) -> list[int]:
        if ids is None:
            return self._rows.tolist()
        if self._ids is not ids:
            self._ids, self._order = ids, np.argsort(ids, kind="stable")
            self._bounds = np.append(0, np.cumsum(np.bincount(ids)))
        return self._rows[self._order[self._bounds[group] : self._bounds[group + 1]]].tolist()


def session_stream(metric: Metric, window: SessionWindow) -> str:
    """Return the name of the stream of a metric's sessions of one gap."""
    return f"{metric.name}@{window.gap_ms}"


def shard_of(key: bytes, shards: int) -> int:
    """Return the shard of a key, the same on every machine."""
    return crc32(key) % shards
