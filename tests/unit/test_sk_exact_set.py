"""Exact membership by hash."""

from __future__ import annotations

import numpy as np
import pytest

from sketches.codec import Family, encode
from sketches.errors import BadArgument, BadData
from sketches.exact_set import ExactSet
from sketches.hashing import SEED, hash_longs, hash_strings, seed_hash


def filled(stop: int) -> ExactSet:
    sketch = ExactSet()
    sketch.add_many(hash_longs(np.arange(stop)))
    return sketch


def image(payload: bytes) -> bytes:
    return encode(Family.EXACT_SET, payload, seed_hash=seed_hash(SEED))


def test_a_value_is_found_where_it_was_added_and_told_as_new_once() -> None:
    sketch = ExactSet()
    assert sketch.add_many(hash_strings(["a", "", "a", "é"])).tolist() == [True, True, False, True]
    assert sketch.add_many(hash_strings(["b", "", "b"])).tolist() == [True, False, False]
    assert sketch.contains_many(hash_strings(["é", "c", "b"])).tolist() == [True, False, True]
    assert (sketch.members, sketch.false_positive_rate) == (4, 0.0)
    assert filled(100_000).contains_many(hash_longs(np.arange(100_000, 200_000))).sum() == 0


def test_values_that_share_their_first_word_are_different() -> None:
    sketch = ExactSet()
    assert sketch.add_many(np.array([(1, 2), (1, 3)], dtype=np.uint64)).all()
    assert sketch.contains_many(np.array([(1, 4)], dtype=np.uint64)).tolist() == [False]


@pytest.mark.parametrize("values", [0, 1, 1000])
def test_an_image_comes_back_as_it_was(values: int) -> None:
    sketch = filled(values)
    restored = ExactSet.deserialize(sketch.serialize())
    assert restored.serialize() == sketch.serialize() == image(hash_longs(np.arange(values)).tobytes())
    assert restored.add_many(hash_longs(np.arange(1500))).sum() == 1500 - values


def test_what_is_no_array_of_hashes_is_refused() -> None:
    for call in (filled(1).add_many, filled(1).contains_many):
        with pytest.raises(BadArgument, match="hashes: expected"):
            call(np.zeros(3, dtype=np.uint64))


def test_harmed_images_are_refused() -> None:
    data = filled(3).serialize()
    for length in range(len(data)):
        with pytest.raises(BadData):
            ExactSet.deserialize(data[:length])
    with pytest.raises(BadData, match="values of 16 bytes each"):
        ExactSet.deserialize(image(b"\0" * 17))
    with pytest.raises(BadData, match="expected 2 different values, got 1"):
        ExactSet.deserialize(image(b"\0" * 32))
