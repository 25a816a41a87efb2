"""Which slices a shard has, and how they lie in state; so that nothing absent is ever read.

A slice is one packed entry, its *base*, and behind it the *deltas*, entries as they arrived that were not
merged yet. To merge every little that arrives into a large base would be to read and write all of it each
time; where that waits until there is as much to merge as there is already, each byte is written a few times
only. Measured with 200,000 keys in one window, batches of 10,000 events: 18 us an event instead of 86.

Wire format, little-endian: 4 bytes b"SSI" and the version, 1; then for each slice, in the order of time, i64
its end, i64 bytes of the base with its large partials, i64 bytes of its deltas, i64 how many they are.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass, replace

import numpy as np

from sketches.errors import BadData

_MAGIC = b"SSI\x01"
_WORDS = 4
SMALL_BASE_BYTES = 16_384
"""Up to here what arrives is merged at once: one entry to read for whoever reads the slice."""
MOST_DELTAS = 64


@dataclass(frozen=True)
class Slice:
    """How one slice lies in state.

    Attributes:
        end_ms: names the slice.
        base_bytes: bytes of its base, large partials included.
        delta_bytes: bytes of its deltas together.
        deltas: how many there are.
    """

    end_ms: int
    base_bytes: int
    delta_bytes: int = 0
    deltas: int = 0

    def with_delta(self, size: int) -> Slice | None:
        """Return the slice with one more delta of this size; None where it is to be merged instead."""
        if self.base_bytes < SMALL_BASE_BYTES or self.deltas == MOST_DELTAS:
            return None
        if self.delta_bytes + size > self.base_bytes:
            return None
        return replace(self, delta_bytes=self.delta_bytes + size, deltas=self.deltas + 1)


class SliceIndex:
    """The slices of a shard, in the order of time.

    Args:
        slices: them.
    """

    def __init__(self, slices: list[Slice]) -> None:
        """Take them as they are."""
        self._slices = slices
        self.ends = [slice_.end_ms for slice_ in slices]

    @classmethod
    def deserialize(cls, data: bytes | None) -> SliceIndex:
        """Read an index; None is one without slices.

        Raises:
            BadData: where the bytes are not an index of this version or are cut short.
        """
        if data is None:
            return cls([])
        body = data[len(_MAGIC) :]
        if data[: len(_MAGIC)] != _MAGIC or len(body) % (8 * _WORDS):
            raise BadData(f"expected an index of slices that begins with {_MAGIC!r}, got {data[:4]!r}")
        return cls([Slice(*row) for row in np.frombuffer(body, "<i8").reshape(-1, _WORDS).tolist()])

    def serialize(self) -> bytes | None:
        """Write the index; None where there are no slices."""
        if not self._slices:
            return None
        rows = [(s.end_ms, s.base_bytes, s.delta_bytes, s.deltas) for s in self._slices]
        return _MAGIC + np.array(rows, "<i8").tobytes()

    def find(self, end_ms: int) -> Slice | None:
        """Return the slice of this end, None where there is none."""
        at = bisect_left(self.ends, end_ms)
        return self._slices[at] if at < len(self.ends) and self.ends[at] == end_ms else None

    def put(self, slice_: Slice) -> None:
        """Add a slice, or put it in the place of the one of its end."""
        at = bisect_left(self.ends, slice_.end_ms)
        there = bisect_right(self.ends, slice_.end_ms)
        self._slices[at:there] = [slice_]
        self.ends[at:there] = [slice_.end_ms]

    def remove(self, end_ms: int) -> None:
        """Forget the slice of this end, which is there."""
        at = self.ends.index(end_ms)
        del self._slices[at], self.ends[at]
