"""The profiles of a shard's users, over a map of bytes to bytes.

| map | key | value |
|---|---|---|
| `profiles` | bucket | a block of its profiles as they were when it was written last |
| `profiles` | bucket, number | blocks of those that have changed since, in order |
| `profiles` | empty | which buckets there are, see `state.time_index` |

Users are spread over 16 buckets by their name. Profiles are read once and then kept in memory beside their
state: a record writes those that it changed, not the bucket. Such a copy is right as long as the process
lives, since whoever restores state does it in a new one.

A block, little-endian::

    4 bytes  b"SPR" and the format version, 1
    u32      d, the length of a profile's vector
    u32      n, how many profiles
    n * u32  length of each user's name
    n * i64  time of each profile in milliseconds
    n * f64  weight of each
    n*d f32  their sums, one after another
    ...      the names, UTF-8
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from zlib import crc32

import numpy as np

from sketches.errors import BadData
from state.clock_state import ByteMap
from state.time_index import Stored, TimeIndex

BUCKETS = 16
_MAGIC = b"SPR\x01"
_HEADER = len(_MAGIC) + 8
_LEAST_ROOM = 64 * 1024
_FIRST_ROWS = 64
IsForgotten = Callable[[np.ndarray], np.ndarray]


class Profiles:
    """Sums of vectors with their weights and times, by user, row by row in arrays without holes.

    Args:
        dimension: the length of the vectors.
    """

    def __init__(self, dimension: int) -> None:
        """Make an empty table."""
        self.sums = np.zeros((_FIRST_ROWS, dimension), np.float32)
        self.weights = np.zeros(_FIRST_ROWS)
        self.times = np.zeros(_FIRST_ROWS, np.int64)
        self.users: list[bytes] = []
        self._buckets = np.zeros(_FIRST_ROWS, np.uint8)
        self._rows: dict[bytes, int] = {}

    def __len__(self) -> int:
        """Return the number of users."""
        return len(self.users)

    def row(self, user: bytes) -> int | None:
        """Return the row of a user, None where there is none."""
        return self._rows.get(user)

    def new_row(self, user: bytes) -> int:
        """Return the row of a user, an empty one with weight 0 where there was none."""
        row = self._rows.get(user)
        if row is not None:
            return row
        row = len(self.users)
        if row == len(self.times):
            for name in ("sums", "weights", "times", "_buckets"):
                held = getattr(self, name)
                setattr(self, name, np.concatenate([held, np.zeros_like(held)]))
        self.users.append(user)
        self._rows[user] = row
        self.sums[row], self.weights[row], self.times[row] = 0, 0, 0
        self._buckets[row] = crc32(user) % BUCKETS
        return row

    def remove(self, user: bytes) -> None:
        """Forget a user; the last row moves to the place of theirs."""
        row, last = self._rows.pop(user), len(self.users) - 1
        moved = self.users.pop()
        if row != last:
            self.users[row], self._rows[moved] = moved, row
            for held in (self.sums, self.weights, self.times, self._buckets):
                held[row] = held[last]

    def in_bucket(self, bucket: int) -> np.ndarray:
        """Return the rows of a bucket, ascending, `(n,) int64`."""
        return np.flatnonzero(self._buckets[: len(self.users)] == bucket)

    def buckets(self, rows: np.ndarray) -> np.ndarray:
        """Return the bucket of each of these rows."""
        return self._buckets[rows]

    def block(self, rows: np.ndarray) -> bytes:
        """Write some rows."""
        names = [self.users[row] for row in rows.tolist()]
        return b"".join(
            (
                _MAGIC,
                self.sums.shape[1].to_bytes(4, "little"),
                len(names).to_bytes(4, "little"),
                np.fromiter(map(len, names), "<u4", len(names)).tobytes(),
                self.times[rows].astype("<i8").tobytes(),
                self.weights[rows].astype("<f8").tobytes(),
                self.sums[rows].astype("<f4").tobytes(),
                *names,
            )
        )

    def read_block(self, data: bytes) -> None:
        """Take over the profiles of a block, in the place of those that there are of the same users.

        Raises:
            BadData: where the bytes are not a block of this version and dimension, are cut short or too long.
        """
        dimension = self.sums.shape[1]
        names, times, weights, sums = _parts(data, dimension)
        for name, time_ms, weight, own in zip(names, times.tolist(), weights.tolist(), sums, strict=True):
            row = self.new_row(name)
            self.sums[row], self.weights[row], self.times[row] = own, weight, time_ms


class ProfileState:
    """Profiles by shard.

    Args:
        held: the map, which shows what the shard at hand has.
        dimension: the length of the vectors.
        before: the profiles that a shard begins with of which there is nothing in state.
    """

    def __init__(self, held: ByteMap, dimension: int, before: dict[str, Profiles] | None = None) -> None:
        """Wrap the map; nothing is read yet."""
        self._held, self._dimension = held, dimension
        self._before = before or {}
        self._known: dict[str, Profiles] = {}
        self.state_bytes: dict[str, int] = {}
        """How many bytes each shard took in state when something was written last."""

    def shard(self, shard: str) -> Profiles:
        """Return the profiles of the shard at hand; what is changed in them has to be written."""
        if shard not in self._known:
            index = TimeIndex(self._held)
            before = self._before.pop(shard, None)
            if before is not None and not index.times:
                self._known[shard] = before
                self.write(shard, before.users, lambda rows: np.zeros(len(rows), bool))
                return before
            profiles = Profiles(self._dimension)
            for bucket in index.times:
                row = index.find(bucket)
                for name in (row.base_name, *row.delta_names):
                    profiles.read_block(self._held.get(name))
            self._known[shard] = profiles
            self.state_bytes[shard] = self.held_bytes()
        return self._known[shard]

    def shards(self) -> Iterator[Profiles]:
        """Yield the profiles of all shards that this process has had at hand."""
        yield from self._known.values()

    def write(self, shard: str, users: Sequence[bytes], is_forgotten: IsForgotten) -> None:
        """Write profiles of the shard at hand that have changed.

        Args:
            shard: names the shard at hand.
            users: whose they are.
            is_forgotten: tells of rows, `(n,) int64`, whether they need not be kept any longer, `(n,) bool`;
                these are dropped where their bucket is written as a whole.
        """
        profiles = self.shard(shard)
        rows = np.array([profiles.row(user) for user in users], np.int64)
        buckets = profiles.buckets(rows)
        index = TimeIndex(self._held)
        changed = {bucket: [users[n] for n in np.flatnonzero(buckets == bucket).tolist()]
                   for bucket in np.unique(buckets).tolist()}  # fmt: skip
        for bucket, own in changed.items():
            self._write_bucket(index, profiles, bucket, own, is_forgotten)
        self.state_bytes[shard] = self.held_bytes()

    def held_bytes(self) -> int:
        """Return how many bytes the shard at hand takes in state."""
        index = TimeIndex(self._held)
        rows = [index.find(bucket) for bucket in index.times]
        names = sum(len(row.base_name) + sum(map(len, row.delta_names)) for row in rows)
        stored = sum(row.base_bytes + row.delta_bytes for row in rows)
        return TimeIndex.bytes_held(self._held) + names + stored

    def _write_bucket(
        self,
        index: TimeIndex,
        profiles: Profiles,
        bucket: int,
        users: list[bytes],
        is_forgotten: IsForgotten,
    ) -> None:
        known = index.find(bucket)
        delta = profiles.block(np.array([profiles.row(user) for user in users], np.int64))
        longer = known and known.with_delta(len(delta), max(_LEAST_ROOM, known.base_bytes))
        if longer:
            self._held.put(longer.delta_names[-1], delta)
            index.put(longer)
            return
        rows = profiles.in_bucket(bucket)
        for row in rows[is_forgotten(rows)][::-1].tolist():  # from behind, since the last row moves up
            profiles.remove(profiles.users[row])
        base = profiles.block(profiles.in_bucket(bucket))
        row = Stored(bucket, len(base))
        self._held.put(row.base_name, base)
        for name in known.delta_names if known else ():
            self._held.remove(name)
        index.put(row)


def _parts(data: bytes, dimension: int) -> tuple[list[bytes], np.ndarray, np.ndarray, np.ndarray]:
    if data[: len(_MAGIC)] != _MAGIC:
        raise BadData(f"expected a block of profiles that begins with {_MAGIC!r}, got {bytes(data[:4])!r}")
    if len(data) < _HEADER:
        raise BadData(f"expected {_HEADER} bytes or more, got {len(data)}")
    length = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[8:_HEADER], "little")
    if length != dimension:
        raise BadData(f"expected profiles of dimension {dimension}, got {length}")
    times_at = _HEADER + 4 * count
    weights_at, sums_at = times_at + 8 * count, times_at + 16 * count
    names_at = sums_at + 4 * count * dimension
    if len(data) < names_at:
        raise BadData(f"expected {names_at} bytes or more for {count} profiles, got {len(data)}")
    ends = np.cumsum(np.frombuffer(data, "<u4", count, _HEADER), dtype=np.int64) + names_at
    end = int(ends[-1]) if count else names_at
    if len(data) != end:
        raise BadData(f"expected {end} bytes, got {len(data)}")
    starts = [names_at, *ends[:-1].tolist()]
    names = [data[start:stop] for start, stop in zip(starts, ends.tolist(), strict=False)]
    return (
        names,
        np.frombuffer(data, "<i8", count, times_at),
        np.frombuffer(data, "<f8", count, weights_at),
        np.frombuffer(data, "<f4", count * dimension, sums_at).reshape(count, dimension),
    )
