"""The keyed state of one shard of a metric's sessions, over two maps of bytes to bytes.

Sessions of many keys share an entry (a *bucket*), because point reads are what state is slow at; an index
tells when something is next due in each bucket, so that a timer reads only those it must.

| map | key | value |
|---|---|---|
| `sessions` | bucket, 2 bytes | version byte, then MessagePack: the sessions of the bucket, see `Session` |
| `sessions` | empty | when each bucket is next due, 64 * i64, the greatest where never |
| `clock` | as in `state.window_state` | |
"""

from __future__ import annotations

from zlib import crc32

import msgspec
import numpy as np

from sketches.errors import BadData
from state.clock_state import ByteMap

BUCKETS = 64
NEVER_MS = 2**63 - 1
_VERSION = b"\x01"
_INDEX = b""


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
_decode = msgspec.msgpack.Decoder(list[tuple[bytes, list[Session]]]).decode


class SessionState:
    """The buckets of the current shard."""

    def __init__(self, sessions: ByteMap) -> None:
        """Wrap the map; nothing is read yet."""
        self._sessions = sessions

    def due(self) -> np.ndarray:
        """Return when each bucket is next due, `(64,)` int64 milliseconds."""
        stored = self._sessions.get(_INDEX)
        if stored is None:
            return np.full(BUCKETS, NEVER_MS)
        return np.frombuffer(stored, "<i8").copy()

    def set_due(self, due_ms: np.ndarray) -> None:
        """Store when each bucket is next due."""
        if (due_ms == NEVER_MS).all():
            self._sessions.remove(_INDEX)
        else:
            self._sessions.put(_INDEX, due_ms.astype("<i8").tobytes())

    def read(self, bucket: int) -> Sessions:
        """Return the sessions of a bucket by key."""
        return self.held(bucket)[0]

    def held(self, bucket: int) -> tuple[Sessions, int]:
        """Return the sessions of a bucket by key, and how many bytes they take in state."""
        name = _name(bucket)
        stored = self._sessions.get(name)
        if stored is None:
            return {}, 0
        if stored[:1] != _VERSION:
            raise BadData(f"expected sessions of version {_VERSION[0]}, got {stored[0]}")
        return dict(_decode(stored[1:])), len(name) + len(stored)

    def index_held(self) -> int:
        """Return how many bytes the list of when buckets are due takes in state."""
        return len(self._sessions.get(_INDEX) or b"")

    def write(self, bucket: int, sessions: Sessions) -> None:
        """Store the sessions of a bucket; keys without any are forgotten."""
        kept = [(key, own) for key, own in sessions.items() if own]
        if kept:
            self._sessions.put(_name(bucket), _VERSION + _encode(kept))
        else:
            self._sessions.remove(_name(bucket))


def bucket_of(key: bytes) -> int:
    """Return the bucket of a key; independent of how keys are spread over shards."""
    return crc32(key, 1) % BUCKETS


def _name(bucket: int) -> bytes:
    return bucket.to_bytes(2, "big")
