"""What a shard remembers of time, over one map of bytes to bytes; kept across restarts.

| key | value |
|---|---|
| `horizon` | the last watermark that this shard acted on |
| `silent_until` | the wall-clock time up to which a silence of the source was counted |
| `whole_from` | where windows look back: from when on the shard knows all that came |

Times are big-endian with the sign bit flipped, so that RocksDB's order is the order of time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

MIN_TIME_MS = -(2**63)
END_OF_TIME_MS = 2**63 - 1
_HORIZON = b"horizon"
_SILENT_UNTIL = b"silent_until"
_WHOLE_FROM = b"whole_from"


class ByteMap(Protocol):
    """What is asked of Flink's `MapState[bytes, bytes]`; a test gives it over a dict."""

    def get(self, key: bytes) -> bytes | None:
        """Return the value, or None where there is none."""

    def put(self, key: bytes, value: bytes) -> None:
        """Store a value."""

    def remove(self, key: bytes) -> None:
        """Forget a value."""


class EntryMap(ByteMap, Protocol):
    """The same where all entries are read, once after a start."""

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """Return all entries."""


class ClockState:
    """The horizon of the current shard."""

    def __init__(self, clock: ByteMap) -> None:
        """Wrap the map; nothing is read yet."""
        self._clock = clock

    def horizon(self) -> int:
        """Return the last watermark acted on in milliseconds; the least int64 where there is none."""
        stored = self._clock.get(_HORIZON)
        return MIN_TIME_MS if stored is None else time_of(stored)

    def watermark(self, engine_ms: int) -> int:
        """Return the watermark to go by: the engine's, or the horizon where that is further.

        The first watermark that a shard hears of becomes its horizon: what ended before it is over.
        """
        horizon = self.horizon()
        if horizon == MIN_TIME_MS < engine_ms < END_OF_TIME_MS:
            self.set_horizon(engine_ms)
        return max(engine_ms, horizon)

    def set_horizon(self, watermark_ms: int) -> None:
        """Remember that everything due at this watermark was done."""
        self._clock.put(_HORIZON, time_key(watermark_ms))

    def silent_until(self) -> int | None:
        """Return up to which wall-clock time a silence of the source was counted."""
        stored = self._clock.get(_SILENT_UNTIL)
        return None if stored is None else time_of(stored)

    def set_silent_until(self, now_ms: int) -> None:
        """Remember that silence was counted up to now."""
        self._clock.put(_SILENT_UNTIL, time_key(now_ms))

    def whole_from(self) -> int:
        """Return from when on the shard knows all that came; the greatest int64 where it knows nothing."""
        stored = self._clock.get(_WHOLE_FROM)
        return END_OF_TIME_MS if stored is None else time_of(stored)

    def set_whole_from(self, time_ms: int) -> None:
        """Remember from when on the shard knows all that came."""
        self._clock.put(_WHOLE_FROM, time_key(time_ms))

    def held(self) -> int:
        """Return how many bytes the clock takes in state."""
        entries = ((name, self._clock.get(name)) for name in (_HORIZON, _SILENT_UNTIL, _WHOLE_FROM))
        return sum(len(name) + len(stored) for name, stored in entries if stored is not None)


def time_key(time_ms: int) -> bytes:
    """Return 8 bytes whose order is the order of time, negative times included."""
    return (time_ms + 2**63).to_bytes(8, "big")


def time_of(key: bytes) -> int:
    """Return the time that `time_key` made these bytes from."""
    return int.from_bytes(key, "big") - 2**63
