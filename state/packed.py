"""One state entry that holds many keys: the partial of each key of a shard, packed.

Point reads of RocksDB state are the slowest thing a Python operator does, so state is a few large entries
rather than many small ones. The same bytes travel from ingest to the window operator.

Wire format, little-endian::

    4 bytes  b"SSP" and the format version, 2
    u32      n, the number of keys
    n * u32  length of each key
    n * i32  length of each partial; negative where the partial is stored apart
    n * i64  events behind each partial
    ...      all keys, then all partials that are not apart, one after another
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from sketches.errors import BadData

_MAGIC = b"SSP\x02"
_HEADER = len(_MAGIC) + 4
_PER_KEY = 4 + 4 + 8


class Entry(NamedTuple):
    """What one key has in one slice.

    Attributes:
        events: how many events are behind it.
        partial: the mergeable state of the metric kind; None where it is stored apart.
        apart: how many bytes the partial has where it is stored apart, else 0.
    """

    events: int
    partial: bytes | None
    apart: int = 0


def pack(entries: Mapping[bytes, Entry]) -> bytes:
    """Return the packed form of `entries`, in their order."""
    keys = list(entries)
    partials = [entry.partial for entry in entries.values() if entry.partial is not None]
    lengths = (-e.apart if e.partial is None else len(e.partial) for e in entries.values())
    return b"".join(
        (
            _MAGIC,
            len(keys).to_bytes(4, "little"),
            np.fromiter(map(len, keys), "<u4", len(keys)).tobytes(),
            np.fromiter(lengths, "<i4", len(keys)).tobytes(),
            np.fromiter((entry.events for entry in entries.values()), "<i8", len(keys)).tobytes(),
            *keys,
            *partials,
        )
    )


def unpack(data: bytes) -> dict[bytes, Entry]:
    """Return the entries of a packed state entry.

    Raises:
        BadData: where the bytes are not a packed entry of this version, are cut short or too long.
    """
    if data[: len(_MAGIC)] != _MAGIC:
        raise BadData(f"expected a packed entry that begins with {_MAGIC!r}, got {bytes(data[:4])!r}")
    count = int.from_bytes(data[len(_MAGIC) : _HEADER], "little")
    keys_at = _HEADER + count * _PER_KEY
    if len(data) < max(keys_at, _HEADER):
        raise BadData(f"expected {keys_at} bytes or more for {count} keys, got {len(data)}")
    key_lengths = np.frombuffer(data, "<u4", count, _HEADER)
    lengths = np.frombuffer(data, "<i4", count, _HEADER + 4 * count)
    events = np.frombuffer(data, "<i8", count, _HEADER + 8 * count).tolist()
    partials_at = keys_at + int(key_lengths.sum(dtype=np.int64))
    here = np.maximum(lengths, 0).astype(np.int64)
    if len(data) != partials_at + int(here.sum()):
        raise BadData(f"expected {partials_at + int(here.sum())} bytes, got {len(data)}")
    key_ends = (keys_at + np.cumsum(key_lengths, dtype=np.int64)).tolist()
    partial_ends = (partials_at + np.cumsum(here)).tolist()
    entries: dict[bytes, Entry] = {}
    key_start, start = keys_at, partials_at
    for key_end, end, length, seen in zip(key_ends, partial_ends, lengths.tolist(), events, strict=True):
        key = data[key_start:key_end]
        entries[key] = Entry(seen, None, -length) if length < 0 else Entry(seen, data[start:end])
        key_start, start = key_end, end
    return entries
