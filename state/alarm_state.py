"""The keyed state of one shard of what rules on results remember.

| map | key | value |
|---|---|---|
| `alarms` | bucket, see `state.bucket_state` | version byte, then MessagePack: what is remembered, by key |

A key is the window's name and the key of the result, as JSON, and behind a newline the item, where a result
has several. All items of a key are in its bucket.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from sketches.errors import BadData
from state.bucket_state import BucketState
from state.clock_state import ByteMap
from state.message_pack import reader

_VERSION = b"\x01"
WINDOW_TYPE = np.dtype([("start_ms", "<i8"), ("end_ms", "<i8"), ("value", "<f8"), ("revision", "<u4")])
"""A window that is held: the number that rules compare with, NaN for null, and the revision it is of."""


class Alarm(msgspec.Struct, array_like=True):
    """What one rule remembers of a key.

    Attributes:
        rule: its name.
        mark: tells the version and the text of the rule that the flags are of.
        firing_ms: the start of the window at which it began to speak, of those before the ones that are held.
        streak: at how many windows in a row its condition held before the ones that are held.
        flags: a byte for each window that is held.
        since_ms: the start of the window at which it began to speak, where it speaks now.
        absent: whether it says that the key is absent.
    """

    rule: str
    mark: int
    firing_ms: int | None
    streak: int
    flags: bytes
    since_ms: int | None = None
    absent: bool = False


class Remembered(msgspec.Struct, array_like=True):
    """What is remembered of one key.

    Attributes:
        due_ms: the event time at which something is next to be done about it.
        heard_ms: the wall clock when a result of it came last.
        last_start_ms: the start of the window of its that ended last.
        last_end_ms: the end of that one.
        windows: the windows that are held, rows of `WINDOW_TYPE` in the order of their ends.
        alarms: what rules remember.
    """

    due_ms: int
    heard_ms: int
    last_start_ms: int
    last_end_ms: int
    windows: bytes
    alarms: list[Alarm]


_encode = msgspec.msgpack.Encoder().encode
_decode = reader(list[tuple[bytes, Remembered]], "alarms", _VERSION)


class AlarmState(BucketState[Remembered]):
    """The buckets of the current shard."""

    def __init__(self, alarms: ByteMap) -> None:
        """Wrap the map; nothing is read yet."""
        super().__init__(alarms, write_remembered, read_remembered)


def write_remembered(by_key: Mapping[bytes, Remembered]) -> bytes:
    """Write what is remembered by key."""
    return _VERSION + _encode(list(by_key.items()))


def read_remembered(stored: bytes) -> dict[bytes, Remembered]:
    """Read what `write_remembered` wrote.

    Raises:
        BadData: where the bytes are of another version, cut short, too long or do not fit together.
    """
    by_key = dict(_decode(stored))
    for remembered in by_key.values():
        held, rest = divmod(len(remembered.windows), WINDOW_TYPE.itemsize)
        if rest or any(len(alarm.flags) != held for alarm in remembered.alarms):
            raise BadData("expected a flag for each whole window that is held")
    return by_key
