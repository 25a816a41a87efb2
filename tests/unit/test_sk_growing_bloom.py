"""Growing Bloom filters: every value found, the rate held while they grow, images that come back."""

from __future__ import annotations

import math
import struct

import numpy as np
import pytest

from sketches.bloom import Bloom
from sketches.codec import Family, encode
from sketches.errors import BadArgument, BadData
from sketches.growing_bloom import MAX_CAPACITY, GrowingBloom
from sketches.hashing import SEED, hash_longs, seed_hash


def span(start: int, stop: int) -> np.ndarray:
    return hash_longs(np.arange(start, stop))[:, 0]


def grown(values: int, capacity: int = 50, **options: float) -> GrowingBloom:
    sketch = GrowingBloom(capacity, 0.01, **options)
    sketch.add_many(span(0, values))
    return sketch


def image(payload: bytes, *parameters: int) -> bytes:
    return encode(Family.GROWING_BLOOM, payload, parameters=parameters, seed_hash=seed_hash(SEED))


PARAMETERS = (50, 10_000, 1_500_000, 150_000)


def test_a_batch_of_any_size_grows_as_many_filters_as_it_needs() -> None:
    at_once, bit_by_bit = grown(2000), GrowingBloom(50, 0.01)
    for start in range(0, 2000, 40):
        bit_by_bit.add_many(span(start, start + 40))
    assert at_once.filters == bit_by_bit.filters == 11
    assert at_once.members <= at_once.capacity == bit_by_bit.capacity
    assert at_once.contains_many(span(0, 2000)).all()
    assert bit_by_bit.contains_many(span(0, 2000)).all()


def test_room_grows_by_the_factor_that_was_asked_for() -> None:
    assert [grown(n, growth=2.0).capacity for n in (10, 50, 90, 180)] == [50, 50, 100, 200]
    assert [grown(n, 1, growth=1.1).capacity for n in (1, 2)] == [1, 2]


def test_each_value_is_told_as_new_once_at_its_first_place() -> None:
    words = span(0, 300)
    sketch = GrowingBloom(10, 1e-6)
    order = np.random.default_rng(3).integers(0, 300, 3000)
    told = np.concatenate([sketch.add_many(words[part]) for part in np.split(order, 30)])
    firsts = np.unique(order, return_index=True)[1]
    assert np.flatnonzero(told).tolist() == sorted(firsts.tolist())
    assert sketch.members == len(firsts)


@pytest.mark.parametrize("first_share", [0.15, 0.95])
def test_false_positives_stay_within_the_rate_however_often_it_grew(first_share: float) -> None:
    sketch = GrowingBloom(1000, 0.02, first_share=first_share)
    for end in (1000, 3000, 10_000, 50_000):
        sketch.add_many(span(sketch.members, end))
        seen = sketch.contains_many(span(10**6, 10**6 + 50_000)).mean()
        assert seen <= 0.02 + 3 * math.sqrt(0.02 / 50_000)
        assert sketch.false_positive_rate <= 0.02
        assert seen == pytest.approx(sketch.false_positive_rate, abs=4 * math.sqrt(0.02 / 50_000))
    assert sketch.filters > 5


def test_the_number_of_values_is_known_with_those_that_were_missed() -> None:
    sketch = GrowingBloom(2000, 0.5)
    for start in range(0, 40_000, 500):
        sketch.add_many(span(start, start + 500))
    assert sketch.members < 37_000
    assert sketch.members <= sketch.lower_bound(3) <= 40_000 <= sketch.upper_bound(3)
    assert sketch.estimate() == pytest.approx(40_000, rel=0.01)
    assert 0 < sketch.fill < 1


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"capacity": 0}, "capacity"),
        ({"capacity": MAX_CAPACITY + 1}, "capacity"),
        ({"rate": 0.0}, "rate"),
        ({"rate": 0.6}, "rate"),
        ({"growth": 1.0}, "growth"),
        ({"first_share": 1.0}, "first_share"),
    ],
)
def test_parameters_out_of_range_are_refused_by_name(wrong: dict[str, float], named: str) -> None:
    with pytest.raises(BadArgument, match=f"^{named}: expected"):
        GrowingBloom(**({"capacity": 10, "rate": 0.01} | wrong))
    with pytest.raises(BadArgument, match="num_std_dev"):
        grown(10).upper_bound(4)


@pytest.mark.parametrize("values", [0, 1, 50, 51, 900])
def test_an_image_comes_back_as_it_was_and_goes_on_the_same(values: int) -> None:
    sketch = grown(values)
    restored = GrowingBloom.deserialize(sketch.serialize())
    assert restored.serialize() == sketch.serialize()
    assert (restored.members, restored.capacity) == (sketch.members, sketch.capacity)
    assert restored.add_many(span(500, 3000)).tolist() == sketch.add_many(span(500, 3000)).tolist()
    assert restored.serialize() == sketch.serialize()


def test_every_truncation_and_every_surplus_is_refused() -> None:
    data = grown(60).serialize()
    for length in range(len(data)):
        with pytest.raises(BadData):
            GrowingBloom.deserialize(data[:length])
    with pytest.raises(BadData):
        GrowingBloom.deserialize(data + b"\0")


def one_filter(added: int, bloom: Bloom) -> bytes:
    inner = bloom.serialize()
    return struct.pack("<QQ", added, len(inner)) + inner


FIRST = Bloom(*Bloom.suggest(50, 0.0015))


@pytest.mark.parametrize(
    ("harmed", "named"),
    [
        (image(b"\0" * 8, 0, *PARAMETERS[1:]), "capacity: expected"),
        (image(b"\0" * 7, *PARAMETERS), "8 bytes or more"),
        (image(b"\0" * 8, *PARAMETERS), "whole filters"),
        (image(struct.pack("<d", math.nan) + one_filter(0, FIRST), *PARAMETERS), "missed values"),
        (image(b"\0" * 8 + struct.pack("<QQ", 0, 2**63), *PARAMETERS), "at most 0 bytes of a filter"),
        (image(b"\0" * 8 + one_filter(0, Bloom(3, 100)), *PARAMETERS), "num_hashes and num_bits"),
        (image(b"\0" * 8 + one_filter(51, FIRST), *PARAMETERS), "at most 50 values"),
        (image(b"\0" * 8 + one_filter(49, FIRST) * 2, *PARAMETERS), "50 values before"),
    ],
)
def test_an_image_that_cannot_be_is_refused_by_what_is_wrong(harmed: bytes, named: str) -> None:
    with pytest.raises(BadData, match=named):
        GrowingBloom.deserialize(harmed)


def test_bytes_a_value_are_as_few_as_promised() -> None:
    sized = GrowingBloom(100_000, 0.01, first_share=0.95)
    sized.add_many(span(0, 100_000))
    assert sized.filters == 1
    assert len(sized.serialize()) <= 1.23 * 100_000
    # Shards that grow by different factors do not grow at the same time.
    shards = [GrowingBloom(1000, 0.01, growth=1.35 + 0.3 * (shard + 0.5) / 16) for shard in range(16)]
    for each in (2000, 5000, 20_000):
        for shard, sketch in enumerate(shards):
            sketch.add_many(span(10**6 * shard, 10**6 * shard + each))
        held = sum(len(sketch.serialize()) for sketch in shards)
        assert held <= 2.5 * sum(sketch.members for sketch in shards)
