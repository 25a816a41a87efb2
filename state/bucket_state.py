"""Keyed state of many keys in a few entries, *buckets*, and when each of them is next due.

Keys share entries because point reads are what state is slow at; the index tells when something is next due
in each bucket, so that a timer reads only those it must.

| key | value |
|---|---|
| bucket, 2 bytes | what the bucket holds by key, in a form with a version of its own |
| empty | when each bucket is next due, 64 * i64 little-endian, the greatest where never |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Generic, TypeVar
from zlib import crc32

import numpy as np

from sketches.errors import BadData
from state.clock_state import ByteMap

BUCKETS = 64
NEVER_MS = 2**63 - 1
_INDEX = b""

Own = TypeVar("Own")
"""What one key has."""


class BucketState(Generic[Own]):
    """The buckets of the current shard.

    Args:
        held: the map.
        encode: writes what a bucket holds by key.
        decode: reads it; raises `BadData` for what it cannot read.
    """

    def __init__(
        self,
        held: ByteMap,
        encode: Callable[[Mapping[bytes, Own]], bytes],
        decode: Callable[[bytes], dict[bytes, Own]],
    ) -> None:
        """Wrap the map; nothing is read yet."""
        self._map, self._encode, self._decode = held, encode, decode

    def due(self) -> np.ndarray:
        """Return when each bucket is next due, `(64,)` int64 milliseconds.

        Raises:
            BadData: where the index is cut short or too long.
        """
        stored = self._map.get(_INDEX)
        if stored is None:
            return np.full(BUCKETS, NEVER_MS)
        if len(stored) != 8 * BUCKETS:
            raise BadData(f"expected an index of {8 * BUCKETS} bytes, got {len(stored)}")
        return np.frombuffer(stored, "<i8").copy()

    def set_due(self, due_ms: np.ndarray) -> None:
        """Store when each bucket is next due."""
        if (due_ms == NEVER_MS).all():
            self._map.remove(_INDEX)
        else:
            self._map.put(_INDEX, due_ms.astype("<i8").tobytes())

    def read(self, bucket: int) -> dict[bytes, Own]:
        """Return what a bucket holds by key."""
        return self.held(bucket)[0]

    def held(self, bucket: int) -> tuple[dict[bytes, Own], int]:
        """Return what a bucket holds by key, and how many bytes it takes in state."""
        name = _name(bucket)
        stored = self._map.get(name)
        if stored is None:
            return {}, 0
        return self._decode(stored), len(name) + len(stored)

    def index_held(self) -> int:
        """Return how many bytes the list of when buckets are due takes in state."""
        return len(self._map.get(_INDEX) or b"")

    def write(self, bucket: int, by_key: Mapping[bytes, Own]) -> None:
        """Store what a bucket holds; keys without anything are forgotten."""
        kept = {key: own for key, own in by_key.items() if own}
        if kept:
            self._map.put(_name(bucket), self._encode(kept))
        else:
            self._map.remove(_name(bucket))


def bucket_of(key: bytes) -> int:
    """Return the bucket of a key; independent of how keys are spread over shards."""
    return crc32(key, 1) % BUCKETS


def _name(bucket: int) -> bytes:
    return bucket.to_bytes(2, "big")
