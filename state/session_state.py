"""The keyed state of one shard of a metric's sessions, over two maps of bytes to bytes.

| map | key | value |
|---|---|---|
| `sessions` | bucket, see `state.bucket_state` | version byte, then MessagePack: the sessions by key |
| `clock` | as in `state.window_state` | |
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from state.bucket_state import BUCKETS, NEVER_MS, BucketState, bucket_of
from state.clock_state import ByteMap
from state.message_pack import reader

__all__ = ["BUCKETS", "NEVER_MS", "Session", "SessionState", "Sessions", "bucket_of"]
_VERSION = b"\x01"


class Session(msgspec.Struct, array_like=True):
    """A session of one key.

    Attributes:
        first_ms: its first event.
        last_ms: its last event.
        events: how many it has.
        partial: their partials, merged.
        revision: the last one sent, -1 for none.
        sent_events: the events behind that.
        final: whether what was sent last was final.
    """

    first_ms: int
    last_ms: int
    events: int
    partial: bytes
    revision: int = -1
    sent_events: int = 0
    final: bool = False


Sessions = dict[bytes, list[Session]]
_encode = msgspec.msgpack.Encoder().encode
_decode = reader(list[tuple[bytes, list[Session]]], "sessions", _VERSION)


class SessionState(BucketState[list[Session]]):
    """The buckets of the current shard."""

    def __init__(self, sessions: ByteMap) -> None:
        """Wrap the map; nothing is read yet."""
        super().__init__(sessions, _write, _read)


def _write(sessions: Mapping[bytes, list[Session]]) -> bytes:
    return _VERSION + _encode(list(sessions.items()))


def _read(stored: bytes) -> Sessions:
    return dict(_decode(stored))
