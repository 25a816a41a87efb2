"""A part of the log of histories as state has it: what was written together, compressed.

::

    4 bytes  b"RHL" and the format version, 2
    u32      little-endian, how many bytes the rest has where it is not compressed
    ...      an LZ4 block; in it MessagePack: an array of pairs, of the entity as canonical JSON and its
             history as `state.history` has it

Histories have the same times and names of features over and over: LZ4 takes half of them away, in half a
microsecond an event. What is left has to be sent to state, written when a checkpoint is made, and copied: a
checkpoint holds up all events meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pyarrow as pa

from sketches.errors import BadData
from state.message_pack import reader

_MAGIC = b"RHL\x02"
_HEADER = len(_MAGIC) + 4
_MOST_TIMES = 255
"""No LZ4 block has more bytes in it than so many times its own."""
_codec = pa.Codec("lz4_raw")
_encode = msgspec.msgpack.Encoder().encode
_decode = reader(list[tuple[bytes, bytes]], "histories")


def write_part(entries: Mapping[bytes, bytes]) -> bytes:
    """Return a part of the log.

    Args:
        entries: the history of each entity, as bytes.
    """
    plain = _encode(list(entries.items()))
    return b"".join((_MAGIC, len(plain).to_bytes(4, "little"), _codec.compress(plain, asbytes=True)))


def read_part(data: bytes) -> list[tuple[bytes, bytes]]:
    """Read a part of the log.

    Raises:
        BadData: where the bytes are not such a part of this version, are cut short or too long.
    """
    if data[: len(_MAGIC)] != _MAGIC:
        raise BadData(f"expected a part that begins with {_MAGIC!r}, got {bytes(data[:4])!r}")
    size, block = int.from_bytes(data[len(_MAGIC) : _HEADER], "little"), data[_HEADER:]
    if size > _MOST_TIMES * len(block):
        raise BadData(f"a part of {len(data)} bytes cannot have {size} bytes in it")
    try:
        plain = _codec.decompress(block, size, asbytes=True)
    except (pa.ArrowException, OSError) as problem:
        raise BadData(f"a part of {len(data)} bytes cannot be read: {problem}") from problem
    return _decode(plain)
