"""Whether the truth lies within the stated bounds as often as stated, against exact answers.

Every check is also run on a sketch that was broken on purpose, and must catch it.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from sketches.bloom import Bloom
from sketches.count_min import CountMin
from sketches.hashing import hash_longs, hash_strings
from sketches.hyperloglog import HyperLogLog
from sketches.quantiles import Quantiles
from sketches.top_k import TopK

DECADES = (1, 10, 100, 1_000, 10_000, 100_000, 1_000_000)
# Where modes and estimators change at lg_k 14, and where others were found to be off.
EDGES = (7, 8, 1_536, 1_537, 10_486, 20_000, 49_152)


class EveryFourthValueLost(HyperLogLog):
    """Broken on purpose: too low."""

    def update_many(self, hashes: np.ndarray) -> None:
        super().update_many(hashes[hashes[:, 0] % 4 != 0])


class OneRegisterInEightUnused(HyperLogLog):
    """Broken on purpose: maps the addresses unevenly."""

    def update_many(self, hashes: np.ndarray) -> None:
        skewed = hashes.copy()
        skewed[:, 0] &= ~(np.uint64(1) << np.uint64(5)) | (hashes[:, 0] << np.uint64(1))
        super().update_many(skewed)


def sketch_of(kind: type[HyperLogLog], lg_k: int, size: int, seed: int) -> HyperLogLog:
    sketch = kind(lg_k)
    start = seed << 40
    for low in range(0, size, 1 << 20):
        sketch.update_many(hash_longs(np.arange(start + low, start + min(low + (1 << 20), size))))
    return sketch


def relative_error(kind: type[HyperLogLog], size: int, seed: int) -> float:
    return abs(sketch_of(kind, 14, size, seed).estimate() / size - 1)


@pytest.mark.parametrize("size", DECADES + EDGES)
def test_a_distinct_count_is_within_four_standard_errors_over_decades(size: int) -> None:
    seeds = range(2 if size == 1_000_000 else 5)
    # Sparse sketches are nearly exact; dense ones have 1.04 / sqrt(2**14) = 0.81 %.
    limit = 0.0003 if size <= 1_536 else 4 * 0.0081
    assert max(relative_error(HyperLogLog, size, seed) for seed in seeds) < limit


@pytest.mark.slow
def test_ten_million_distinct_values_are_within_four_standard_errors() -> None:
    assert relative_error(HyperLogLog, 10_000_000, 1) < 4 * 0.0081


@pytest.mark.parametrize("size", [100, 20_000, 1_000_000])
def test_the_check_over_decades_catches_lost_values(size: int) -> None:
    assert relative_error(EveryFourthValueLost, size, 1) > 4 * 0.0081


def test_distinct_counts_of_strings_are_as_good_as_of_numbers() -> None:
    for size in (1_000, 10_000, 50_000):
        sketch = HyperLogLog(14)
        sketch.update_many(hash_strings([f"user_{i}" for i in range(size)]))
        assert abs(sketch.estimate() / size - 1) < 4 * 0.0081


def share_of_truths_inside(kind: type[HyperLogLog], size: int, num_std_dev: int, rounds: int = 300) -> float:
    inside = 0
    for seed in range(rounds):
        sketch = sketch_of(kind, 9, size, seed + 1000)
        inside += sketch.lower_bound(num_std_dev) <= size <= sketch.upper_bound(num_std_dev)
    return inside / rounds


@pytest.mark.parametrize("size", [200, 700, 1_500, 5_000, 20_000])
@pytest.mark.parametrize(("num_std_dev", "claimed"), [(1, 0.6827), (2, 0.9545), (3, 0.9973)])
def test_the_truth_is_inside_the_bounds_as_often_as_claimed(
    size: int, num_std_dev: int, claimed: float
) -> None:
    # Three standard deviations of a share of 300 rounds below the claim.
    slack = 3 * (claimed * (1 - claimed) / 300) ** 0.5
    assert share_of_truths_inside(HyperLogLog, size, num_std_dev) >= claimed - slack


@pytest.mark.parametrize("kind", [EveryFourthValueLost, OneRegisterInEightUnused])
def test_the_check_of_bounds_catches_a_broken_sketch(kind: type[HyperLogLog]) -> None:
    assert share_of_truths_inside(kind, 5_000, 2) < 0.9545 - 3 * (0.9545 * 0.0455 / 300) ** 0.5


def test_the_mean_error_shows_no_bias() -> None:
    for size in (300, 1_000, 1_600, 4_000):
        errors = [sketch_of(HyperLogLog, 9, size, seed).estimate() / size - 1 for seed in range(300)]
        assert abs(np.mean(errors)) < 4 * 0.046 / 300**0.5


def share_of_close_estimates(kind: type[CountMin], seed: int) -> float:
    """Count how many items' estimates are within epsilon of the total, none being below the truth."""
    sketch = kind(*CountMin.suggest(epsilon=0.01, delta=0.05))
    random = np.random.default_rng(seed)
    items = random.zipf(1.2, 20_000) % 5_000
    weights = random.integers(0, 20, len(items))
    sketch.update_many(hash_longs(items + seed * 10_000), weights)
    exact = np.bincount(items, weights=weights, minlength=5_000).astype(np.int64)
    hashes = hash_longs(np.arange(5_000) + seed * 10_000)
    assert (sketch.upper_bound(hashes) >= exact).all()
    return float((sketch.lower_bound(hashes) <= exact).mean())


