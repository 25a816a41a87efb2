"""How the sets of a funnel lie in a partial: one a step.

Wire format, little-endian: a version byte, 1; the number of steps, u8; the length of each step's image, u32;
the images, empty where a set is.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from itertools import accumulate, pairwise

from sketches.errors import BadData

Levels = list[bytes]
_VERSION = 1


def empty_levels(steps: int) -> bytes:
    """Write empty sets for so many steps."""
    return write_levels([b""] * steps)


def write_levels(images: Sequence[bytes]) -> bytes:
    """Write the image of each step's set."""
    lengths = struct.pack(f"<{len(images)}I", *map(len, images))
    return bytes((_VERSION, len(images))) + lengths + b"".join(images)


def read_levels(data: bytes, steps: int) -> Levels:
    """Read the image of each step's set.

    Raises:
        BadData: where the bytes are of another version or number of steps, are cut short or too long.
    """
    if data[:2] != bytes((_VERSION, steps)):
        raise BadData(f"expected a funnel of version {_VERSION} and {steps} steps, got {bytes(data[:2])!r}")
    start = 2 + 4 * steps
    if len(data) < start:
        raise BadData(f"expected {start} bytes or more for {steps} steps, got {len(data)}")
    lengths = struct.unpack_from(f"<{steps}I", data, 2)
    if len(data) != start + sum(lengths):
        raise BadData(f"expected {start + sum(lengths)} bytes, got {len(data)}")
    return [data[begin:end] for begin, end in pairwise(accumulate(lengths, initial=start))]
