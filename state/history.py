"""What is remembered of an entity, a user or a card, as bytes.

::

    4 bytes  b"RHI" and the format version, 2
    i64      little-endian, the time of the entity's newest event in milliseconds
    i64      little-endian, when the first of what it waits for is due; the greatest int64 for never
    ...      MessagePack: an array of what features know, by their numbers, and of what it waits for, by rule

The two times are before the rest so that neither what is due nor what may be forgotten has to be looked for
in MessagePack.
"""

from __future__ import annotations

from struct import Struct as Layout

import msgspec

from sketches.errors import BadData
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS
from state.message_pack import reader

_MAGIC = b"RHI\x02"
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
        features: what each feature knows, by its number.
        pending: what each sequence waits for, by the name of the rule.
    """

    time_ms: int = MIN_TIME_MS
    features: dict[int, FeatureState] = {}
    pending: dict[str, Pending] = {}

    @property
    def due_ms(self) -> int:
        """When the first of what it waits for is due; the greatest int64 where that is nothing."""
        return min(one.due_ms for one in self.pending.values()) if self.pending else END_OF_TIME_MS


_encode = msgspec.msgpack.Encoder().encode
_decode = reader(tuple[dict[int, FeatureState], dict[str, Pending]], "a history")


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
    features, pending = _decode(data[_HEADER.size :])
    return History(time_ms, features, pending)


def times_of(data: bytes) -> tuple[int, int]:
    """Read only the time of a history's newest event and its earliest deadline.

    Raises:
        BadData: there are too few bytes.
    """
    if len(data) < _HEADER.size:
        raise BadData(f"expected a history of {_HEADER.size} bytes or more, got {len(data)}")
    return _HEADER.unpack_from(data)[1:]


def _expect_as_many(times: list[int], others: list[float]) -> None:
    if len(times) != len(others):
        raise ValueError(f"expected {len(times)} values of so many times, got {len(others)}")
