"""What is remembered of entities, users or cards, over a map of bytes to bytes.

| map | key | value |
|---|---|---|
| `histories` | canonical JSON of the entity | its history |
| `histories` | `*` | what is remembered of all entities of the shard together |

A history::

    4 bytes  b"RHI" and the format version, 1
    i64      little-endian, the time of the entity's newest event in milliseconds
    i64      little-endian, when the first of what it waits for is due; the greatest int64 for never
    ...      MessagePack: an array of what features know, by feature, and of what it waits for, by rule

All of a shard is read once, at the first touch after a start, and then kept in memory as bytes beside its
state: a read of state costs a hundred times as much. Such a copy is right as long as the process lives, since
whoever restores state does it in a new one. The two times are before the rest so that neither what is due nor
what may be forgotten has to be looked for in MessagePack.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct as Layout

import msgspec

from sketches.errors import BadData
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, EntryMap

EVERYONE = b"*"
_MAGIC = b"RHI\x01"
_HEADER = Layout("<4sqq")


class Counted(msgspec.Struct, array_like=True, tag=1):
    """How many events there were at each of some times, which are ascending."""

    times: list[int] = []
    counts: list[int] = []

    def __post_init__(self) -> None:
        """Check the lengths."""
        _expect_as_many(self.times, self.counts)


class Summed(msgspec.Struct, array_like=True, tag=2):
    """The sum of a number over the events at each of some times, which are ascending."""

    times: list[int] = []
    sums: list[float] = []

    def __post_init__(self) -> None:
        """Check the lengths."""
        _expect_as_many(self.times, self.sums)


class Different(msgspec.Struct, array_like=True, tag=3):
    """Different values.

    Attributes:
        times: the time of the newest event of each, ascending.
        values: 64 bits that stand for each.
        older_times: times, ascending.
        older_counts: how many values there were at each of them whose bits are no longer kept.
    """

    times: list[int] = []
    values: list[int] = []
    older_times: list[int] = []
    older_counts: list[int] = []

    def __post_init__(self) -> None:
        """Check the lengths."""
        _expect_as_many(self.times, self.values)
        _expect_as_many(self.older_times, self.older_counts)


class Last(msgspec.Struct, array_like=True, tag=4):
    """The last event: its time, None where there was none, and a value of it."""

    time_ms: int | None = None
    value: str | int | float | bool | None = None


class Moments(msgspec.Struct, array_like=True, tag=5):
    """How many numbers there were, their mean, and the sum of the squares of what they are off it."""

    count: int = 0
    mean: float = 0.0
    squares: float = 0.0


class Place(msgspec.Struct, array_like=True, tag=6):
    """Where the last event was, in degrees, and its time; None where there was none."""

    time_ms: int | None = None
    latitude: float = 0.0
    longitude: float = 0.0


class Pending(msgspec.Struct, array_like=True):
    """An event that a sequence began with, and that waits for another one.

    Attributes:
        began_ms: the entity's time at that event.
        due_ms: when waiting is over, as the rule was then.
        subject: names the event, canonical JSON.
        told: what is told of it, a JSON object.
    """

    began_ms: int
    due_ms: int
    subject: bytes
    told: bytes


FeatureState = Counted | Summed | Different | Last | Moments | Place


class History(msgspec.Struct):
    """What is remembered of one entity.

    Attributes:
        time_ms: the time of its newest event; the least int64 where there was none.
        features: what each feature knows.
        pending: what each sequence waits for, by the name of the rule.
    """

    time_ms: int = MIN_TIME_MS
    features: dict[str, FeatureState] = {}
    pending: dict[str, Pending] = {}

    @property
    def due_ms(self) -> int:
        """When the first of what it waits for is due; the greatest int64 where that is nothing."""
        return min(one.due_ms for one in self.pending.values()) if self.pending else END_OF_TIME_MS


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(tuple[dict[str, FeatureState], dict[str, Pending]]).decode


def write_history(history: History) -> bytes:
    """Return a history as state has it."""
    header = _HEADER.pack(_MAGIC, history.time_ms, history.due_ms)
    return header + _encode((history.features, history.pending))


def read_history(data: bytes) -> History:
    """Read a history.

    Raises:
        BadData: where the bytes are not a history of this version, are cut short or too long.
    """
    if data[: len(_MAGIC)] != _MAGIC:
        raise BadData(f"expected a history that begins with {_MAGIC!r}, got {bytes(data[:4])!r}")
    if len(data) < _HEADER.size:
        raise BadData(f"expected a history of {_HEADER.size} bytes or more, got {len(data)}")
    _, time_ms, _ = _HEADER.unpack_from(data)
    try:
        features, pending = _decode(data[_HEADER.size :])
    except (msgspec.DecodeError, UnicodeDecodeError) as problem:
        raise BadData(f"a history of {len(data)} bytes cannot be read: {problem}") from problem
    return History(time_ms, features, pending)


def times_of(data: bytes) -> tuple[int, int]:
    """Return the time of the newest event of a history, and when the first of what it waits for is due."""
    return _HEADER.unpack_from(data)[1:]


def _expect_as_many(times: list[int], others: list[float]) -> None:
    if len(times) != len(others):
        raise ValueError(f"expected {len(times)} values of so many times, got {len(others)}")


class HistoryState:
    """Histories by shard.

    Args:
        held: the map, which shows what the shard at hand has.
    """

    def __init__(self, held: EntryMap) -> None:
        """Wrap the map; nothing is read yet."""
        self._held = held
        self._known: dict[str, dict[bytes, bytes]] = {}
        self.state_bytes: dict[str, int] = {}
        """How many bytes each shard takes in state."""

    def is_known(self, shard: str) -> bool:
        """Return whether this process has had a shard at hand."""
        return shard in self._known

    def read(self, shard: str, entity: bytes) -> History:
        """Return the history of an entity of the shard at hand, a new one where there is none.

        What is changed in it has to be written.
        """
        data = self._shard(shard).get(entity)
        return History() if data is None else read_history(data)

    def write(self, shard: str, entity: bytes, history: History) -> None:
        """Keep the history of an entity of the shard at hand."""
        known, data = self._shard(shard), write_history(history)
        before = known.get(entity)
        self.state_bytes[shard] += len(data) - len(before) if before is not None else len(entity) + len(data)
        known[entity] = data
        self._held.put(entity, data)

    def remove(self, shard: str, entity: bytes) -> None:
        """Forget an entity of the shard at hand."""
        data = self._shard(shard).pop(entity)
        self.state_bytes[shard] -= len(entity) + len(data)
        self._held.remove(entity)

    def times(self, shard: str) -> Iterator[tuple[bytes, int, int]]:
        """Yield the entities of the shard at hand, with what `times_of` tells of each."""
        for entity, data in self._shard(shard).items():
            if entity != EVERYONE:
                yield entity, *times_of(data)

    def entities(self) -> int:
        """Return how many entities all shards have that this process has had at hand."""
        return sum(len(known) - (EVERYONE in known) for known in self._known.values())

    def _shard(self, shard: str) -> dict[bytes, bytes]:
        known = self._known.get(shard)
        if known is None:
            known = self._known[shard] = {bytes(key): bytes(data) for key, data in self._held.items()}
            self.state_bytes[shard] = sum(len(key) + len(data) for key, data in known.items())
        return known
