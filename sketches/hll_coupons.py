"""Coupons: what one value does to a HyperLogLog sketch, in 32 bits, whatever the sketch's size.

The low 26 bits of a coupon are an address, taken from the first word of the value's hash; the high 6
bits are the number of leading zeros of the second word plus one, 1 to 63. A dense sketch of 2**lg_k
registers keeps, at the low lg_k bits of the address, the highest such number. Sorted coupons are
ascending in that number, which several places below rely on.
"""

from __future__ import annotations

import numpy as np

from sketches.errors import BadArgument
from sketches.hashing import check_hashes
from sketches.hll_tables import MAX_LG_K, MIN_LG_K

ADDRESS_BITS = 26
# The lowest number a real coupon can be: value 1 at address 0.
SMALLEST_COUPON = 1 << ADDRESS_BITS
LIST_LIMIT = 7
_ADDRESS_MASK = np.uint64((1 << ADDRESS_BITS) - 1)
_ONE = np.uint64(1)
_MANTISSA_BITS = np.uint64(52)


def coupons(hashes: np.ndarray) -> np.ndarray:
    """Turn hashes into coupons, one each, in the same order.

    Args:
        hashes: `(n, 2) uint64`, as `sketches.hashing` answers them.

    Returns:
        `(n,) uint32`.

    Raises:
        BadArgument: another shape or type.
    """
    check_hashes(hashes)
    second = hashes[:, 1]
    # The exponent of the nearest double is the place of the highest bit. Clearing the bit below the
    # highest keeps the conversion from rounding up to the next power of two.
    exponents = (second & ~(second >> _ONE)).astype(np.float64).view(np.uint64) >> _MANTISSA_BITS
    values = np.minimum(np.uint64(1087) - exponents, np.uint64(63))
    values <<= np.uint64(ADDRESS_BITS)
    values |= hashes[:, 0] & _ADDRESS_MASK
    return values.astype(np.uint32)


def check_lg_k(lg_k: int) -> int:
    """Refuse a sketch size that no reader knows.

    Args:
        lg_k: binary logarithm of the number of registers.

    Returns:
        The same number.

    Raises:
        BadArgument: not an integer of 4 to 21.
    """
    if not isinstance(lg_k, int) or not MIN_LG_K <= lg_k <= MAX_LG_K:
        raise BadArgument(f"lg_k: expected an integer of {MIN_LG_K} to {MAX_LG_K}, got {lg_k!r}")
    return lg_k


def sparse_limit(lg_k: int) -> int:
    """Give the highest number of distinct coupons that a sketch keeps as they are.

    Args:
        lg_k: 4 to 21.

    Returns:
        7 for lg_k below 8, else three quarters of 2**(lg_k - 3): DataSketches turns dense there.
    """
    return LIST_LIMIT if lg_k < 8 else 3 << (lg_k - 5)


def sorted_unique(values: np.ndarray) -> np.ndarray:
    """Sort an array that the caller owns and drop duplicates.

    Args:
        values: `(n,) uint32`, sorted in place.

    Returns:
        `(m,) uint32`, ascending.
    """
    values.sort()
    if len(values) < 2:
        return values
    keep = np.empty(len(values), dtype=np.bool_)
    keep[0] = True
    np.not_equal(values[1:], values[:-1], out=keep[1:])
    return values[keep]


def raise_registers(registers: np.ndarray, added: np.ndarray) -> None:
    """Raise dense registers to what the coupons ask for, in place.

    Args:
        registers: `(2**lg_k,) uint8`.
        added: `(n,) uint32` coupons in any order.
    """
    slots = (added & np.uint32(len(registers) - 1)).astype(np.intp)
    values = (added >> np.uint32(ADDRESS_BITS)).astype(np.uint8)
    higher = np.flatnonzero(values > registers[slots])
    if len(higher):
        np.maximum.at(registers, slots[higher], values[higher])
