"""Count-Min by injected hashes, against exact counts, and its image byte by byte."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from sketches.codec import Family, encode
from sketches.count_min import CountMin
from sketches.errors import BadArgument, BadData
from sketches.hashing import hash_longs, hash_strings


def filled(stop: int, num_hashes: int = 4, num_buckets: int = 50) -> CountMin:
    sketch = CountMin(num_hashes, num_buckets)
    values = np.arange(stop)
    sketch.update_many(hash_longs(values), values % 7 * 1000)
    return sketch


def test_injected_hashes_count_in_exactly_their_buckets() -> None:
    sketch = CountMin(3, 4)
    # The upper half of h1 + i * h2, scaled to 4 buckets: quarters of the 64-bit circle.
    hashes = np.array([(0, 1 << 62), (3 << 62, 1 << 63)], dtype=np.uint64)
    sketch.update_many(hashes, np.array([5, 2]))
    assert sketch._counters.tolist() == [[5, 0, 0, 2], [0, 7, 0, 0], [0, 0, 5, 2]]
    assert sketch.estimate_many(hashes).tolist() == [5, 2]


def test_an_item_that_comes_several_times_in_a_batch_counts_each_time() -> None:
    words = ["a", "b", "a", "", "é", "a", ""]
    sketch = CountMin(5, 1000)
    sketch.update_many(hash_strings(words))
    sketch.update_many(hash_strings(words), np.full(len(words), 10))
    expected = {word: 11 * count for word, count in Counter(words).items()}
    assert dict(zip(words, sketch.estimate_many(hash_strings(words)).tolist(), strict=True)) == expected
    assert sketch.total_weight == 77


def test_bounds_follow_from_the_estimate_and_the_total_weight() -> None:
    sketch = CountMin(2, 10)
    sketch.update_many(hash_longs(np.arange(2)), np.array([1000, 100]))
    error = math.floor(math.e / 10 * 1100)
    estimates = sketch.estimate_many(hash_longs(np.arange(3)))
    assert sketch.upper_bound(hash_longs(np.arange(3))).tolist() == estimates.tolist()
    expected = [max(0, estimate - error) for estimate in estimates.tolist()]
    assert sketch.lower_bound(hash_longs(np.arange(3))).tolist() == expected
    assert expected[0] > 0


def test_suggested_parameters_reach_the_wanted_error() -> None:
    assert CountMin.suggest(epsilon=0.005, delta=0.01) == (5, 544)
    for epsilon, delta in [(0.3, 0.5), (0.01, 0.001), (0.9, 0.9)]:
        sketch = CountMin(*CountMin.suggest(epsilon, delta))
        assert sketch.epsilon <= max(epsilon, math.e / 2)
        assert sketch.confidence >= 1 - delta


@pytest.mark.parametrize(("epsilon", "delta"), [(0, 0.1), (1, 0.1), (0.1, 0), (0.1, 1), (float("nan"), 0.1)])
def test_shares_out_of_range_are_refused(epsilon: float, delta: float) -> None:
    with pytest.raises(BadArgument):
        CountMin.suggest(epsilon, delta)


@pytest.mark.parametrize("parameters", [(0, 10), (33, 10), (3, 1), (2, 2**26)])
def test_parameters_out_of_range_are_refused(parameters: tuple[int, int]) -> None:
    with pytest.raises(BadArgument, match="expected"):
        CountMin(*parameters)


@pytest.mark.parametrize(
    "weights",
    [
        np.array([1, -1]),
        np.array([1.0, 2.0]),
        np.array([1]),
        [1, 2],
        np.array([2**128, 1], dtype=object),
        np.array([1, -1], dtype=object),
        np.array([1, 1.0], dtype=object),
    ],
)
def test_wrong_weights_are_refused_and_change_nothing(weights: object) -> None:
    sketch = filled(10)
    before = sketch.serialize()
    with pytest.raises(BadArgument, match="weight"):
        sketch.update_many(hash_longs(np.arange(2)), weights)
    assert sketch.serialize() == before


def test_a_total_weight_beyond_128_bits_is_refused_in_a_merge() -> None:
    left, right = CountMin(2, 4), CountMin(2, 4)
    for sketch in (left, right):
        sketch.update_many(hash_longs(np.arange(1)), np.array([2**127], dtype=object))
    with pytest.raises(BadArgument, match="total weight"):
        left.merge(right)
    assert left.serialize() == right.serialize()


@pytest.mark.parametrize("weight", [2**62 - 1, 2**62, 2**63 - 1, 2**64, 2**100])
@pytest.mark.parametrize("items", [1, 2, 300])
def test_a_total_on_either_side_of_63_bits_is_exact(weight: int, items: int) -> None:
    hashes, weights = hash_longs(np.arange(items)), np.full(items, weight, dtype=object)
    at_once, merged = CountMin(4, 2000), CountMin(4, 2000)
    at_once.update_many(hashes, weights)
    for number in range(items):
        one = CountMin(4, 2000)
        one.update_many(hashes[number : number + 1], weights[number : number + 1])
        merged.merge(CountMin.deserialize(one.serialize()))
    assert at_once.serialize() == merged.serialize() == CountMin.deserialize(at_once.serialize()).serialize()
    assert at_once.serialize()[3] == (1 if items * weight < 2**63 else 2), "the version"
    assert merged.total_weight == items * weight
    assert merged.estimate_many(hashes).tolist() == [weight] * items
    error = math.floor(merged.epsilon * items * weight)
    assert merged.lower_bound(hashes).tolist() == [max(0, weight - error)] * items


def test_longs_that_add_up_to_more_than_63_bits_in_one_update_do_not_wrap_around() -> None:
    sketch = CountMin(3, 4)
    sketch.update_many(hash_longs(np.zeros(5, np.int64)), np.full(5, 2**63 - 1))
    sketch.update_many(hash_longs(np.zeros(1, np.int64)))
    assert sketch.estimate_many(hash_longs(np.zeros(1, np.int64))).tolist() == [5 * (2**63 - 1) + 1]


@pytest.mark.parametrize("items", [1, 200])
def test_every_truncation_of_a_wide_image_and_any_trailing_byte_is_refused(items: int) -> None:
    sketch = filled(items)
    sketch.update_many(hash_longs(np.arange(items)), np.full(items, 2**63, dtype=object))
    image = sketch.serialize()
    payload = image[20:]
    for broken in [*(payload[:length] for length in range(len(payload))), payload + b"\0"]:
        with pytest.raises(BadData):
            CountMin.deserialize(image_of(broken, image[4], (4, 50), version=2))
    with pytest.raises(BadData):
        CountMin.deserialize(image_of(payload, image[4] | 2, (4, 50), version=2))
    with pytest.raises(BadData):
        CountMin.deserialize(
            image_of((2**64).to_bytes(16, "little") + payload[16:], image[4], (4, 50), version=2)
        )


def test_a_wide_image_of_a_total_that_63_bits_hold_is_refused() -> None:
    payload = b"\1" + bytes(15) + b"\1" + bytes(15) + bytes(16)
    with pytest.raises(BadData, match="width"):
        CountMin.deserialize(image_of(payload, 0, (1, 2), version=2))


@pytest.mark.parametrize("other", [CountMin(3, 50), CountMin(4, 51)])
def test_a_merge_of_other_parameters_is_refused(other: CountMin) -> None:
    with pytest.raises(BadArgument, match="merge"):
        filled(3).merge(other)


@pytest.mark.parametrize("scale", [1, 100, 10_000, 10**9, 10**15])
@pytest.mark.parametrize("items", [0, 1, 10, 1000])
def test_an_image_restores_a_sketch_of_any_width_and_fill(items: int, scale: int) -> None:
    sketch = CountMin(3, 100)
    hashes = hash_longs(np.arange(items))
    sketch.update_many(hashes, np.full(items, scale))
    restored = CountMin.deserialize(sketch.serialize())
    assert restored.total_weight == items * scale
    assert restored.estimate_many(hashes).tolist() == sketch.estimate_many(hashes).tolist()
    restored.update_many(hashes)
    sketch.update_many(hashes)
    assert restored.serialize() == sketch.serialize()


def test_a_nearly_empty_sketch_is_small() -> None:
    sketch = CountMin(5, 544)
    sketch.update_many(hash_longs(np.arange(10)))
    assert len(sketch.serialize()) <= 12 + 8 + 8 + 5 * 50


@pytest.mark.parametrize("items", [0, 3, 200])
def test_every_truncation_and_any_trailing_byte_is_refused(items: int) -> None:
    image = filled(items).serialize()
    for length in range(len(image)):
        with pytest.raises(BadData):
            CountMin.deserialize(image[:length])
    with pytest.raises(BadData):
        CountMin.deserialize(image + b"\0")


def image_of(payload: bytes, flags: int, parameters: tuple[int, int] = (1, 4), version: int = 1) -> bytes:
    return encode(
        Family.COUNT_MIN, payload, version=version, flags=flags, parameters=parameters, seed_hash=0x93CC
    )


def total(weight: int) -> bytes:
    return weight.to_bytes(8, "little", signed=True)


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(image_of(total(3) + b"\1\1\1\1", 0), id="counters that do not sum up"),
        pytest.param(image_of(total(-1) + bytes(4), 0), id="a negative total"),
        pytest.param(image_of(total(4) + b"\1\1\1\1", 8), id="an unknown flag"),
        pytest.param(image_of(total(4) + b"\1\1\1\1", 0, (0, 4)), id="no rows"),
        pytest.param(image_of(total(4) + b"\1\1\1\1", 0, (2**31, 2**31)), id="more counters than memory"),
        pytest.param(image_of(total(4) + bytes(3), 0), id="too few counters"),
        pytest.param(image_of(total(2) + b"\4\0\0\0\2", 1), id="a place past the end"),
        pytest.param(image_of(total(2) + b"\1\0\0\0\1\0\0\0\1\1", 1), id="a place twice"),
        pytest.param(image_of(total(2) + b"\2\0\0\0\1\0\0\0\1\1", 1), id="places out of order"),
        pytest.param(image_of(total(2) + b"\1\0\0\0", 1), id="an entry cut in two"),
        pytest.param(image_of(total(0)[:7], 0), id="no total"),
        pytest.param(
            image_of(total(2**62) + total(2**62) * 5, 6, (1, 5)),
            id="counters that overflow back to the total",
        ),
    ],
)
def test_an_image_at_odds_with_itself_is_refused(image: bytes) -> None:
    with pytest.raises(BadData):
        CountMin.deserialize(image)


def test_the_image_that_these_are_variants_of_is_read() -> None:
    assert CountMin.deserialize(image_of(total(4) + b"\1\1\1\1", 0)).total_weight == 4
    assert CountMin.deserialize(image_of(total(2) + b"\3\0\0\0\2", 1)).total_weight == 2


def test_reads_do_not_change_a_sketch() -> None:
    sketch = filled(100)
    before = sketch.serialize()
    hashes = hash_longs(np.arange(50))
    sketch.estimate_many(hashes), sketch.lower_bound(hashes), sketch.upper_bound(hashes)
    assert sketch.serialize() == before
