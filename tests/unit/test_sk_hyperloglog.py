"""HyperLogLog by injected hashes, and its modes, estimates and bounds against DataSketches."""

from __future__ import annotations

import numpy as np
import pytest
from datasketches import hll_sketch, hll_union, tgt_hll_type

from sketches.errors import BadArgument
from sketches.hashing import hash_longs
from sketches.hyperloglog import HyperLogLog, coupons, image_from_sorted_coupons

SIZES = (0, 1, 7, 8, 9, 24, 25, 48, 49, 300, 1536, 1537, 12_288, 12_289, 40_000)


def hashes_of(start: int, stop: int) -> np.ndarray:
    return hash_longs(np.arange(start, stop))


def filled(lg_k: int, start: int, stop: int) -> HyperLogLog:
    sketch = HyperLogLog(lg_k)
    sketch.update_many(hashes_of(start, stop))
    return sketch


def merged_by_datasketches(lg_k: int, stop: int) -> hll_sketch:
    sketch = hll_sketch(lg_k, tgt_hll_type.HLL_8)
    for value in range(stop):
        sketch.update(value)
    union = hll_union(lg_k)
    # Twice, so that the union is out of order: then, as here, HIP is not used.
    union.update(sketch)
    union.update(sketch)
    return union.get_result(tgt_hll_type.HLL_8)


def test_a_coupon_is_the_low_address_and_the_leading_zeros_plus_one() -> None:
    hashes = np.array(
        [
            (0, 1 << 63),
            (2**64 - 1, 1),
            (5, 0),
            (2**26 + 3, 2**63 - 1),
            (1, 2**53 + 1),
            (1, 2**54 - 1),
        ],
        dtype=np.uint64,
    )
    got = [(int(c) & (2**26 - 1), int(c) >> 26) for c in coupons(hashes)]
    assert got == [(0, 1), (2**26 - 1, 63), (5, 63), (3, 2), (1, 11), (1, 11)]


def test_injected_hashes_set_exactly_their_registers() -> None:
    sketch = HyperLogLog(4)
    hashes = [(slot, 1 << (64 - value)) for slot, value in [(3, 1), (3, 5), (3, 2), (15, 63), (16, 4)]]
    sketch.update_many(np.array(hashes, dtype=np.uint64))
    expected = np.zeros(16, dtype=np.uint8)
    expected[[3, 15, 0]] = 5, 63, 4
    assert sketch.registers.tolist() == expected.tolist()


@pytest.mark.parametrize("lg_k", range(4, 22))
def test_estimate_and_bounds_equal_those_of_a_datasketches_union(lg_k: int) -> None:
    # The larger sizes need only be seen where they are in another mode or part of the curve.
    for size in SIZES if lg_k in (4, 8, 11, 14) else (0, 9, 100, 3_000, 20_000):
        ours, theirs = filled(lg_k, 0, size), merged_by_datasketches(lg_k, size)
        assert ours.estimate() == pytest.approx(theirs.get_estimate(), rel=1e-12)
        for num_std_dev in (1, 2, 3):
            assert ours.lower_bound(num_std_dev) == pytest.approx(
                theirs.get_lower_bound(num_std_dev), rel=1e-12
            )
            assert ours.upper_bound(num_std_dev) == pytest.approx(
                theirs.get_upper_bound(num_std_dev), rel=1e-12
            )


@pytest.mark.parametrize(
    ("lg_k", "last_sparse"), [(4, 7), (7, 7), (8, 24), (9, 48), (14, 1536), (21, 196_608)]
)
def test_a_sketch_turns_dense_where_datasketches_does(lg_k: int, last_sparse: int) -> None:
    sketch = HyperLogLog(lg_k)
    all_coupons = np.arange(last_sparse + 1, dtype=np.uint32) + np.uint32(1 << 26)
    sketch.update_coupons(all_coupons[:-1])
    assert sketch.is_sparse
    sketch.update_coupons(all_coupons[:5])
    assert sketch.is_sparse
    sketch.update_coupons(all_coupons[-1:])
    assert not sketch.is_sparse


