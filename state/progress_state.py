"""How far the shards of entities have come, as one shard of windows was told; over one map of bytes to bytes.

| map | key | value |
|---|---|---|
| `clock` | `gathered` | version byte, 1; then for each shard of entities, little-endian: i64, u8 |

The first is the shard's watermark in milliseconds, the least where it told none, the other whether its input
is at its end.
"""

from __future__ import annotations

import struct

from sketches.errors import BadData
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ByteMap

_NAME = b"gathered"
_VERSION = b"\x01"
_SHARD = struct.Struct("<q?")


class ProgressState:
    """What the current shard of windows was told.

    Args:
        clock: the map.
        shards: how many shards of entities there are.
    """

    def __init__(self, clock: ByteMap, shards: int) -> None:
        """Wrap the map; nothing is read yet."""
        self._clock, self._shards = clock, shards

    def watermark_ms(self) -> int:
        """Return up to which time all shards have sent what they have; the least int64 before they have."""
        return min(watermark_ms for watermark_ms, _ in self._read())

    def told(self, shard: int, watermark_ms: int) -> int:
        """Note how far a shard is.

        Args:
            shard: its number.
            watermark_ms: its watermark; `END_OF_TIME_MS` at the end of its input.

        Returns:
            Up to which time all have sent what they have; `END_OF_TIME_MS` where now all are at the end. That
            is no time and not kept: a job that goes on later has more.
        """
        shards = self._read()
        before_ms, ended = shards[shard]
        if watermark_ms == END_OF_TIME_MS:
            shards[shard] = before_ms, True
        else:
            shards[shard] = max(before_ms, watermark_ms), ended
        at_end = all(ended for _, ended in shards)
        if at_end:
            shards = [(watermark_ms, False) for watermark_ms, _ in shards]
        self._clock.put(_NAME, _VERSION + b"".join([_SHARD.pack(*one) for one in shards]))
        return END_OF_TIME_MS if at_end else min(watermark_ms for watermark_ms, _ in shards)

    def held(self) -> int:
        """Return how many bytes this takes in state."""
        stored = self._clock.get(_NAME)
        return 0 if stored is None else len(_NAME) + len(stored)

    def _read(self) -> list[tuple[int, bool]]:
        stored = self._clock.get(_NAME)
        if stored is None:
            return [(MIN_TIME_MS, False)] * self._shards
        length = len(_VERSION) + _SHARD.size * self._shards
        if stored[:1] != _VERSION or len(stored) != length:
            raise BadData(
                f"expected progress of version {_VERSION[0]} and {length} bytes, got {len(stored)} bytes "
                f"{stored[:1]!r}"
            )
        return list(_SHARD.iter_unpack(stored[len(_VERSION) :]))
