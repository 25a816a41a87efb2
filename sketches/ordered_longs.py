"""Order-preserving mapping of int64 to float64, to store longs in a sketch of doubles without rounding.

A double represents longs exactly only up to 2**53, but doubles of one sign sort like their bit patterns. So a
long is mapped to the double whose bit pattern is its absolute value, with its sign: 1 becomes the smallest
positive double, and so on. There are somewhat fewer doubles than longs: within 2**53 of the smallest and the
largest long, two longs share a double, and reading one back may be off by one. All others, the smallest and
the largest are exact.
"""

from __future__ import annotations

import struct

import numpy as np

_PAIRED_FROM = 2**63 - 2**53
_SIGN = 2**63
_DOUBLE, _BITS = struct.Struct("<d"), struct.Struct("<Q")


def as_ordered_doubles(longs: np.ndarray) -> np.ndarray:
    """Map longs to doubles that sort in the same order.

    Args:
        longs: `(n,) int64`.

    Returns:
        `(n,) float64`, none of them NaN.

    >>> as_ordered_doubles(np.array([-7, 0, 3, 2**63 - 1])).tolist()
    [-3.5e-323, 0.0, 1.5e-323, inf]
    """
    size = np.abs(longs).view(np.uint64)  # abs of the smallest long overflows to the right bit pattern
    first, is_positive = np.uint64(_PAIRED_FROM), longs > 0
    paired = first + ((size - first + is_positive) >> np.uint64(1))
    bits = np.where(size > first, paired, size)
    return (bits | (longs < 0).astype(np.uint64) << np.uint64(63)).view(np.float64)


def long_of(ordered: float) -> tuple[int, int, int]:
    """Map a double of `as_ordered_doubles` back to its long; return it with a lower and an upper bound."""
    (bits,) = _BITS.unpack(_DOUBLE.pack(ordered))
    size, is_positive = bits % _SIGN, bits < _SIGN
    least = most = size
    if size >= _PAIRED_FROM:
        first = 2 * size - _PAIRED_FROM - is_positive
        least, most = max(first, _PAIRED_FROM), min(first + 1, _SIGN - is_positive)
    return (most, least, most) if is_positive else (-most, -most, -least)
