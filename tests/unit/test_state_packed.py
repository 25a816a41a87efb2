"""Packed entries: what goes in comes out, and harmed bytes are refused."""

from __future__ import annotations

import pytest

from sketches.errors import BadData
from state.packed import Entry, pack, unpack

ENTRIES = {b"[]": Entry(3, b"abc"), b'["k\xc3\xb6"]': Entry(2**40, None, 16_457), b'[""]': Entry(1, b"\0")}


def test_packed_entries_come_back_in_their_order() -> None:
    assert list(unpack(pack(ENTRIES)).items()) == list(ENTRIES.items())
    assert unpack(pack({})) == {}


def test_the_bytes_are_those_that_are_documented() -> None:
    data = pack({b"k": Entry(5, b"xy"), b"apart": Entry(-1, None, 2)})
    assert data == (
        b"SSP\x02" + bytes([2, 0, 0, 0])
        + bytes([1, 0, 0, 0, 5, 0, 0, 0])
        + bytes([2, 0, 0, 0, 254, 255, 255, 255])
        + bytes([5] + [0] * 7) + b"\xff" * 8
        + b"kapart" + b"xy"
    )  # fmt: skip


def test_every_truncation_and_every_surplus_is_refused() -> None:
    data = pack(ENTRIES)
    for length in range(len(data)):
        with pytest.raises(BadData):
            unpack(data[:length])
    with pytest.raises(BadData):
        unpack(data + b"\0")


def test_another_version_is_refused_by_what_was_expected() -> None:
    with pytest.raises(BadData, match="expected a packed entry"):
        unpack(b"SSP\x01" + pack(ENTRIES)[4:])


def test_a_count_that_cannot_be_is_refused_before_anything_is_allocated() -> None:
    with pytest.raises(BadData, match="for 4294967295 keys"):
        unpack(b"SSP\x02" + b"\xff" * 4 + b"\0" * 64)
