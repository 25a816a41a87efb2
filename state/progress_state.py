"""How far the shards of a stage have come, as one shard of windows was told; over one map of bytes to bytes.

| map | key | value |
|---|---|---|
| `clock` | `progress` | version byte, 1; then for each shard of the stage, little-endian: i64, u8 |

The first is the shard's watermark in milliseconds, the least where it told none, the other whether its input
is at its end.
"""

from __future__ import annotations

import struct

from sketches.errors import BadData
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ByteMap

_NAME = b"progress"
_VERSION = b"\x01"
_SHARD = struct.Struct("<q?")


class ProgressState:
    """What the current shard of windows was told.

    Args:
        clock: the map.
        shards: how many shards the stage has.
    """

    def __init__(self, clock: ByteMap, shards: int) -> None:
        """Wrap the map; nothing is read yet."""
        self._clock, self._shards = clock, shards

    def watermark_ms(self) -> int:
        """Return up to which time all shards have sent what they have.

        The least int64 before each has told; `END_OF_TIME_MS` where all are at the end of their input.
        """
        shards = self._read()
        return END_OF_TIME_MS if all(ended for _, ended in shards) else min(shards)[0]

    def told(self, shard: int, watermark_ms: int) -> None:
        """Note how far a shard is.

        Args:
            shard: its number.
            watermark_ms: its watermark; `END_OF_TIME_MS` at the end of its input.
        """
        shards = self._read()
        before_ms, _ = shards[shard]
        ended = watermark_ms == END_OF_TIME_MS
        shards[shard] = before_ms if ended else max(before_ms, watermark_ms), ended
        self._write(shards)

    def forget_end(self) -> None:
        """Forget that the input came to its end: that is no time, and a job that goes on later has more."""
        self._write([(watermark_ms, False) for watermark_ms, _ in self._read()])

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

    def _write(self, shards: list[tuple[int, bool]]) -> None:
        self._clock.put(_NAME, _VERSION + b"".join([_SHARD.pack(*one) for one in shards]))