class SameRowTwice(CountMin):
    """Broken on purpose: all rows share their buckets, so they all share their collisions."""

    def _places(self, hashes: np.ndarray) -> list[np.ndarray]:
        return [super()._places(hashes)[0] % 30] * self.num_hashes


def test_count_min_bounds_hold_as_often_as_claimed() -> None:
    assert np.mean([share_of_close_estimates(CountMin, seed) for seed in range(20)]) >= 0.95


def test_the_check_of_count_min_catches_rows_that_are_the_same() -> None:
    assert np.mean([share_of_close_estimates(SameRowTwice, seed) for seed in range(5)]) < 0.95


def seen_share(kind: type[Bloom], capacity: int, rate: float, filters: int) -> float:
    """Fill filters up to their capacity; return how often values are found that were not added."""
    found = []
    for seed in range(filters):
        sketch = kind(*Bloom.suggest(capacity, rate))
        first = seed * 10_000_000
        sketch.add_many(hash_longs(np.arange(first, first + capacity))[:, 0])
        assert sketch.contains_many(hash_longs(np.arange(first, first + capacity))[:, 0]).all()
        others = hash_longs(np.arange(first + 2_000_000, first + 2_100_000))[:, 0]
        found.append(sketch.contains_many(others).mean())
        expected = sketch.false_positive_rate
        assert abs(found[-1] - expected) <= 4 * (expected / 100_000) ** 0.5 + 0.1 * expected
    return float(np.mean(found))


class OneStepForAll(Bloom):
    """Broken on purpose: values of one first place have all places in common."""

    def _places(self, word: np.ndarray) -> np.ndarray:
        return super()._places(word) // np.uint32(3) * np.uint32(3)


@pytest.mark.parametrize("rate", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("capacity", [1_000, 10_000, 100_000, 1_000_000])
def test_false_positives_of_a_filter_are_as_many_as_asked_for(capacity: int, rate: float) -> None:
    filters = 1 if capacity == 1_000_000 else 5
    off = abs(seen_share(Bloom, capacity, rate, filters) - rate)
    assert off <= 4 * (rate / (filters * 100_000)) ** 0.5 + 0.1 * rate


def test_the_check_of_false_positives_catches_places_that_are_too_few() -> None:
    with pytest.raises(AssertionError):
        assert seen_share(OneStepForAll, 10_000, 0.01, 1) <= 0.012


def test_the_bounds_of_a_filters_number_of_values_hold_as_often_as_claimed() -> None:
    inside = []
    for seed in range(300):
        size = (10, 100, 1_000, 3_000)[seed % 4]
        sketch = Bloom(*Bloom.suggest(1_000, 0.01))
        sketch.add_many(hash_longs(np.arange(seed * 10_000, seed * 10_000 + size))[:, 0])
        inside.append(sketch.lower_bound() <= size <= sketch.upper_bound())
    assert np.mean(inside) >= 0.9545 - 3 * (0.9545 * 0.0455 / 300) ** 0.5


@pytest.mark.parametrize("seed", range(5))
def test_top_k_finds_the_true_heavy_hitters_with_true_bounds(seed: int) -> None:
    values = np.random.default_rng(seed).zipf(1.2, 100_000) % 10**7
    items, counts = np.unique(values, return_counts=True)
    exact = Counter(dict(zip(map(str, items.tolist()), counts.tolist(), strict=True)))
    parts = [TopK(10) for _ in range(4)]
    for part, chunk in zip(parts, np.array_split(values, 4), strict=True):
        names, weights = np.unique(chunk, return_counts=True)
        part.update_many([str(name) for name in names.tolist()], weights)
    for part in parts[1:]:
        parts[0].merge(part)
    listed = parts[0].top(10)
    assert {item for item, *_ in listed} == {item for item, _ in exact.most_common(10)}
    for item, count, lower, upper in parts[0].top(10**6):
        assert lower <= exact[item] <= upper == count
        assert upper - lower <= 3.5 * exact.total() / 1024


def share_of_quantiles_inside(error_factor: float) -> float:
    inside = []
    for seed in range(100):
        random = np.random.default_rng(seed)
        values = random.lognormal(size=20_000) if seed % 2 else random.normal(size=20_000)
        parts = [Quantiles() for _ in range(4)]
        for part, chunk in zip(parts, np.array_split(values, 4), strict=True):
            part.update_many(chunk)
        for part in parts[1:]:
            parts[0].merge(part)
        ordered = np.sort(values)
        for q in (0.05, 0.5, 0.95):
            truth = ordered[int(np.ceil(q * len(values))) - 1]
            value, lower, upper = parts[0].quantile(q)
            inside.append(lower + (value - lower) * (1 - error_factor) <= truth)
            inside.append(truth <= upper - (upper - value) * (1 - error_factor))
    return float(np.mean(inside))


def test_quantile_bounds_hold_as_often_as_claimed() -> None:
    assert share_of_quantiles_inside(1.0) >= 0.985


def test_the_check_of_quantiles_catches_bounds_that_are_too_tight() -> None:
    assert share_of_quantiles_inside(0.2) < 0.985