@pytest.mark.parametrize("lg_k", [4, 8, 14])
@pytest.mark.parametrize("batch", [1, 7, 100, 10_000])
def test_the_size_of_batches_does_not_matter(lg_k: int, batch: int) -> None:
    stop = 700 if batch == 1 else 20_000
    sketch = HyperLogLog(lg_k)
    for start in range(0, stop, batch):
        sketch.update_many(hashes_of(start, min(start + batch, stop)))
    assert sketch.serialize() == filled(lg_k, 0, stop).serialize()


def test_a_large_batch_of_few_values_stays_sparse() -> None:
    sketch = HyperLogLog(14)
    sketch.update_many(np.tile(hashes_of(0, 100), (1000, 1)))
    assert sketch.is_sparse
    assert sketch.serialize() == filled(14, 0, 100).serialize()


@pytest.mark.parametrize("sizes", [(5, 5), (5, 500), (500, 5), (20_000, 20_000), (20_000, 5), (5, 20_000)])
def test_a_merge_in_any_pair_of_modes_is_the_sketch_of_both(sizes: tuple[int, int]) -> None:
    left, right = filled(12, 0, sizes[0]), filled(12, sizes[0] - 2, sizes[0] + sizes[1])
    before = right.serialize()
    left.merge(right)
    assert left.serialize() == filled(12, 0, sum(sizes)).serialize()
    assert right.serialize() == before
    left.update_many(hashes_of(10**6, 10**6 + 3000))
    assert right.serialize() == before


def test_reads_do_not_change_a_sketch() -> None:
    for size in (0, 5, 500, 20_000):
        sketch = filled(12, 0, size)
        before = sketch.serialize()
        sketch.estimate(), sketch.lower_bound(), sketch.upper_bound(3)
        sketch.registers[:] = 9
        assert sketch.serialize() == before


def test_coupons_handed_in_are_neither_changed_nor_kept() -> None:
    given = np.array([3 << 26, 1 << 26, 3 << 26], dtype=np.uint32)
    sketch = HyperLogLog.from_coupons(12, given)
    given[:] = 5 << 26
    assert sketch.serialize() == image_from_sorted_coupons(12, np.array([1 << 26, 3 << 26], dtype=np.uint32))


@pytest.mark.parametrize("lg_k", [3, 22, 12.0, "12", True, None])
def test_a_size_out_of_range_is_refused(lg_k: object) -> None:
    with pytest.raises(BadArgument, match="lg_k"):
        HyperLogLog(lg_k)


def test_a_merge_of_another_size_is_refused() -> None:
    with pytest.raises(BadArgument, match="expected a sketch of lg_k 12, got 11"):
        HyperLogLog(12).merge(HyperLogLog(11))


@pytest.mark.parametrize("num_std_dev", [0, 4, 1.5])
def test_other_numbers_of_standard_deviations_are_refused(num_std_dev: float) -> None:
    for sketch in (filled(8, 0, 3), filled(8, 0, 300)):
        with pytest.raises(BadArgument, match="num_std_dev"):
            sketch.lower_bound(num_std_dev)


@pytest.mark.parametrize(
    "hashes",
    [np.zeros(4, dtype=np.uint64), np.zeros((4, 2), dtype=np.int64), np.zeros((2, 3), dtype=np.uint64), [1]],
)
def test_what_is_no_array_of_hashes_is_refused(hashes: object) -> None:
    with pytest.raises(BadArgument, match="hashes"):
        HyperLogLog(12).update_many(hashes)


@pytest.mark.parametrize("numbers", [[0], [1 << 26, (1 << 26) - 1]])
def test_a_number_that_is_no_coupon_is_refused(numbers: list[int]) -> None:
    with pytest.raises(BadArgument, match="coupons"):
        HyperLogLog(12).update_coupons(np.array(numbers, dtype=np.uint32))
