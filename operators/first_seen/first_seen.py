"""Which events are the first of their value: the logic of one metric, without an engine.

What an event is told by is its own time, so the same input gives the same answers however fast it is read.
Behind what a shard sent to the windows it tells them how far it is. What it told last is not state: one that
starts anew tells it again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec
import numpy as np

from operators.first_seen.seen_shards import SeenShards
from operators.ingest.partials import shard_of
from operators.metric import Metric
from operators.records import (
    Beat,
    LateCandidate,
    SeenPane,
    SeenRecord,
    SliceRecord,
    encode,
)
from operators.shard_keys import shard_key
from operators.windows.runner import Timers
from operators.windows.stage_news import StageNews
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS
from state.packed import Entry, pack

_encode_json = msgspec.json.encode


class FirstSeenEvent(msgspec.Struct):
    """The first event of a value, as JSON."""

    text: bytes


class FirstSeenRunner:
    """Tells the first events of values and adds up what windows count.

    Args:
        metric: the metric; it has `seen`.
        shards: what its values are remembered in.
        timers: the timers of the shard at hand.
    """

    def __init__(self, metric: Metric, shards: SeenShards, timers: Timers) -> None:
        """Keep the parts; nothing is read yet."""
        self._metric, self._shards, self._timers = metric, shards, timers
        self._news, self._next_news_ms = StageNews(metric), {}

    def on_record(
        self, shard: str, record: SeenRecord | Beat, watermark_ms: int
    ) -> Iterator[tuple[str, bytes] | FirstSeenEvent]:
        """Yield the records for the windows, and the first event of each new value.

        Args:
            shard: names the shard at hand.
            record: the events, or a beat.
            watermark_ms: the engine's watermark; the least int64 before there is one.
        """
        if isinstance(record, SeenRecord):
            yield from self._events(shard, record, watermark_ms)
        yield from self.on_event_time(shard, watermark_ms)

    def on_event_time(self, shard: str, watermark_ms: int) -> Iterator[tuple[str, bytes]]:
        """Tell the windows how far the shard at hand is, where they wait for it.

        Args:
            shard: names the shard at hand.
            watermark_ms: the engine's watermark.
        """
        next_ms = self._next_news_ms.get(shard, self._news.next_ms(MIN_TIME_MS))
        if watermark_ms >= next_ms:
            yield from self._news.records(shard, watermark_ms)
            next_ms = self._next_news_ms[shard] = self._news.next_ms(watermark_ms)
        if next_ms < END_OF_TIME_MS:
            self._timers.at_event_time(next_ms)

    def _events(
        self, shard: str, record: SeenRecord, watermark_ms: int
    ) -> Iterator[tuple[str, bytes] | FirstSeenEvent]:
        owners = np.frombuffer(record.owners, "<u4").astype(np.int64)
        groups = np.frombuffer(record.groups, "<u4").astype(np.int64)
        times = np.frombuffer(record.times, "<i8")
        hashes = np.frombuffer(record.hashes, "<u8").reshape(-1, 2).astype(np.uint64)
        first = self._shards.first_events(shard, hashes, owners, times)
        self._shards.forget(shard, watermark_ms)
        yield from self._slices(record, groups, first)
        if record.values is not None:
            for event in np.flatnonzero(first).tolist():
                key = record.panes[groups[event]].key
                yield self._told(record.values[owners[event]], key, int(times[event]))

    def _slices(
        self, record: SeenRecord, groups: np.ndarray, first: np.ndarray
    ) -> Iterator[tuple[str, bytes]]:
        metric, count = self._metric, len(record.panes)
        events = np.bincount(groups, minlength=count).tolist()
        new = np.bincount(groups[first], minlength=count).tolist()
        by_place: dict[tuple[int, int], list[int]] = defaultdict(list)
        for number, pane in enumerate(record.panes):
            by_place[pane.slice_end_ms, shard_of(pane.key, metric.shards)].append(number)
        for (slice_end_ms, shard), numbers in by_place.items():
            panes = [record.panes[number] for number in numbers]
            entries = {
                pane.key: Entry(events[n], metric.aggregator.partial(new[n], events[n] - new[n]))
                for n, pane in zip(numbers, panes, strict=True)
            }
            candidates = _candidates(panes)
            origin = b"" if candidates is not None else record.origin
            yield (
                shard_key(metric.name, shard),
                encode(SliceRecord(slice_end_ms, pack(entries), candidates, origin)),
            )

    def _told(self, value: object, key: bytes, time_ms: int) -> FirstSeenEvent:
        named = dict(zip(self._metric.by, msgspec.json.decode(key), strict=True))
        told = {"metric": self._metric.name, "value": value, "key": named, "event_time_ms": time_ms}
        return FirstSeenEvent(_encode_json(told))


def _candidates(panes: list[SeenPane]) -> list[LateCandidate] | None:
    """Return the events of panes of one slice that may be late; None where none is known to be."""
    if any(pane.candidates is None for pane in panes):
        return None
    return [candidate for pane in panes for candidate in pane.candidates]
