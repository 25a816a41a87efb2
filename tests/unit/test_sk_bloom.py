"""Bloom filters by injected hashes, against exact sets, and their image byte by byte."""

from __future__ import annotations

import math

import numpy as np
import pytest

from sketches.bloom import MAX_BITS, Bloom
from sketches.codec import Family, encode
from sketches.errors import BadArgument, BadData
from sketches.hashing import SEED, hash_longs, hash_strings, seed_hash


def words(*values: int) -> np.ndarray:
    return hash_longs(np.array(values, dtype=np.int64))[:, 0]


def span(start: int, stop: int) -> np.ndarray:
    return hash_longs(np.arange(start, stop))[:, 0]


def filled(stop: int, num_hashes: int = 4, num_bits: int = 1000) -> Bloom:
    sketch = Bloom(num_hashes, num_bits)
    sketch.add_many(span(0, stop))
    return sketch


def image(payload: bytes, *parameters: int, flags: int = 0) -> bytes:
    return encode(Family.BLOOM, payload, flags=flags, parameters=parameters, seed_hash=seed_hash(SEED))


def test_a_value_sets_the_bit_that_its_word_scales_to() -> None:
    sketch = Bloom(1, 8)
    sketch.add_many(np.array([0, 3 << 61, 2**64 - 1], dtype=np.uint64))
    assert sketch.serialize()[-1] == 0b1000_1001
    assert (sketch.ones, sketch.fill) == (3, 3 / 8)


def test_what_was_added_is_found_whatever_it_is() -> None:
    values = ["", "é", "a" * 1000, "0", *map(str, range(500))]
    sketch = Bloom(*Bloom.suggest(len(values), 0.01))
    sketch.add_many(hash_strings(values)[:, 0])
    assert sketch.contains_many(hash_strings(values)[:, 0]).all()
    assert sketch.contains_many(np.empty(0, dtype=np.uint64)).tolist() == []


def test_each_value_is_told_as_new_once_at_its_first_place() -> None:
    sketch = Bloom(7, 10_000)
    assert sketch.add_many(words(1, 2, 1, 3, 2)).tolist() == [True, True, False, True, False]
    assert sketch.add_many(words(3, 4, 4)).tolist() == [False, True, False]
    assert sketch.add_many(np.empty(0, dtype=np.uint64)).tolist() == []


def test_looking_changes_nothing() -> None:
    sketch = filled(100)
    before = sketch.serialize()
    sketch.contains_many(span(0, 500))
    assert sketch.lower_bound() < sketch.estimate() < sketch.upper_bound()
    assert sketch.serialize() == before


def test_suggested_parameters_are_those_of_the_theory() -> None:
    assert Bloom.suggest(1_000_000, 0.01) == (7, 9_592_955)
    assert Bloom.suggest(1, 0.5)[1] >= 8
    for capacity, rate in [(1000, 0.5), (1000, 0.001), (123_456, 0.03), (50, 1e-9)]:
        num_hashes, num_bits = Bloom.suggest(capacity, rate)
        expected = (1 - math.exp(-num_hashes * capacity / num_bits)) ** num_hashes
        assert expected == pytest.approx(rate, rel=0.01)
        assert num_bits / capacity <= 1.06 * math.log2(1 / rate) / math.log(2)


@pytest.mark.parametrize(
    ("capacity", "rate", "named"),
    [(0, 0.1, "capacity"), (10, 0.0, "rate"), (10, 1.0, "rate"), (MAX_BITS, 0.01, "capacity")],
)
def test_a_wish_that_cannot_be_met_is_refused_by_name(capacity: int, rate: float, named: str) -> None:
    with pytest.raises(BadArgument, match=f"^{named}: expected"):
        Bloom.suggest(capacity, rate)


@pytest.mark.parametrize(("num_hashes", "num_bits"), [(0, 8), (33, 8), (1, 7), (1, MAX_BITS + 1)])
def test_parameters_out_of_range_are_refused(num_hashes: int, num_bits: int) -> None:
    with pytest.raises(BadArgument, match="expected"):
        Bloom(num_hashes, num_bits)


