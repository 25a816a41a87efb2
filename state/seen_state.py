"""What the shards of one metric have seen, by period, over a map of bytes to bytes.

| map | key | value |
|---|---|---|
| `seen` | period | the image of its members as they were when it was written last |
| `seen` | period, number | hashes of those that came later, in order, 8 bytes each (16 where exact) |
| `seen` | empty | which periods there are, see `state.time_index` |

Members are read once and then kept in memory beside their state: a batch writes what is new in it, not the
filter. Such a copy is right as long as the process lives, since whoever restores state does it in a new
one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np

from sketches.errors import BadData
from state.clock_state import ByteMap
from state.time_index import Stored, TimeIndex

_ROOM_SHARE = 64
_LEAST_ROOM = 4096


class Members(Protocol):
    """A set that values are added to by their hashes: `GrowingBloom` or `ExactSet`."""

    @property
    def members(self) -> int:
        """How many values were added."""

    @property
    def false_positive_rate(self) -> float:
        """With which probability a value that was never added is found."""

    def add_many(self, hashes: np.ndarray) -> np.ndarray:
        """Add values; return which were not there, `(n,)` bool."""

    def contains_many(self, hashes: np.ndarray) -> np.ndarray:
        """Return which values are there, `(n,)` bool."""

    def serialize(self) -> bytes:
        """Write the set."""


class SeenState:
    """Members by shard and period.

    Args:
        seen: the map, which shows what the shard at hand has.
        new: makes an empty set for a shard.
        read: reads a set that was written.
        shape: the shape of a value's hash as the set takes it: `(-1,)` or `(-1, 2)`.
    """

    def __init__(
        self,
        seen: ByteMap,
        new: Callable[[str], Members],
        read: Callable[[bytes], Members],
        shape: tuple[int, ...],
    ) -> None:
        """Wrap the map; nothing is read yet."""
        self._seen, self._new, self._read, self._shape = seen, new, read, shape
        self._known: dict[str, dict[int, Members]] = {}
        self.state_bytes: dict[str, int] = {}
        """How many bytes each shard took in state when something was written last."""

    def periods(self, shard: str) -> Mapping[int, Members]:
        """Return the members of the shard at hand by period, the oldest first."""
        if shard not in self._known:
            index = TimeIndex(self._seen)
            self._known[shard] = {time_ms: self._load(index.find(time_ms)) for time_ms in index.times}
            self.state_bytes[shard] = self.held()
        return self._known[shard]

    def shards(self) -> Mapping[str, Mapping[int, Members]]:
        """Return the members, by period, of all shards that this process has had at hand."""
        return self._known

    def add(self, shard: str, period: int, oldest: int, hashes: np.ndarray) -> np.ndarray:
        """Add values to a period of the shard at hand.

        Args:
            shard: names the shard at hand.
            period: names the period.
            oldest: the first period that still counts.
            hashes: of the values, in the shape that the set takes.

        Returns:
            Which of them no period that counts had, each at its first place, `(n,)` bool.
        """
        periods = self.periods(shard)
        known_elsewhere = np.zeros(len(hashes), bool)
        for other, members in periods.items():
            if other != period and other >= oldest:
                known_elsewhere |= members.contains_many(hashes)
        if period not in periods:
            ordered = {**periods, period: self._new(shard)}
            periods = self._known[shard] = dict(sorted(ordered.items()))
        added = periods[period].add_many(hashes)
        if added.any():
            self._write(period, periods[period], hashes[added])
            self.state_bytes[shard] = self.held()
        return added & ~known_elsewhere

    def forget(self, shard: str, before: int) -> None:
        """Forget the periods of the shard at hand that are older than `before`."""
        for period in [period for period in self.periods(shard) if period < before]:
            index = TimeIndex(self._seen)
            row = index.find(period)
            if row is not None:  # nothing was ever new in it otherwise
                for name in (row.base_name, *row.delta_names):
                    self._seen.remove(name)
                index.remove(period)
            del self._known[shard][period]
            self.state_bytes[shard] = self.held()

    def held(self) -> int:
        """Return how many bytes the shard at hand takes in state."""
        index = TimeIndex(self._seen)
        rows = [index.find(time_ms) for time_ms in index.times]
        names = sum(len(row.base_name) + sum(map(len, row.delta_names)) for row in rows)
        return (
            TimeIndex.bytes_held(self._seen) + names + sum(row.base_bytes + row.delta_bytes for row in rows)
        )

    def _write(self, period: int, members: Members, fresh: np.ndarray) -> None:
        """Write what is new in a period: by itself, or with the whole where much has come together."""
        index = TimeIndex(self._seen)
        known = index.find(period)
        delta = np.ascontiguousarray(fresh, dtype="<u8").tobytes()
        longer = known and known.with_delta(len(delta), max(_LEAST_ROOM, known.base_bytes // _ROOM_SHARE))
        if longer:
            self._seen.put(longer.delta_names[-1], delta)
            index.put(longer)
            return
        base = members.serialize()
        row = Stored(period, len(base))
        self._seen.put(row.base_name, base)
        for name in known.delta_names if known else ():
            self._seen.remove(name)
        index.put(row)

    def _load(self, row: Stored) -> Members:
        members = self._read(self._seen.get(row.base_name))
        for name in row.delta_names:
            members.add_many(read_hashes(self._seen.get(name), self._shape))
        return members


def read_hashes(data: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """Read the log of hashes that were added after the last full write.

    Args:
        data: 8 bytes per hash, 16 where exact.
        shape: `(-1,)` or `(-1, 2)`.

    Raises:
        BadData: the length is not a multiple of a hash.
    """
    size = 8 * len(shape)
    if len(data) % size:
        raise BadData(f"expected hashes of {size} bytes each, got {len(data)} bytes")
    return np.frombuffer(data, "<u8").reshape(shape).astype(np.uint64)
