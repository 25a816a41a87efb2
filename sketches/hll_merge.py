"""Merging HyperLogLog images without building sketches: for an operator that has thousands of them.

Measured on one core at lg_k 14, by coupons in each image: 3 and 3 in 2.3 us, 30 and 30 in 5 us, 300 and
300 in 8 us; dense and 3 in 2.8 us, dense and 300 in 29 us, two dense in 23 us; by way of sketches 16 to
60 us. Images in our own form (compact HLL_8) take the short way, any other is read in full first.
"""

from __future__ import annotations

import struct

import numpy as np

from sketches.errors import BadArgument, BadData
from sketches.hll_coupons import (
    ADDRESS_BITS,
    LIST_LIMIT,
    SMALLEST_COUPON,
    raise_registers,
    sorted_unique,
    sparse_limit,
)
from sketches.hll_image import (
    HEAD_BYTES,
    REGISTERS_START,
    SET_START,
    dense_head,
    image_from_registers,
    image_from_sorted_coupons,
    read_image,
    sparse_head,
)
from sketches.hll_tables import MAX_LG_K, MIN_LG_K

# Up to so many coupons, plain Python is faster than the fixed cost of numpy calls.
_FEW = 48
_DENSE_FIELDS = struct.Struct("<ddI")
# Preamble words, mode and flags of the images that we write.
_OUR_LISTS = ((2, 8, 8), (2, 8, 12))
_OUR_SET = (3, 9, 8)
_OUR_DENSE = (10, 10, 24)
_POWERS = tuple(2.0**-value for value in range(64))


def merge_images(*images: bytes) -> bytes:
    """Unite images into the image of everything that any of them has seen.

    A dense image's sums are kept up to date from its own header when only few coupons are added, so
    an image that came with wrong sums keeps them; no estimate here reads them.

    Args:
        images: one or more of the same lg_k, as `HyperLogLog.serialize` or DataSketches writes them.

    Returns:
        A compact HLL_8 image, the same as `HyperLogLog.merge` would give.

    Raises:
        BadArgument: the images differ in lg_k.
        BadData: the bytes are no image.
    """
    opened = [_open(image) for image in images]
    lg_k = images[0][3]
    for image in images:
        if image[3] != lg_k:
            raise BadArgument(f"merge: expected an image of lg_k {lg_k}, got {image[3]}")
    coupons = b"".join(content for content, is_sparse in opened if is_sparse)
    dense = [content for content, is_sparse in opened if not is_sparse]
    if not dense:
        return _merge_sparse(lg_k, coupons)
    if len(dense) == 1:
        return _add_to_dense(lg_k, dense[0], coupons)
    registers = np.maximum.reduce([_registers_of(image) for image in dense])
    raise_registers(registers, np.frombuffer(coupons, dtype="<u4"))
    return image_from_registers(lg_k, registers)


def _open(image: bytes) -> tuple[bytes, bool]:
    """Give the coupons of a sparse image, or a whole dense image in our own form; and whether sparse."""
    size = len(image)
    if size >= HEAD_BYTES and image[1] == 1 and image[2] == 7 and MIN_LG_K <= image[3] <= MAX_LG_K:
        shape = (image[0], image[7], image[5])
        if shape in _OUR_LISTS and image[6] <= LIST_LIMIT and size == HEAD_BYTES + 4 * image[6]:
            return image[HEAD_BYTES:], True
        told = int.from_bytes(image[HEAD_BYTES:SET_START], "little")
        if shape == _OUR_SET and 1 <= told <= sparse_limit(image[3]) and size == SET_START + 4 * told:
            return image[SET_START:], True
        if shape == _OUR_DENSE and size == REGISTERS_START + (1 << image[3]):
            return image, False
    content = read_image(image)
    if content.registers is not None:
        return image_from_registers(content.lg_k, content.registers), False
    return content.coupons.tobytes(), True


def _merge_sparse(lg_k: int, coupons: bytes) -> bytes:
    if len(coupons) > 4 * _FEW:
        united = sorted_unique(np.frombuffer(coupons, dtype="<u4").astype(np.uint32))
        _check_lowest(int(united[0]))
        return image_from_sorted_coupons(lg_k, united)
    united = sorted(set(struct.unpack(f"<{len(coupons) // 4}I", coupons)))
    count = len(united)
    if count:
        _check_lowest(united[0])
    packed = struct.pack(f"<{count}I", *united)
    if count <= sparse_limit(lg_k):
        return sparse_head(lg_k, count) + packed
    return image_from_sorted_coupons(lg_k, np.frombuffer(packed, dtype="<u4"))


def _add_to_dense(lg_k: int, dense: bytes, sparse: bytes) -> bytes:
    if len(sparse) > 4 * _FEW:
        registers = _registers_of(dense).copy()
        raise_registers(registers, np.frombuffer(sparse, dtype="<u4"))
        return image_from_registers(lg_k, registers)
    image = bytearray(dense)
    mask = (1 << lg_k) - 1
    low, high, empty = _DENSE_FIELDS.unpack_from(image, 16)
    for coupon in struct.unpack(f"<{len(sparse) // 4}I", sparse):
        value = coupon >> ADDRESS_BITS
        slot = REGISTERS_START + (coupon & mask)
        before = image[slot]
        if value <= before:
            continue
        image[slot] = value
        empty -= before == 0
        if before < 32:
            low -= _POWERS[before]
        else:
            high -= _POWERS[before]
        if value < 32:
            low += _POWERS[value]
        else:
            high += _POWERS[value]
    if empty < 0:
        raise BadData("HyperLogLog image: expected the number of empty registers, got less")
    image[:REGISTERS_START] = dense_head(lg_k, low, high, empty)
    return bytes(image)


def _registers_of(dense: bytes) -> np.ndarray:
    registers = np.frombuffer(dense, dtype=np.uint8, offset=REGISTERS_START)
    highest = int(registers.max())
    if highest > 63:
        raise BadData(f"HyperLogLog image: expected registers of at most 63, got {highest}")
    return registers


def _check_lowest(coupon: int) -> None:
    if coupon < SMALLEST_COUPON:
        raise BadData(f"HyperLogLog image: expected coupons from {SMALLEST_COUPON}, got {coupon}")
