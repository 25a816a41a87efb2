"""Laws of merging: order and grouping do not matter, and a union is the sketch of one stream."""

from __future__ import annotations

from collections import Counter
from functools import reduce

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from sketches.bloom import Bloom
from sketches.count_min import CountMin
from sketches.growing_bloom import GrowingBloom
from sketches.hashing import hash_longs
from sketches.hyperloglog import HyperLogLog, merge_images
from sketches.quantiles import Quantiles
from sketches.top_k import TopK

# Sizes on both sides of every change of mode at lg_k 4 and 9: 7 to 8, 48 to 49.
# A total of these is beyond 63 bits after a few values, though each value fits.
SCALE = st.sampled_from([3, 2**63 // 500])
LG_K = st.sampled_from([4, 9])
STREAM = st.builds(
    lambda start, size: np.arange(start, start + size),
    st.integers(0, 60),
    st.sampled_from([0, 1, 5, 7, 8, 20, 47, 49, 400]),
)
WEIGHTED = st.lists(
    st.tuples(
        st.sampled_from("abcdefghijklmnopqrstuvwxyz"), st.integers(0, 1000) | st.integers(2**62, 2**63 - 1)
    ),
    max_size=60,
)
COLUMN = st.lists(st.floats(-1e6, 1e6), max_size=300).map(lambda values: np.array(values, dtype=np.float64))


def hll(lg_k: int, *streams: np.ndarray) -> HyperLogLog:
    sketch = HyperLogLog(lg_k)
    for stream in streams:
        sketch.update_many(hash_longs(stream))
    return sketch


def words_of(*streams: np.ndarray) -> np.ndarray:
    return np.concatenate([hash_longs(stream)[:, 0] for stream in streams] or [np.empty(0, np.uint64)])


def bloom(*streams: np.ndarray) -> Bloom:
    sketch = Bloom(3, 500)
    sketch.add_many(words_of(*streams))
    return sketch


def count_min(*streams: np.ndarray, scale: int = 3) -> CountMin:
    sketch = CountMin(3, 40)
    for stream in streams:
        sketch.update_many(hash_longs(stream), stream * scale)
    return sketch


def top_k(entries: list[tuple[str, int]], size: int) -> TopK:
    sketch = TopK(size)
    sketch.update_many([item for item, _ in entries], np.array([w for _, w in entries], dtype=np.int64))
    return sketch


def quantiles(*columns: np.ndarray) -> Quantiles:
    sketch = Quantiles(64)
    for column in columns:
        sketch.update_many(column)
    return sketch


def union(left, right):
    """Merge into a restored copy, so that neither operand changes."""
    merged = type(left).deserialize(left.serialize())
    merged.merge(right)
    return merged


@given(LG_K, STREAM, STREAM, STREAM)
def test_hyperloglog_unions_obey_the_laws_of_sets(lg_k, x, y, z) -> None:
    a, b, c = hll(lg_k, x), hll(lg_k, y), hll(lg_k, z)
    assert union(a, b).serialize() == union(b, a).serialize() == hll(lg_k, x, y).serialize()
    assert union(union(a, b), c).serialize() == union(a, union(b, c)).serialize()
    assert union(a, a).serialize() == a.serialize()
    assert union(a, HyperLogLog(lg_k)).serialize() == a.serialize()
    images = [sketch.serialize() for sketch in (a, b, c)]
    assert (
        reduce(merge_images, images) == reduce(merge_images, images[::-1]) == hll(lg_k, x, y, z).serialize()
    )
    assert merge_images(*images) == merge_images(*images, images[0]) == hll(lg_k, x, y, z).serialize()
    assert merge_images(images[0]) == images[0]


@given(STREAM, STREAM, STREAM)
def test_bloom_filter_unions_obey_the_laws_of_sets(x, y, z) -> None:
    a, b, c = bloom(x), bloom(y), bloom(z)
    assert union(a, b).serialize() == union(b, a).serialize() == bloom(x, y).serialize()
    assert union(union(a, b), c).serialize() == union(a, union(b, c)).serialize()
    assert union(a, a).serialize() == union(a, Bloom(3, 500)).serialize() == a.serialize()
    assert union(a, b).contains_many(words_of(x, y)).all()


@given(STREAM, STREAM)
def test_a_bloom_filter_tells_each_value_as_new_at_most_once_also_when_restored(x, y) -> None:
    sketch = bloom(x)
    restored = Bloom.deserialize(sketch.serialize())
    told = sketch.add_many(words_of(y))
    assert told.tolist() == restored.add_many(words_of(y)).tolist()
    new = words_of(y)[told]
    assert len(set(new.tolist())) == len(new)
    assert not set(new.tolist()) & set(words_of(x).tolist())
    assert not sketch.add_many(words_of(x, y)).any()
    assert restored.serialize() == sketch.serialize() == bloom(x, y).serialize()


@given(st.lists(STREAM, max_size=6))
def test_a_growing_bloom_filter_tells_each_value_as_new_at_most_once_also_when_restored(streams) -> None:
    sketch, told = GrowingBloom(3, 0.1), []
    for stream in streams:
        sketch = GrowingBloom.deserialize(sketch.serialize())
        words = words_of(stream)
        told += words[sketch.add_many(words)].tolist()
    assert len(set(told)) == len(told) == sketch.members
    assert sketch.contains_many(words_of(*streams)).all()


@given(LG_K, STREAM, STREAM)
def test_a_restored_hyperloglog_goes_on_as_the_first(lg_k, x, y) -> None:
    restored = HyperLogLog.deserialize(hll(lg_k, x).serialize())
    restored.update_many(hash_longs(y))
    assert restored.serialize() == hll(lg_k, x, y).serialize()


@given(STREAM, STREAM, STREAM, SCALE)
def test_count_min_merges_obey_the_laws_of_sums(x, y, z, scale) -> None:
    a, b, c = (count_min(stream, scale=scale) for stream in (x, y, z))
    both = count_min(x, y, scale=scale)
    assert union(a, b).serialize() == union(b, a).serialize() == both.serialize()
    assert union(union(a, b), c).serialize() == union(a, union(b, c)).serialize()
    assert union(a, CountMin(3, 40)).serialize() == a.serialize()
    assert both.total_weight == scale * (sum(x.tolist()) + sum(y.tolist()))


@given(STREAM, STREAM, SCALE)
def test_a_restored_count_min_goes_on_as_the_first(x, y, scale) -> None:
    restored = CountMin.deserialize(count_min(x, scale=scale).serialize())
    restored.update_many(hash_longs(y), y * scale)
    assert restored.serialize() == count_min(x, y, scale=scale).serialize()


@given(WEIGHTED, WEIGHTED, WEIGHTED)
def test_top_k_that_fits_obeys_the_laws_of_sums(x, y, z) -> None:
    a, b, c = (top_k(entries, 6) for entries in (x, y, z))
    assert union(a, b).top(99) == union(b, a).top(99) == top_k(x + y, 6).top(99)
    assert union(union(a, b), c).top(99) == union(a, union(b, c)).top(99) == top_k(x + y + z, 6).top(99)


@example([], [], [(item, 1) for item in "abcdefg"])
@given(WEIGHTED, WEIGHTED, WEIGHTED)
def test_top_k_that_overflows_keeps_its_bounds_in_any_order_of_merging(x, y, z) -> None:
    exact: Counter[str] = Counter()
    for item, weight in x + y + z:
        exact[item] += weight
    a, b, c = (top_k(entries, 3) for entries in (x, y, z))
    for merged in (union(union(a, b), c), union(c, union(b, a)), union(top_k(x + y, 3), c)):
        for again in (merged, TopK.deserialize(merged.serialize())):
            assert again.total_weight == exact.total()
            for item, count, lower, upper in again.top(99):
                assert lower <= exact[item] <= upper == count
                assert (upper - lower) * 2**3 <= 3.5 * exact.total()
            assert all(again.upper_bound(item) >= weight for item, weight in exact.items())
            heavy = {item for item, weight in exact.items() if weight * 2**3 > 3.5 * exact.total()}
            assert heavy <= {item for item, *_ in again.top(99)}


@given(COLUMN, COLUMN)
def test_quantiles_that_fit_do_not_depend_on_the_order_of_merging(x, y) -> None:
    x, y = x[:32], y[:32]
    a, b = quantiles(x), quantiles(y)
    for q in (0.0, 0.3, 0.5, 0.99, 1.0):
        assert union(a, b).quantile(q) == union(b, a).quantile(q) == quantiles(x, y).quantile(q)


@given(COLUMN, COLUMN)
def test_merged_quantiles_keep_count_and_ends(x, y) -> None:
    merged, both = union(quantiles(x), quantiles(y)), np.concatenate((x, y))
    assert merged.n == len(both)
    if len(both):
        assert (merged.quantile(0)[0], merged.quantile(1)[0]) == (both.min(), both.max())
