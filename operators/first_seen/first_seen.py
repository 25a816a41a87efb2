"""Which events are the first of their value: the logic of one metric, without an engine.

Values are remembered by the shard that they hash to. With `remember` they are so by period, a quarter of it
long: a value is known while one of the last five periods, the current one included, has it. What an event
is told by is its own time, so the same input gives the same answers however fast it is read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import msgspec
import numpy as np

from operators.ingest.partials import shard_of
from operators.metric import Metric
from operators.records import LateCandidate, SeenPane, SeenRecord, SliceRecord, encode, shard_key
from sketches.exact_set import ExactSet
from sketches.growing_bloom import GrowingBloom
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ByteMap
from state.packed import Entry, pack
from state.seen_state import SeenState

_PERIODS = 4
"""In how many periods a value is remembered beside the one in which it came last."""
_GROWTH, _GROWTH_SPREAD = 1.35, 0.3
_FIRST_SHARE, _FIRST_SHARE_SIZED = 0.15, 0.95
_encode_json = msgspec.json.encode


class FirstSeenEvent(msgspec.Struct):
    """The first event of a value, as JSON."""

    text: bytes


class FirstSeenRunner:
    """Tells the first events of values and adds up what windows count.

    Args:
        metric: the metric; it has `seen`.
        seen: the map of the current shard.
    """

    def __init__(self, metric: Metric, seen: ByteMap) -> None:
        """Make the state; nothing is read yet."""
        self._metric, self._spec = metric, metric.seen
        self._period_ms = None if self._spec.remember is None else -(-self._spec.remember // _PERIODS)
        if self._spec.exact:
            self.state = SeenState(seen, lambda _: ExactSet(), ExactSet.deserialize, (-1, 2))
        else:
            self.state = SeenState(seen, self._new_filter, GrowingBloom.deserialize, (-1,))

    def on_record(
        self, shard: str, record: SeenRecord, watermark_ms: int
    ) -> Iterator[tuple[str, bytes] | FirstSeenEvent]:
        """Yield the records for the windows, and the first event of each new value.

        Args:
            shard: names the shard at hand.
            record: the events.
            watermark_ms: the engine's watermark; the least int64 before there is one.
        """
        owners = np.frombuffer(record.owners, "<u4").astype(np.int64)
        groups = np.frombuffer(record.groups, "<u4").astype(np.int64)
        times = np.frombuffer(record.times, "<i8")
        hashes = np.frombuffer(record.hashes, "<u8").reshape(-1, 2).astype(np.uint64)
        first = self._first_events(shard, hashes, owners, times)
        if self._period_ms is not None and MIN_TIME_MS < watermark_ms < END_OF_TIME_MS:
            self.state.forget(shard, self._period(watermark_ms) - _PERIODS * self._period_ms)
        yield from self._slices(record, groups, first)
        if record.values is not None:
            for event in np.flatnonzero(first).tolist():
                key = record.panes[groups[event]].key
                yield self._told(record.values[owners[event]], key, int(times[event]))

    def _first_events(
        self, shard: str, hashes: np.ndarray, owners: np.ndarray, times: np.ndarray
    ) -> np.ndarray:
        first = np.zeros(len(owners), bool)
        rows = hashes if self._spec.exact else hashes[:, 0]
        if self._period_ms is None:
            periods = np.zeros(len(times), np.int64)
        else:
            periods = times // self._period_ms * self._period_ms
        for period in np.unique(periods).tolist():
            events = np.flatnonzero(periods == period)
            values, places = np.unique(owners[events], return_index=True)
            oldest = period if self._period_ms is None else period - _PERIODS * self._period_ms
            fresh = self.state.add(shard, period, oldest, np.ascontiguousarray(rows[values]))
            first[events[places[fresh]]] = True
        return first

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

    def _period(self, time_ms: int) -> int:
        return time_ms // self._period_ms * self._period_ms

    def _new_filter(self, shard: str) -> GrowingBloom:
        """Make a filter for one period of a shard.

        Shards grow by different factors, so that they do not all have much unused room at the same time.
        """
        shards, spec = self._spec.value_shards, self._spec
        number = int(shard.rpartition("/")[2])
        mean = spec.expected() / shards
        # Shards do not get the same number of values: three standard deviations more, and few have to grow.
        capacity = int(mean + 3 * mean**0.5) + 1
        rate = spec.rate if self._period_ms is None else spec.rate / (_PERIODS + 1)
        return GrowingBloom(
            capacity,
            rate,
            growth=_GROWTH + _GROWTH_SPREAD * (number + 0.5) / shards,
            first_share=_FIRST_SHARE if spec.capacity is None else _FIRST_SHARE_SIZED,
        )


def _candidates(panes: list[SeenPane]) -> list[LateCandidate] | None:
    """Return the events of panes of one slice that may be late; None where none is known to be."""
    if any(pane.candidates is None for pane in panes):
        return None
    return [candidate for pane in panes for candidate in pane.candidates]