@pytest.mark.parametrize(
    "wrong", [[1, 2], np.array([1, 2]), np.zeros((2, 2), dtype=np.uint64), np.zeros((), dtype=np.uint64)]
)
def test_what_is_no_array_of_words_is_refused(wrong: object) -> None:
    for call in (filled(3).add_many, filled(3).contains_many):
        with pytest.raises(BadArgument, match="words: expected"):
            call(wrong)


def test_merging_needs_the_same_parameters() -> None:
    for other in (Bloom(4, 1001), Bloom(5, 1000)):
        with pytest.raises(BadArgument, match=r"expected num_hashes and num_bits \(4, 1000\)"):
            filled(3).merge(other)


def test_a_full_filter_says_so() -> None:
    sketch = filled(5000, num_bits=64)
    assert (sketch.fill, sketch.false_positive_rate) == (1.0, 1.0)
    assert sketch.estimate() == sketch.upper_bound() == math.inf
    assert 0 < sketch.lower_bound() < 5000


def test_bounds_lie_around_the_estimate_and_widen() -> None:
    sketch = filled(150)
    below = [sketch.lower_bound(number) for number in (3, 2, 1)]
    above = [sketch.upper_bound(number) for number in (1, 2, 3)]
    ordered = [*below, sketch.estimate(), *above]
    assert ordered == sorted(set(ordered))
    assert Bloom(4, 1000).estimate() == Bloom(4, 1000).lower_bound() == Bloom(4, 1000).upper_bound() == 0
    with pytest.raises(BadArgument, match="num_std_dev"):
        sketch.lower_bound(4)


@pytest.mark.parametrize("values", [0, 1, 7, 50, 150, 2000])
@pytest.mark.parametrize("num_bits", [8, 13, 1000, 1001])
def test_an_image_comes_back_as_it_was(values: int, num_bits: int) -> None:
    sketch = filled(values, num_bits=num_bits)
    restored = Bloom.deserialize(sketch.serialize())
    assert restored.serialize() == sketch.serialize()
    assert restored.ones == sketch.ones
    more = span(0, 4000)
    assert restored.add_many(more).tolist() == sketch.add_many(more).tolist()


def test_the_bytes_are_those_that_are_documented() -> None:
    sketch = Bloom(1, 40)
    assert sketch.serialize() == image(b"", 1, 40, flags=1)
    sketch.add_many(np.array([2**63], dtype=np.uint64))
    assert sketch.serialize() == image(bytes([20, 0, 0, 0]), 1, 40, flags=1)
    sketch.add_many(np.array([0], dtype=np.uint64))
    assert sketch.serialize() == image(bytes([1, 0, 0b1_0000, 0, 0]), 1, 40)


@pytest.mark.parametrize("values", [3, 300])
def test_every_truncation_and_every_surplus_is_refused(values: int) -> None:
    data = filled(values).serialize()
    for length in range(len(data)):
        with pytest.raises(BadData):
            Bloom.deserialize(data[:length])
    with pytest.raises(BadData):
        Bloom.deserialize(data + b"\0")


@pytest.mark.parametrize(
    ("harmed", "named"),
    [
        (image(b"\0" * 5, 0, 40), "parameters in range"),
        (image(b"", 33, 40, flags=1), "parameters in range"),
        (image(b"\0", 1, 7), "parameters in range"),
        (image(b"\0" * 6, 1, 40), "5 bytes of bits"),
        (image(b"\0" * 4 + b"\x80", 1, 39), "bits below 39"),
        (image(b"\0" * 3, 1, 40, flags=1), "whole places"),
        (image(b"\0" * 4 + b"\1\0\0\0", 1, 40, flags=1), "less than 5 bytes"),
        (image(bytes([40, 0, 0, 0]), 1, 40, flags=1), "places below 40"),
        (image(bytes([2, 0, 0, 0, 2, 0, 0, 0]), 1, 80, flags=1), "ascending places"),
        (image(b"\0" * 5, 1, 40, flags=2), "flags"),
    ],
)
def test_an_image_that_cannot_be_is_refused_by_what_is_wrong(harmed: bytes, named: str) -> None:
    with pytest.raises(BadData, match=named):
        Bloom.deserialize(harmed)
