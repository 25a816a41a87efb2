"""The keyed state of one shard of what is gathered by order, user or the like before windows count it.

| map | key | value |
|---|---|---|
| `gathered` | bucket, see `state.bucket_state` | what each entity has, packed, see `state.packed` |
| `clock` | as in `state.window_state` | |

An entity is a key of the metric and, as the last part of the same JSON array, the value that events are
gathered by. What one has is a version byte, 1, and then, little-endian, its open *orders* (those of kind
`top_pairs`)::

    i64  first event, i64 last event, u32 events, u32 n, n bytes: the items as JSON; null where there are
         too many

or what *happened* to it (kind `funnel`), by time, at one time by steps::

    i64  time, u16 the steps that it is one of, a bit each, u32 events
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np

from sketches.errors import BadData
from state.bucket_state import BucketState
from state.clock_state import ByteMap
from state.packed import Entry, pack, unpack

_VERSION = b"\x01"
_ORDER = struct.Struct("<qqII")
_HAPPENED = struct.Struct("<qHI")
HAPPENED_TYPE = np.dtype([("time_ms", "<i8"), ("steps", "<u2"), ("events", "<u4")])
"""What happened as rows of an array, of the same bytes."""


class Order(NamedTuple):
    """Events of one order that may still get more.

    Attributes:
        first_ms: its first event.
        last_ms: its last event.
        events: how many it has.
        items: their different items, sorted, a JSON array; `null` where there are too many.
    """

    first_ms: int
    last_ms: int
    events: int
    items: bytes


class Happened(NamedTuple):
    """Events of one entity at one time that are of the same steps.

    Attributes:
        time_ms: when.
        steps: bit k is set where they are of step k, counted from 0.
        events: how many.
    """

    time_ms: int
    steps: int
    events: int


class GatherState(BucketState[Entry]):
    """The buckets of the current shard; `events` of an entry are those that are held of the entity."""

    def __init__(self, gathered: ByteMap) -> None:
        """Wrap the map; nothing is read yet."""
        super().__init__(gathered, pack, unpack)


def write_orders(orders: Iterable[Order]) -> bytes:
    """Write the open orders of an entity; empty bytes where there are none."""
    parts = chain.from_iterable(
        (_ORDER.pack(first_ms, last_ms, events, len(items)), items)
        for first_ms, last_ms, events, items in orders
    )
    written = b"".join(parts)
    return _VERSION + written if written else b""


def read_orders(data: bytes) -> list[Order]:
    """Read what `write_orders` wrote.

    Raises:
        BadData: where the bytes are of another version, cut short or too long.
    """
    at, orders = _body(data, "orders"), []
    while at < len(data):
        start = at + _ORDER.size
        if start > len(data):
            raise BadData(f"expected an order of {_ORDER.size} bytes or more, got {len(data) - at}")
        first_ms, last_ms, events, length = _ORDER.unpack_from(data, at)
        at = start + length
        if at > len(data):
            raise BadData(f"expected items of {length} bytes, got {len(data) - start}")
        orders.append(Order(first_ms, last_ms, events, data[start:at]))
    return orders


def write_happened(happened: Sequence[Happened] | np.ndarray) -> bytes:
    """Write what happened to an entity, given in order; empty bytes for nothing.

    Args:
        happened: as tuples, or as `(n,)` rows of `HAPPENED_TYPE`.
    """
    if isinstance(happened, np.ndarray):
        written = happened.tobytes()
    else:
        written = b"".join([_HAPPENED.pack(*one) for one in happened])
    return _VERSION + written if written else b""


def read_happened(data: bytes) -> list[Happened]:
    """Read what `write_happened` wrote.

    Raises:
        BadData: where the bytes are of another version, cut short or too long.
    """
    body = memoryview(data)[_body(data, "events by time") :]
    if len(body) % _HAPPENED.size:
        raise BadData(f"expected events by time of {_HAPPENED.size} bytes each, got {len(body)} bytes")
    return list(map(Happened._make, _HAPPENED.iter_unpack(body)))


def first_happened_ms(data: bytes) -> int:
    """Read only the time of the first entry that `write_happened` wrote, in milliseconds.

    Raises:
        BadData: there are too few bytes.
    """
    if len(data) < len(_VERSION) + _HAPPENED.size:
        raise BadData(f"expected events by time, got {len(data)} bytes")
    return _HAPPENED.unpack_from(data, len(_VERSION))[0]


def _body(data: bytes, what: str) -> int:
    """Return where that begins which comes after the version."""
    if not data:
        return 0
    if data[:1] != _VERSION or len(data) == 1:
        raise BadData(f"expected {what} of version {_VERSION[0]}, got {bytes(data[:1])!r}")
    return 1
