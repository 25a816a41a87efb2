"""Exact membership by hash: the counterpart of `sketches.bloom` for where money hangs on the answer.

Guarantee: a value is found where it was added and nowhere else, but for values whose 128-bit hashes are the
same: among a thousand million values that any two are has a probability of 1.5e-21. It takes 16 bytes a
value in an image, and some 100 in memory.

    >>> from sketches.hashing import hash_strings
    >>> seen = ExactSet()
    >>> seen.add_many(hash_strings(["ann", "bob", "ann"])).tolist()
    [True, True, False]

Payload within the preamble of `sketches.codec`, no parameters: the two words of each value's hash,
little-endian, in the order in which values came.
"""

from __future__ import annotations

import numpy as np

from sketches.codec import Family, decode, encode
from sketches.errors import BadData
from sketches.hashing import SEED, check_hashes, seed_hash

_SEED_HASH = seed_hash(SEED)
_VALUE_BYTES = 16


class ExactSet:
    """A set of hashes that remembers in which order they came."""

    __slots__ = ("_held",)

    def __init__(self) -> None:
        self._held: dict[bytes, None] = {}

    @property
    def members(self) -> int:
        """How many values were added."""
        return len(self._held)

    @property
    def hashes(self) -> np.ndarray:
        """The hashes of all values in the order in which they came, `(n, 2) uint64`."""
        return np.frombuffer(b"".join(self._held), "<u8").reshape(-1, 2).astype(np.uint64)

    @property
    def false_positive_rate(self) -> float:
        """With which probability a value that was never added is found: none to speak of."""
        return 0.0

    def add_many(self, hashes: np.ndarray) -> np.ndarray:
        """Add values by their hashes, and tell which were not there yet.

        Args:
            hashes: `(n, 2) uint64` of `sketches.hashing`; a value may come several times.

        Returns:
            `(n,) bool`: true for what was not there before this call, at its first place in it.

        Raises:
            BadArgument: another shape or type.
        """
        fresh = np.zeros(len(hashes), dtype=bool)
        for number, value in enumerate(_values(hashes)):
            if value not in self._held:
                self._held[value] = None
                fresh[number] = True
        return fresh

    def contains_many(self, hashes: np.ndarray) -> np.ndarray:
        """Tell which values were added.

        Args:
            hashes: `(n, 2) uint64` of `sketches.hashing`.

        Returns:
            `(n,) bool`.

        Raises:
            BadArgument: another shape or type.
        """
        values = _values(hashes)
        return np.fromiter((value in self._held for value in values), dtype=bool, count=len(values))

    def serialize(self) -> bytes:
        """Write the set.

        Returns:
            An image; its format is told at the top of this module.
        """
        return encode(Family.EXACT_SET, b"".join(self._held), seed_hash=_SEED_HASH)

    @classmethod
    def deserialize(cls, image: bytes) -> ExactSet:
        """Read a set that `serialize` wrote; it takes values like any other.

        Args:
            image: a whole image.

        Returns:
            The set.

        Raises:
            BadData: the bytes are no such image.
        """
        payload = decode(image, Family.EXACT_SET, parameter_count=0, seed_hash=_SEED_HASH).payload
        count, rest = divmod(len(payload), _VALUE_BYTES)
        if rest:
            raise BadData(f"exact set image: expected values of 16 bytes each, got {len(payload)} bytes")
        read = cls()
        read._held = dict.fromkeys(_split(bytes(payload)))
        if read.members != count:
            raise BadData(f"exact set image: expected {count} different values, got {read.members}")
        return read


def _values(hashes: np.ndarray) -> list[bytes]:
    check_hashes(hashes)
    return _split(np.ascontiguousarray(hashes, dtype="<u8").tobytes())


def _split(data: bytes) -> list[bytes]:
    return [data[at : at + _VALUE_BYTES] for at in range(0, len(data), _VALUE_BYTES)]
