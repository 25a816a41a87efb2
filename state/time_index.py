"""What lies in state by time, and how: so that nothing absent is read, and nothing large written for little.

What there is of one time is one entry, its *base*, and behind it *deltas*, entries as they arrived that were
not merged into it yet. To merge every little that arrives into a large base would be to read and write all of
it each time; where that waits until enough has come together, each byte is written a few times only. Measured
with 200,000 keys in one window, batches of 10,000 events: 18 us an event instead of 86.

Wire format, little-endian: 4 bytes b"STI" and the version, 1; then for each time, ascending, i64 the time in
milliseconds, i64 bytes of the base, i64 bytes of its deltas, i64 how many they are.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sketches.errors import BadData
from state.clock_state import ByteMap, time_key

MOST_DELTAS = 64
_MAGIC = b"STI\x01"
_WORDS = 4
_INDEX = b""


@dataclass(frozen=True)
class Stored:
    """How what there is of one time lies in state.

    Attributes:
        time_ms: names it.
        base_bytes: bytes of its base, with what belongs to that.
        delta_bytes: bytes of its deltas together.
        deltas: how many there are, 64 at most.
    """

    time_ms: int
    base_bytes: int
    delta_bytes: int = 0
    deltas: int = 0

    @property
    def base_name(self) -> bytes:
        """The key of the base."""
        return time_key(self.time_ms)

    @property
    def delta_names(self) -> list[bytes]:
        """The keys of the deltas, in the order in which they came."""
        return [self.base_name + bytes([number]) for number in range(1, self.deltas + 1)]

    def with_delta(self, size: int, room: int) -> Stored | None:
        """Return it with one more delta of this size; None where deltas have to be merged instead.

        Args:
            size: bytes of the delta.
            room: how many bytes all deltas may have.
        """
        if self.deltas == MOST_DELTAS or self.delta_bytes + size > room:
            return None
        return replace(self, delta_bytes=self.delta_bytes + size, deltas=self.deltas + 1)


class TimeIndex:
    """What is stored in one map of the current shard, in the order of time.

    Args:
        held: the map; the index is its entry without a name.
    """

    def __init__(self, held: ByteMap) -> None:
        """Read the index.

        Raises:
            BadData: where the bytes are not an index of this version or are cut short.
        """
        self._held = held
        data = held.get(_INDEX)
        if data is None:
            self._rows = np.empty((0, _WORDS), "<i8")
            return
        body = len(data) - len(_MAGIC)
        if data[: len(_MAGIC)] != _MAGIC or body <= 0 or body % (8 * _WORDS):
            raise BadData(f"expected an index by time that begins with {_MAGIC!r}, got {data[:4]!r}")
        # A view: there may be thousands of times, of which one is asked for.
        self._rows = np.frombuffer(data, "<i8", offset=len(_MAGIC)).reshape(-1, _WORDS)

    @property
    def times(self) -> list[int]:
        """All times, ascending, in milliseconds."""
        return self._rows[:, 0].tolist()

    def find(self, time_ms: int) -> Stored | None:
        """Return the entry stored for this time; None where there is none.

        Raises:
            BadData: the stored bytes are corrupt.
        """
        at = self._place(time_ms)
        if not self._is_at(at, time_ms):
            return None
        row = Stored(*self._rows[at].tolist())
        if not 0 <= row.deltas <= MOST_DELTAS or min(row.base_bytes, row.delta_bytes) < 0:
            raise BadData(f"expected lengths, and {MOST_DELTAS} deltas at most, got {row}")
        return row

    def put(self, row: Stored) -> None:
        """Add a row, or put it in the place of the one of its time; and write the index."""
        at = self._place(row.time_ms)
        if not self._is_at(at, row.time_ms):
            self._rows = np.insert(self._rows, at, 0, axis=0)
        elif Stored(*self._rows[at].tolist()) == row:
            return
        else:
            self._rows = self._rows.copy()
        self._rows[at] = row.time_ms, row.base_bytes, row.delta_bytes, row.deltas
        self._write()

    def remove(self, time_ms: int) -> None:
        """Forget the row of this time, which is there; and write the index."""
        self._rows = np.delete(self._rows, self._place(time_ms), axis=0)
        self._write()

    @staticmethod
    def bytes_held(held: ByteMap) -> int:
        """Return how many bytes the index of a map takes in state."""
        return len(held.get(_INDEX) or b"")

    def _place(self, time_ms: int) -> int:
        return int(np.searchsorted(self._rows[:, 0], time_ms))

    def _is_at(self, at: int, time_ms: int) -> bool:
        return at < len(self._rows) and int(self._rows[at, 0]) == time_ms

    def _write(self) -> None:
        if len(self._rows):
            self._held.put(_INDEX, _MAGIC + self._rows.tobytes())
        else:
            self._held.remove(_INDEX)
