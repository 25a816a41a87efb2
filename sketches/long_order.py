"""Longs as doubles in the same order, for a sketch of doubles that is to keep every bit of a long.

A double holds longs up to 2**53 only, but two doubles of one sign go by their bits as whole numbers do. So a
long becomes the double whose bits are its size, with its sign: 1 the least of all doubles above 0, and so on.
There are somewhat fewer doubles than longs: less than 2**53 away from the first and the last long two share
one, so that what is read back may be off by one there. All others, the first and the last are exact.
"""

from __future__ import annotations

import struct

import numpy as np

_PAIRED_FROM = 2**63 - 2**53
_SIGN = 2**63
_DOUBLE, _BITS = struct.Struct("<d"), struct.Struct("<Q")


def as_ordered_doubles(longs: np.ndarray) -> np.ndarray:
    """Return doubles that are in the order of the longs.

    Args:
        longs: `(n,) int64`.

    Returns:
        `(n,) float64`, none of them NaN.

    >>> as_ordered_doubles(np.array([-7, 0, 3, 2**63 - 1])).tolist()
    [-3.5e-323, 0.0, 1.5e-323, inf]
    """
    size = np.abs(longs).view(np.uint64)  # the lowest long has no positive twin, its bits are right
    first, is_positive = np.uint64(_PAIRED_FROM), longs > 0
    paired = first + ((size - first + is_positive) >> np.uint64(1))
    bits = np.where(size > first, paired, size)
    return (bits | (longs < 0).astype(np.uint64) << np.uint64(63)).view(np.float64)


def long_of(ordered: float) -> tuple[int, int, int]:
    """Return the long of a double of `as_ordered_doubles`, and what it is at least and at most."""
    (bits,) = _BITS.unpack(_DOUBLE.pack(ordered))
    size, is_positive = bits % _SIGN, bits < _SIGN
    least = most = size
    if size >= _PAIRED_FROM:
        first = 2 * size - _PAIRED_FROM - is_positive
        least, most = max(first, _PAIRED_FROM), min(first + 1, _SIGN - is_positive)
    return (most, least, most) if is_positive else (-most, -most, -least)
