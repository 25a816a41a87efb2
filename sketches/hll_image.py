"""Images of HyperLogLog sketches: the binary format of Apache DataSketches, serial version 1.

All numbers are little-endian. Every image starts with 8 bytes:

    offset  field
    0       length of the preamble in 4-byte words: 2 LIST, 3 SET, 10 HLL
    1       serial version, 1
    2       family, 7
    3       lg_k, 4 to 21
    4       binary logarithm of the array's length: of coupons, or of the exceptions of HLL_4
    5       flags: 4 empty, 8 compact, 16 out of order; 2 and 32 are hints to their writers and ignored
    6       LIST: number of coupons; HLL: the offset of HLL_4 values; else 0
    7       mode (0 LIST, 1 SET, 2 HLL) + 4 * type (0 HLL_4, 1 HLL_6, 2 HLL_8)

What follows depends on the mode. *Compact* images hold the entries in use, *updatable* ones the whole
array of 2**(byte 4) entries, empty ones 0.

- LIST: coupons of 4 bytes, up to 7; the updatable array has 8. No coupon comes twice.
- SET: number of coupons (4 bytes), coupons. Only with lg_k 8 and up; up to 3/4 of 2**(lg_k - 3).
- HLL: HIP accumulator, sum of 2**-register over registers below 32, and over the others (3 doubles);
  number of registers at the offset; number of exceptions (4 bytes each); then the registers:
  HLL_8 a byte each; HLL_6 6 bits each, lowest first, and one byte more; HLL_4 4 bits each, low half
  first, value = offset + bits, 15 standing for an exception: pairs of 4 bytes made as coupons are,
  after the registers, with slot and full value.

We write compact HLL_8 images with ascending coupons and, in HLL mode, the out-of-order flag and a HIP
accumulator of 0: HIP needs to see every update in order, which a merged sketch has not. We read
everything above; the estimator fields are derived from the registers, never read.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np

from sketches.errors import BadData
from sketches.hll_coupons import (
    ADDRESS_BITS,
    LIST_LIMIT,
    SMALLEST_COUPON,
    raise_registers,
    sorted_unique,
    sparse_limit,
)
from sketches.hll_estimate import register_sums
from sketches.hll_tables import MAX_LG_K, MIN_LG_K

HEAD_BYTES = 8
SET_START = 12
REGISTERS_START = 40
_EMPTY, _COMPACT, _OUT_OF_ORDER = 4, 8, 16
_KNOWN_FLAGS = 2 | _EMPTY | _COMPACT | _OUT_OF_ORDER | 32
_LIST, _SET, _HLL = range(3)
_HLL_4, _HLL_6, _HLL_8 = range(3)
_PREAMBLE_WORDS = {_LIST: 2, _SET: 3, _HLL: 10}
_DENSE_HEAD = struct.Struct("<8Bddd2I")
# Length of the table of exceptions that an updatable HLL_4 image holds before it has any, by lg_k - 4.
_FIRST_EXCEPTIONS = (2, 2, 2, 3, 3, 3, 4, 4, 5, 5, 6, 7, 8, 9, 10, 11, 12, 13)


@dataclass(frozen=True)
class Content:
    """What an image holds: either coupons or registers, the other is None.

    Attributes:
        lg_k: 4 to 21.
        coupons: `(n,) uint32`, ascending, distinct.
        registers: `(2**lg_k,) uint8`, owned by the receiver.
    """

    lg_k: int
    coupons: np.ndarray | None
    registers: np.ndarray | None


def image_from_sorted_coupons(lg_k: int, coupons: np.ndarray) -> bytes:
    """Write the image of a sketch that holds these coupons, in the mode that so many ask for.

    Args:
        lg_k: 4 to 21, not checked.
        coupons: `(n,) uint32`, ascending and distinct, not checked.

    Returns:
        A compact HLL_8 image in LIST, SET or HLL mode.
    """
    count = len(coupons)
    if count <= sparse_limit(lg_k):
        return sparse_head(lg_k, count) + coupons.tobytes()
    registers = np.zeros(1 << lg_k, dtype=np.uint8)
    raise_registers(registers, coupons)
    return image_from_registers(lg_k, registers)


def sparse_head(lg_k: int, count: int) -> bytes:
    """Write the bytes before the coupons of a sparse sketch.

    Args:
        lg_k: 4 to 21, not checked.
        count: number of coupons, at most `sparse_limit(lg_k)`.

    Returns:
        The head of a LIST, or of a SET when there are more than 7 coupons.
    """
    if count <= LIST_LIMIT:
        return bytes((2, 1, 7, lg_k, 3, _COMPACT if count else _COMPACT | _EMPTY, count, 8))
    # The hash set of DataSketches doubles from 32 places when over three quarters full.
    lg_places = max(5, (-(-4 * count // 3) - 1).bit_length())
    return struct.pack("<8BI", 3, 1, 7, lg_k, lg_places, _COMPACT, 0, 9, count)


def image_from_registers(lg_k: int, registers: np.ndarray) -> bytes:
    """Write the image of a dense sketch.

    Args:
        lg_k: 4 to 21, not checked.
        registers: `(2**lg_k,) uint8`.

    Returns:
        A compact HLL_8 image in HLL mode.
    """
    return dense_head(lg_k, *register_sums(registers)) + registers.tobytes()


def dense_head(lg_k: int, low_sum: float, high_sum: float, empty: int) -> bytes:
    """Write the 40 bytes before the registers.

    Args:
        lg_k: 4 to 21.
        low_sum: sum of 2**-register over registers below 32.
        high_sum: the same over the others.
        empty: number of registers that are 0.

    Returns:
        The bytes.
    """
    flags = _COMPACT | _OUT_OF_ORDER
    return _DENSE_HEAD.pack(10, 1, 7, lg_k, 0, flags, 0, 10, 0.0, low_sum, high_sum, empty, 0)


def read_image(image: bytes) -> Content:
    """Read any image that DataSketches or we write: three modes, three types, compact or updatable.

    Args:
        image: the whole image, nothing after it.

    Returns:
        What it holds.

    Raises:
        BadData: not such an image, cut short, followed by something, or at odds with itself.
    """
    if len(image) < HEAD_BYTES:
        raise BadData(f"HyperLogLog image: expected at least {HEAD_BYTES} bytes, got {len(image)}")
    words, version, family, lg_k, lg_array, flags, count, mode_byte = image[:HEAD_BYTES]
    mode, kind = mode_byte & 3, mode_byte >> 2
    _expect(version == 1, "serial version", 1, version)
    _expect(family == 7, "family", 7, family)
    _expect(MIN_LG_K <= lg_k <= MAX_LG_K, "lg_k", f"{MIN_LG_K} to {MAX_LG_K}", lg_k)
    _expect(mode in _PREAMBLE_WORDS and kind <= _HLL_8, "mode and type", "a known pair", mode_byte)
    _expect(words == _PREAMBLE_WORDS[mode], "preamble words", _PREAMBLE_WORDS[mode], words)
    _expect(flags & ~_KNOWN_FLAGS == 0, "flags within", _KNOWN_FLAGS, flags)
    compact = bool(flags & _COMPACT)
    if mode == _LIST:
        _expect(count <= LIST_LIMIT, "coupons of a list at most", LIST_LIMIT, count)
        _expect(bool(flags & _EMPTY) == (count == 0), "empty flag with 0 coupons only", count == 0, flags)
        return Content(lg_k, _read_coupons(image, HEAD_BYTES, count, count if compact else 8), None)
    _expect(flags & _EMPTY == 0, "flags without empty", 0, flags)
    if mode == _SET:
        return Content(lg_k, _read_set(image, lg_k, lg_array, compact), None)
    return Content(lg_k, None, _read_registers(image, lg_k, kind, compact))


def _read_set(image: bytes, lg_k: int, lg_array: int, compact: bool) -> np.ndarray:
    _expect(len(image) >= SET_START, "length of a set at least", SET_START, len(image))
    (count,) = struct.unpack_from("<I", image, HEAD_BYTES)
    limit = sparse_limit(lg_k) if lg_k >= 8 else 0
    _expect(1 <= count <= limit, "coupons of a set", f"1 to {limit}", count)
    if not compact:
        _expect(5 <= lg_array <= lg_k - 3, "lg of the set's places", f"5 to {lg_k - 3}", lg_array)
    return _read_coupons(image, SET_START, count, count if compact else 1 << lg_array)


def _read_coupons(image: bytes, start: int, count: int, places: int) -> np.ndarray:
    _expect(len(image) == start + 4 * places, "length in bytes", start + 4 * places, len(image))
    found = np.frombuffer(image, dtype="<u4", offset=start).astype(np.uint32)
    found = sorted_unique(found[found != 0])
    _expect(len(found) == count, "distinct coupons", count, len(found))
    _expect(count == 0 or int(found[0]) >= SMALLEST_COUPON, "coupons of value at least", 1, 0)
    return found


def _read_registers(image: bytes, lg_k: int, kind: int, compact: bool) -> np.ndarray:
    k = 1 << lg_k
    size = {_HLL_4: k // 2, _HLL_6: k * 3 // 4 + 1, _HLL_8: k}[kind]
    end = REGISTERS_START + size
    _expect(len(image) >= end, "length in bytes at least", end, len(image))
    (exceptions,) = struct.unpack_from("<I", image, 36)
    packed = np.frombuffer(image, dtype=np.uint8, count=size, offset=REGISTERS_START)
    if kind == _HLL_4:
        return _read_hll_4(image, lg_k, packed, exceptions, compact)
    _expect(exceptions == 0, "number of exceptions", 0, exceptions)
    _expect(image[6] == 0, "offset of values", 0, image[6])
    _expect(len(image) == end, "length in bytes", end, len(image))
    if kind == _HLL_6:
        return _unpack_six_bits(packed[:-1])
    registers = packed.copy()
    highest = int(registers.max())
    _expect(highest <= 63, "registers of at most", 63, highest)
    return registers


def _read_hll_4(image: bytes, lg_k: int, packed: np.ndarray, exceptions: int, compact: bool) -> np.ndarray:
    offset, start = image[6], REGISTERS_START + len(packed)
    _expect(offset <= 63, "offset of values at most", 63, offset)
    _expect(exceptions <= 1 << lg_k, "number of exceptions at most", 1 << lg_k, exceptions)
    places = exceptions
    if not compact:
        lg_places = image[4] or _FIRST_EXCEPTIONS[lg_k - MIN_LG_K]
        _expect(lg_places <= lg_k, "lg of the exceptions' places at most", lg_k, lg_places)
        places = 1 << lg_places
    _expect(len(image) == start + 4 * places, "length in bytes", start + 4 * places, len(image))
    nibbles = np.empty(1 << lg_k, dtype=np.uint8)
    nibbles[0::2] = packed & 15
    nibbles[1::2] = packed >> 4
    registers = nibbles + np.uint8(offset)
    pairs = np.frombuffer(image, dtype="<u4", offset=start)
    pairs = pairs[pairs != 0]
    slots = pairs & np.uint32((1 << lg_k) - 1)
    values = (pairs >> np.uint32(ADDRESS_BITS)).astype(np.uint8)
    marked = np.flatnonzero(nibbles == 15)
    same = len(pairs) == exceptions and np.array_equal(np.sort(slots), marked)
    _expect(same, "exceptions at the marked slots", len(marked), len(pairs))
    _expect(len(values) == 0 or int(values.min()) >= offset + 15, "exceptions from", offset + 15, "less")
    registers[slots] = values
    highest = int(registers.max())
    _expect(highest <= 63, "registers of at most", 63, highest)
    return registers


def _unpack_six_bits(packed: np.ndarray) -> np.ndarray:
    """Unpack groups of three bytes into four registers of six bits."""
    first, second, third = packed[0::3], packed[1::3], packed[2::3]
    registers = np.empty((len(first), 4), dtype=np.uint8)
    registers[:, 0] = first & 63
    registers[:, 1] = (first >> 6) | ((second & 15) << 2)
    registers[:, 2] = (second >> 4) | ((third & 3) << 4)
    registers[:, 3] = third >> 2
    return registers.ravel()


def _expect(holds: bool, what: str, expected: object, got: object) -> None:
    if not holds:
        raise BadData(f"HyperLogLog image: expected {what} {expected}, got {got}")
