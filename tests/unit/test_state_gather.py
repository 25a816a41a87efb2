"""What is held of orders and users: comes back as it was, harmed bytes are refused, golden bytes."""

from __future__ import annotations

import numpy as np
import pytest
from engine import ShardedMap

from sketches.errors import BadData
from state.bucket_state import BUCKETS, NEVER_MS
from state.gather_state import (
    HAPPENED_TYPE,
    GatherState,
    Happened,
    Order,
    first_happened_ms,
    read_happened,
    read_orders,
    write_happened,
    write_orders,
)
from state.packed import Entry

ORDERS = [Order(-5, 10, 3, b'["a","b"]'), Order(50, 2**60, 2**32 - 1, b"null")]
HAPPENED = [Happened(-(2**62), 1, 1), Happened(7, 0xFFFF, 2**32 - 1), Happened(7 + 2**40, 4, 2)]


def test_orders_come_back_in_the_bytes_that_are_documented() -> None:
    data = write_orders(ORDERS)
    assert data == (
        b"\x01"
        + b"\xfb" + b"\xff" * 7 + bytes([10] + [0] * 7) + bytes([3, 0, 0, 0, 9, 0, 0, 0]) + b'["a","b"]'
        + bytes([50] + [0] * 7) + bytes([0] * 7 + [16]) + b"\xff" * 4 + bytes([4, 0, 0, 0]) + b"null"
    )  # fmt: skip
    assert read_orders(data) == ORDERS
    assert write_orders([]) == b"" and read_orders(b"") == []


def test_what_happened_comes_back_in_the_bytes_that_are_documented() -> None:
    data = write_happened(HAPPENED)
    assert data == (
        b"\x01"
        + bytes([0] * 7 + [0xC0]) + bytes([1, 0]) + bytes([1, 0, 0, 0])
        + bytes([7] + [0] * 7) + b"\xff\xff" + b"\xff" * 4
        + bytes([7, 0, 0, 0, 0, 1, 0, 0]) + bytes([4, 0]) + bytes([2, 0, 0, 0])
    )  # fmt: skip
    assert read_happened(data) == HAPPENED
    assert write_happened(np.array(HAPPENED, HAPPENED_TYPE)) == data
    assert first_happened_ms(data) == -(2**62)
    assert (
        write_happened([]) == write_happened(np.empty(0, HAPPENED_TYPE)) == b"" and read_happened(b"") == []
    )


@pytest.mark.parametrize(
    ("data", "read", "whole"),
    [
        (write_orders(ORDERS), read_orders, {0, 34}),
        (write_happened(HAPPENED), read_happened, {0, 15, 29}),
    ],
)
def test_every_truncation_surplus_and_other_version_is_refused(data, read, whole) -> None:
    """But for a cut between two of them, which the packed entry around them would tell."""
    for length in set(range(len(data))) - whole:
        with pytest.raises(BadData):
            read(data[:length])
    for wrong in (data + b"\0", b"\x02" + data[1:], b"\0"):
        with pytest.raises(BadData):
            read(wrong)


def test_a_length_that_cannot_be_is_refused_before_anything_is_allocated() -> None:
    data = bytearray(write_orders(ORDERS[:1]))
    data[21:25] = b"\xff" * 4
    with pytest.raises(BadData, match="expected items of 4294967295 bytes, got 9"):
        read_orders(bytes(data))


def test_buckets_hold_entities_while_they_have_something() -> None:
    held = ShardedMap()
    state = GatherState(held)
    entities = {b'["x","1"]': Entry(3, write_orders(ORDERS[:1])), b'["x","2"]': Entry(1, b"\x01z")}
    state.write(9, entities)
    assert state.read(9) == entities and state.read(8) == {}
    assert state.held(9)[1] == sum(len(key) + len(value) for key, value in held.shards[""].items())
    state.write(9, {})
    assert not held.shards[""]


def test_a_bucket_of_another_form_and_an_index_cut_short_are_refused() -> None:
    held = ShardedMap()
    held.put((9).to_bytes(2, "big"), b"\x01rest")
    with pytest.raises(BadData, match="expected a packed entry"):
        GatherState(held).read(9)
    for length in (0, 8, 8 * BUCKETS - 1, 8 * BUCKETS + 1):
        held.put(b"", bytes(length))
        with pytest.raises(BadData, match="expected an index of 512 bytes"):
            GatherState(held).due()
    held.put(b"", bytes(8 * BUCKETS))
    assert (GatherState(held).due() == 0).all() and NEVER_MS == 2**63 - 1
