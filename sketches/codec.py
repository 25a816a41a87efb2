"""The preamble that every sketch of ours carries in keyed state and in topics.

HyperLogLog images are the exception when they leave the project: there they are bare Apache
DataSketches images, and this preamble is at most around them.

Wire format, little-endian, no padding:

    offset  size  field
    0       2     magic, the bytes "Sk"
    2       1     family, see `Family`
    3       1     serial version of the family's payload, from 1
    4       1     flags, their meaning is the family's
    5       1     p, the number of parameters, 0 to 8
    6       2     seed hash: 16 bits that tell hash seeds apart, 0 where the sketch does not hash
    8       4     n, the length of the payload in bytes
    12      4 p   parameters, unsigned, their meaning is the family's
    12+4p   n     payload
    12+4p+n       the end: anything after it is refused

A decoder checks every length, the family, the version, the seed and the number of parameters before
it allocates anything in proportion to what the bytes say. It allocates at most a few times the length of the
image, or `MAX_TABLE_BYTES` for a table that is written sparse.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from enum import IntEnum

from sketches.errors import BadArgument, BadData

MAGIC = b"Sk"
MAX_PARAMETERS = 8
_HEAD = struct.Struct("<2sBBBBHI")
_MAX_PAYLOAD = 2**32 - 1
MAX_TABLE_BYTES = 2**26
"""Limit for the memory of a table decoded from a sparse image: 64 MiB."""


class Family(IntEnum):
    """What an image holds. A number is never given to another family."""

    HYPERLOGLOG = 1
    COUNT_MIN = 2
    BLOOM = 3
    TOP_K = 4
    QUANTILES = 5
    GROWING_BLOOM = 6
    EXACT_SET = 7


@dataclass(frozen=True)
class Frame:
    """An image taken apart and checked, all but its payload.

    Attributes:
        version: serial version of the payload.
        flags: the family's flag bits.
        parameters: the family's parameters.
        payload: a read-only view into the image, not a copy.
    """

    version: int
    flags: int
    parameters: tuple[int, ...]
    payload: memoryview


def encode(
    family: Family,
    payload: bytes,
    *,
    version: int = 1,
    flags: int = 0,
    parameters: tuple[int, ...] = (),
    seed_hash: int = 0,
) -> bytes:
    """Put the preamble before a payload.

    Args:
        family: what the payload is.
        payload: the family's own bytes, under 4 GiB.
        version: serial version of the payload, 1 to 255.
        flags: the family's flag bits, 0 to 255.
        parameters: at most 8 numbers of 32 bits.
        seed_hash: 16 bits, see `sketches.hashing.seed_hash`; 0 where nothing is hashed.

    Returns:
        The image.

    Raises:
        BadArgument: a figure does not fit its field.
    """
    if len(parameters) > MAX_PARAMETERS:
        raise BadArgument(f"number of parameters: expected at most {MAX_PARAMETERS}, got {len(parameters)}")
    if len(payload) > _MAX_PAYLOAD:
        raise BadArgument(f"payload length: expected at most {_MAX_PAYLOAD} bytes, got {len(payload)}")
    try:
        head = _HEAD.pack(MAGIC, family, version, flags, len(parameters), seed_hash, len(payload))
        return head + struct.pack(f"<{len(parameters)}I", *parameters) + payload
    except struct.error as error:
        raise BadArgument(f"preamble of {Family(family).name}: a figure is out of range") from error


def decode(
    image: bytes,
    family: Family,
    *,
    parameter_count: int,
    versions: tuple[int, ...] = (1,),
    known_flags: int = 0,
    seed_hash: int = 0,
) -> Frame:
    """Check the preamble of an image and take it apart.

    Args:
        image: the whole image, nothing after it.
        family: the family that the caller can read.
        parameter_count: how many parameters that family has.
        versions: the serial versions that the caller can read.
        known_flags: the flag bits that the caller understands.
        seed_hash: of the seed that the caller hashes with.

    Returns:
        The parts; the payload is a view, its content unchecked.

    Raises:
        BadData: too short, too long, not ours, or of another family, version, seed or shape.
    """
    if len(image) < _HEAD.size:
        raise BadData(f"image of {family.name}: expected at least {_HEAD.size} bytes, got {len(image)}")
    magic, found_family, version, flags, count, found_seed, length = _HEAD.unpack_from(image)
    _expect(magic == MAGIC, family, "magic", MAGIC, magic)
    _expect(found_family == family, family, "family", int(family), found_family)
    _expect(version in versions, family, "serial version", versions, version)
    _expect(flags & ~known_flags == 0, family, "flags within", known_flags, flags)
    _expect(count == parameter_count, family, "number of parameters", parameter_count, count)
    _expect(found_seed == seed_hash, family, "seed hash", seed_hash, found_seed)
    start = _HEAD.size + 4 * count
    _expect(len(image) == start + length, family, "length in bytes", start + length, len(image))
    parameters = struct.unpack_from(f"<{count}I", image, _HEAD.size)
    return Frame(version, flags, parameters, memoryview(image).toreadonly()[start:])


def _expect(holds: bool, family: Family, what: str, expected: object, got: object) -> None:
    if not holds:
        raise BadData(f"image of {family.name}: expected {what} {expected!r}, got {got!r}")
