"""Hashes against mmh3 itself, and against DataSketches through the sketches it fills."""

from __future__ import annotations

import struct

import mmh3
import numpy as np
import pytest
from datasketches import hll_sketch, tgt_hll_type
from hypothesis import example, given
from hypothesis import strategies as st

from sketches.errors import BadArgument
from sketches.hashing import (
    hash_bools,
    hash_doubles,
    hash_longs,
    hash_packed,
    hash_strings,
    seed_hash,
)
from sketches.hyperloglog import HyperLogLog

LONGS = st.integers(min_value=-(2**63), max_value=2**63 - 1)


def reference(values: list[bytes]) -> list[tuple[int, int]]:
    return [struct.unpack("<QQ", mmh3.mmh3_x64_128_digest(value, 9001)) for value in values]


def pairs(hashes: np.ndarray) -> list[tuple[int, int]]:
    assert hashes.dtype == np.uint64
    assert hashes.shape[1:] == (2,)
    return [tuple(row) for row in hashes.tolist()]


@given(st.lists(st.text(max_size=100)))
@example(["", "\0", "é", "日本語", "🙂" * 40, "a" * 500])
def test_strings_hash_as_their_utf8_bytes(values: list[str]) -> None:
    assert pairs(hash_strings(values)) == reference([value.encode() for value in values])


def test_a_lone_surrogate_hashes_instead_of_failing() -> None:
    assert pairs(hash_strings(["a", "\ud800"])) == reference([b"a", b"\xed\xa0\x80"])


@given(st.lists(st.binary(max_size=150)), st.binary(max_size=9))
@example([bytes([i]) * i for i in range(150)], b"")
def test_packed_text_hashes_as_one_by_one(values: list[bytes], before: bytes) -> None:
    offsets = np.cumsum([len(before), *map(len, values)])
    data = np.frombuffer(before + b"".join(values) + b"after", dtype=np.uint8)
    assert pairs(hash_packed(data, offsets)) == reference(values)


def test_packed_text_over_several_chunks_hashes_as_one_by_one() -> None:
    values = [b"x" * (i % 41) + str(i).encode() for i in range(10_001)]
    offsets = np.cumsum([0, *map(len, values)])
    got = hash_packed(np.frombuffer(b"".join(values), dtype=np.uint8), offsets)
    assert pairs(got) == reference(values)


@pytest.mark.parametrize("offsets", [[], [0, 4], [2, 1, 3], [-1, 2]])
def test_offsets_that_do_not_fit_the_data_are_refused(offsets: list[int]) -> None:
    with pytest.raises(BadArgument, match="offsets"):
        hash_packed(np.zeros(3, dtype=np.uint8), np.array(offsets, dtype=np.int64))


@given(st.lists(LONGS))
def test_longs_hash_as_eight_little_endian_bytes(values: list[int]) -> None:
    expected = reference([struct.pack("<q", value) for value in values])
    assert pairs(hash_longs(np.array(values, dtype=np.int64))) == expected


@given(st.lists(st.floats()))
def test_doubles_hash_as_their_canonical_bytes(values: list[float]) -> None:
    canonical = [
        b"\0\0\0\0\0\0\xf8\x7f" if value != value else struct.pack("<d", value or 0.0) for value in values
    ]
    assert pairs(hash_doubles(np.array(values, dtype=np.float64))) == reference(canonical)


def test_bools_hash_as_zero_and_one() -> None:
    expected = reference([struct.pack("<q", value) for value in (1, 0, 1)])
    assert pairs(hash_bools(np.array([True, False, True]))) == expected


@pytest.mark.parametrize(
    ("function", "values"),
    [
        (hash_longs, np.array([1.5])),
        (hash_longs, np.array([2**64 - 1], dtype=np.uint64)),
        (hash_longs, np.array([[1]])),
        (hash_doubles, np.array(["1.5"])),
        (hash_bools, np.array([0, 1])),
    ],
)
def test_columns_of_another_type_are_refused(function, values: np.ndarray) -> None:
    with pytest.raises(BadArgument):
        function(values)


def test_inputs_are_not_changed() -> None:
    longs, doubles = np.arange(5), np.array([-0.0, float("nan")])
    hash_longs(longs)
    hash_doubles(doubles)
    assert longs.tolist() == [0, 1, 2, 3, 4]
    assert np.signbit(doubles[0])


def test_each_type_hashes_as_datasketches_does() -> None:
    longs, doubles, texts = [-1, 0, 7, 2**62], [0.1, -0.0, 1e300, float("nan")], ["x", "é", "long" * 30]
    theirs = hll_sketch(12, tgt_hll_type.HLL_8)
    for value in [*longs, *doubles, *texts]:
        theirs.update(value)
    ours = HyperLogLog(12)
    ours.update_many(hash_longs(np.array(longs)))
    ours.update_many(hash_doubles(np.array(doubles)))
    ours.update_many(hash_strings(texts))
    assert ours.serialize() == HyperLogLog.deserialize(theirs.serialize_compact()).serialize()


def test_the_seed_hash_is_that_of_datasketches() -> None:
    # 37836 (0x93cc) is stored in every Theta sketch that uses the default seed.
    assert seed_hash(9001) == 0x93CC
    with pytest.raises(BadArgument):
        seed_hash(-1)
