"""Longs as doubles in the same order, for a sketch of doubles that is to keep every bit of a long.

A double holds longs up to 2**53 only, but two doubles of one sign go by their bits as whole numbers do. So a
long becomes the double whose bits are its size, with its sign: 1 the least of all doubles above 0, and so on.
There are somewhat fewer doubles than longs. Longs less than 2**53 away from the greatest size share one in
pairs, so that what is read back is off by one there; all others, and both ends, are exact.
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

    >>> as_ordered_doubles(np.array([-(2**53) - 1, -(2**53), 0, 3, 2**63 - 1])).tolist()
    [-4.450147717014403e-308, -4.4501477170144023e-308, 0.0, 1.5e-323, 1.7976931348623157e+308]
    """
    size = np.abs(longs).view(np.uint64)  # the lowest long has no positive twin, its bits are right
    first = np.uint64(_PAIRED_FROM)
    size = np.where(size > first, first + ((size - first) >> np.uint64(1)), size)
    return (size | np.where(longs < 0, np.uint64(_SIGN), np.uint64(0))).view(np.float64)


def long_of(ordered: float) -> tuple[int, int, int]:
    """Return the long of a double of `as_ordered_doubles`, and what it is at least and at most."""
    (bits,) = _BITS.unpack(_DOUBLE.pack(ordered))
    size = bits % _SIGN
    least = size if size < _PAIRED_FROM else 2 * size - _PAIRED_FROM
    most = size if size < _PAIRED_FROM else least + 1
    if bits >= _SIGN:
        return max(-most, -_SIGN), max(-most, -_SIGN), max(-least, -_SIGN)
    return most, least, most
