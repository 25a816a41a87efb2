"""Gathering the events of entities: the logic of one metric, without an engine.

The runner sees the watermark as late as the metric allows events to be late (see `operators.windows.delay`).
What is closed goes to the windows, in the slice of its time, and behind it the news of how far this shard is.
What a shard did last, its *horizon*, is state: after a restart, when the engine's watermark starts anew from
the minimum, an event is late if a window could not take it any more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from operators.ingest.partials import shard_of
from operators.metric import Metric
from operators.records import (
    Beat,
    LateCandidate,
    LocalSession,
    SessionRecord,
    SliceRecord,
    encode,
)
from operators.shard_keys import shard_key
from operators.windows.results import Late, ResultWriter
from operators.windows.runner import Clock, Held, Timers
from operators.windows.stage_news import StageNews
from state.bucket_state import NEVER_MS, bucket_of
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ClockState
from state.gather_state import GatherState
from state.packed import Entry, pack

Outputs = Iterator[tuple[str, bytes] | Late]
_NO_ORIGIN = b"{}"


class GatherRunner:
    """Gathers the events of one metric.

    Args:
        metric: the metric; it has `gather`.
        writer: makes its late events.
        state: the entities of the current shard.
        clock_state: what the current shard remembers of time.
        timers: the timers of the current shard.
        current: gives the key of the current shard.
    """

    def __init__(
        self,
        metric: Metric,
        writer: ResultWriter,
        state: GatherState,
        clock_state: ClockState,
        timers: Timers,
        current: Callable[[], str],
    ) -> None:
        """Keep the parts; nothing is read yet."""
        self._current = current
        self._metric, self._gather, self._writer = metric, metric.gather, writer
        self._state, self._clock, self._timers = state, clock_state, timers
        self._news = StageNews(metric)

    def on_record(self, record: SessionRecord | Beat, clock: Clock) -> Outputs:
        """Add events to what is held of their entities, or call them late."""
        horizon = self._clock.horizon()
        watermark_ms = self._clock.watermark(clock.watermark_ms)
        due = self._state.due()
        if isinstance(record, SessionRecord):
            by_bucket: dict[int, list[LocalSession]] = defaultdict(list)
            for local in record.sessions:
                by_bucket[bucket_of(local.key)].append(local)
            for bucket, locals_ in by_bucket.items():
                held = self._state.read(bucket)
                for local in locals_:
                    yield from self._take(held, local, record.origin, watermark_ms)
                self._state.write(bucket, held)
                due[bucket] = self._next_due(held)
            self._state.set_due(due)
        if horizon == MIN_TIME_MS < self._clock.horizon():  # windows wait for the word of every shard
            yield from self._news.records(self._current(), watermark_ms)
        self._schedule(due, watermark_ms)

    def on_event_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Close what nothing more can belong to and send it to the windows."""
        watermark_ms = max(time_ms, clock.watermark_ms)
        yield from self._advance(watermark_ms)
        self._schedule(self._state.due(), watermark_ms)

    def on_processing_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Do nothing: gathering follows event time alone."""
        return iter(())

    def held(self) -> Held:
        """Return how many entities the current shard holds, and its bytes."""
        count, state_bytes = 0, self._clock.held() + self._state.index_held()
        for bucket in np.flatnonzero(self._state.due() < NEVER_MS).tolist():
            entities, bucket_bytes = self._state.held(bucket)
            count += len(entities)
            state_bytes += bucket_bytes
        return Held(count, state_bytes)

    def _take(
        self, held: dict[bytes, Entry], local: LocalSession, origin: bytes, watermark_ms: int
    ) -> Iterator[Late]:
        before = held.get(local.key, Entry(0, b""))
        data, late = self._gather.take(before.partial, local, watermark_ms)
        if data:
            held[local.key] = Entry(before.events + local.events - late, data)
        if not late:
            return
        key, _ = _apart(local.key)
        candidates = local.candidates
        if candidates is not None:
            candidates = [LateCandidate(key, c.event_time_ms, c.event) for c in candidates]
        as_windows_see_it_ms = watermark_ms - self._gather.span_ms
        yield from self._writer.late(candidates, {key: late}, origin, as_windows_see_it_ms)

    def _advance(self, to_ms: int) -> Outputs:
        """Close all that is due up to `to_ms`."""
        horizon = self._clock.horizon()
        if to_ms <= horizon:
            return
        due, grid = self._state.due(), self._metric.grid
        events: dict[tuple[int, bytes], int] = defaultdict(int)
        outcomes: dict[tuple[int, bytes], list[tuple[object, object]]] = defaultdict(list)
        for bucket in np.flatnonzero(due <= min(to_ms, NEVER_MS - 1)).tolist():
            held = self._state.read(bucket)
            for entity, entry in list(held.items()):
                if self._gather.due_ms(entry.partial) > to_ms:
                    continue
                rest, closed = self._gather.close(entry.partial, to_ms)
                key, value = _apart(entity)
                for one in closed:
                    pane = grid.slice_end(one.time_ms), key
                    events[pane] += one.events
                    if one.outcome is not None:
                        outcomes[pane].append((value, one.outcome))
                left = entry.events - sum(one.events for one in closed)
                if rest:
                    held[entity] = Entry(left, rest)
                else:
                    del held[entity]
            self._state.write(bucket, held)
            due[bucket] = self._next_due(held)
        self._state.set_due(due)
        yield from self._records(events, outcomes)
        if to_ms >= self._news.next_ms(horizon):
            yield from self._news.records(self._current(), to_ms)
        if to_ms == END_OF_TIME_MS:  # the input's end is no time: a job that goes on later has more
            ends = [end - 1 + self._gather.span_ms for end, _ in events]
            to_ms = max([horizon, *ends])
        self._clock.set_horizon(to_ms)

    def _records(
        self,
        events: dict[tuple[int, bytes], int],
        outcomes: dict[tuple[int, bytes], list[tuple[object, object]]],
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the records for the windows, one a slice and shard, in the order of time."""
        metric = self._metric
        by_place: dict[tuple[int, int], dict[bytes, Entry]] = defaultdict(dict)
        for (slice_end, key), count in events.items():
            partial = metric.aggregator.partial(outcomes.get((slice_end, key), ()))
            by_place[slice_end, shard_of(key, metric.shards)][key] = Entry(count, partial)
        for (slice_end, shard), entries in sorted(by_place.items(), key=lambda pair: pair[0]):
            record = SliceRecord(slice_end, pack(entries), None, _NO_ORIGIN)
            yield shard_key(metric.name, shard), encode(record)

    def _next_due(self, held: dict[bytes, Entry]) -> int:
        return min((self._gather.due_ms(entry.partial) for entry in held.values()), default=NEVER_MS)

    def _schedule(self, due: np.ndarray, watermark_ms: int) -> None:
        """Ask for the next time something is due, and for when windows wait for news even if nothing is."""
        for time_ms in (int(due.min()), self._news.next_ms(watermark_ms)):
            if time_ms < END_OF_TIME_MS:
                self._timers.at_event_time(time_ms)


def _apart(entity: bytes) -> tuple[bytes, object]:
    """Return the metric's key, a canonical JSON array, and the value of an entity."""
    *key, value = msgspec.json.decode(entity)
    return msgspec.json.encode(key), value
