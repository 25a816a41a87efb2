"""Images to and from DataSketches in every mode and type, and whatever is no image refused."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from datasketches import hll_sketch, hll_union, tgt_hll_type

from sketches.errors import BadArgument, BadData, SketchError
from sketches.hashing import hash_longs
from sketches.hyperloglog import HyperLogLog, image_from_sorted_coupons, merge_images

TYPES = (tgt_hll_type.HLL_4, tgt_hll_type.HLL_6, tgt_hll_type.HLL_8)
# One size for each mode, and one that gives HLL_4 an offset and exceptions.
SIZES = (0, 1, 7, 8, 20, 100, 30_000)


def ours(lg_k: int, start: int, stop: int) -> HyperLogLog:
    sketch = HyperLogLog(lg_k)
    sketch.update_many(hash_longs(np.arange(start, stop)))
    return sketch


def theirs(lg_k: int, stop: int, kind: tgt_hll_type) -> hll_sketch:
    sketch = hll_sketch(lg_k, kind)
    for value in range(stop):
        sketch.update(value)
    return sketch


def foreign_images(lg_k: int, size: int) -> list[bytes]:
    made = [theirs(lg_k, size, kind) for kind in TYPES]
    return [image for s in made for image in (s.serialize_compact(), s.serialize_updatable())]


@pytest.mark.parametrize("lg_k", range(4, 22))
def test_every_image_of_datasketches_is_read(lg_k: int) -> None:
    for size in SIZES if lg_k in (4, 8, 12) else (0, 7, 9, 3_000):
        expected = ours(lg_k, 0, size).serialize()
        for image in foreign_images(lg_k, size):
            assert HyperLogLog.deserialize(image).serialize() == expected


@pytest.mark.parametrize("lg_k", range(4, 22))
def test_datasketches_reads_our_image_and_goes_on_with_it(lg_k: int) -> None:
    for size in (*SIZES[:-1], 3000):
        restored = hll_sketch.deserialize(ours(lg_k, 0, size).serialize())
        assert restored.lg_config_k == lg_k
        assert restored.tgt_type == tgt_hll_type.HLL_8
        for value in range(size, size + 50):
            restored.update(value)
        expected = ours(lg_k, 0, size + 50)
        assert HyperLogLog.deserialize(restored.serialize_compact()).serialize() == expected.serialize()


def test_a_dense_image_is_byte_for_byte_that_of_datasketches_but_for_hip() -> None:
    for lg_k in (4, 9, 14):
        image, reference = ours(lg_k, 0, 30_000).serialize(), theirs(lg_k, 30_000, TYPES[2])
        expected = bytearray(reference.serialize_compact())
        expected[5] |= 16
        expected[8:16] = bytes(8)
        assert image == bytes(expected)


def test_registers_above_31_keep_both_sums_of_an_image_right() -> None:
    coupons = np.array([(value << 26) | slot for slot, value in enumerate((1, 31, 32, 63, 5, 7, 9, 40))])
    low, high, empty = struct.unpack_from("<ddI", image_from_sorted_coupons(4, coupons.astype(np.uint32)), 16)
    assert low == 8 + sum(2.0**-v for v in (1, 31, 5, 7, 9))
    assert high == sum(2.0**-v for v in (32, 63, 40))
    assert empty == 8


@pytest.mark.parametrize("lg_k", [4, 9])
@pytest.mark.parametrize("size", [0, 5, 20, 30_000])
def test_every_truncation_and_any_trailing_byte_is_refused(lg_k: int, size: int) -> None:
    for image in [ours(lg_k, 0, size).serialize(), *foreign_images(lg_k, size)]:
        HyperLogLog.deserialize(image)
        for broken in [*(image[:length] for length in range(len(image))), image + b"\0"]:
            with pytest.raises(BadData):
                HyperLogLog.deserialize(broken)
            with pytest.raises(BadData):
                merge_images(broken, image)
            with pytest.raises(BadData):
                merge_images(image, broken)


def changed(image: bytes, place: int, *values: int) -> bytes:
    return image[:place] + bytes(values) + image[place + len(values) :]


LIST, SET, DENSE = (ours(9, 0, size).serialize() for size in (3, 20, 5_000))
HIGH = [3, 3, 25, 4, 40, 5, 6, 17, 18, 63, 7, 8, 9, 3, 10, 11]


def as_hll_4(values: list[int]) -> hll_sketch:
    """Let DataSketches turn registers into HLL_4: offset 3, and 63, 40, 25 and 18 as exceptions."""
    coupons = [(value << 26) | slot for slot, value in enumerate(values)]
    union = hll_union(4)
    union.update(hll_sketch.deserialize(image_from_sorted_coupons(4, np.array(sorted(coupons), np.uint32))))
    return union.get_result(tgt_hll_type.HLL_4)


FOUR = as_hll_4(HIGH).serialize_compact()


def test_hll_4_with_an_offset_and_exceptions_is_read() -> None:
    assert (FOUR[6], FOUR[36], len(FOUR)) == (3, 4, 40 + 8 + 16)
    for image in (FOUR, as_hll_4(HIGH).serialize_updatable()):
        assert HyperLogLog.deserialize(image).registers.tolist() == HIGH


@pytest.mark.parametrize(
    "image",
    [
        pytest.param(changed(LIST, 0, 3), id="preamble of another mode"),
        pytest.param(changed(LIST, 1, 2), id="serial version"),
        pytest.param(changed(LIST, 2, 8), id="family"),
        pytest.param(changed(LIST, 3, 3), id="lg_k too low"),
        pytest.param(changed(LIST, 3, 22), id="lg_k too high"),
        pytest.param(changed(LIST, 5, 9), id="big-endian flag"),
        pytest.param(changed(LIST, 5, 12), id="empty flag with coupons"),
        pytest.param(changed(LIST, 7, 3), id="unknown mode"),
        pytest.param(changed(LIST, 7, 12), id="unknown type"),
        pytest.param(changed(LIST, 7, 24), id="mode byte with more bits"),
        pytest.param(changed(LIST, 6, 9), id="too many coupons for a list"),
        pytest.param(changed(LIST, 8, *LIST[12:16]), id="a coupon twice"),
        pytest.param(changed(LIST, 8, 0, 0, 0, 0), id="an empty coupon"),
        pytest.param(changed(LIST, 8, 1, 0, 0, 0), id="a coupon of value 0"),
        pytest.param(changed(SET, 3, 7), id="a set where none can be"),
        pytest.param(changed(SET, 5, 12), id="an empty set"),
        pytest.param(changed(SET, 8, 255, 255, 255, 255), id="a set larger than memory"),
        pytest.param(changed(SET, 12, *SET[16:20]), id="a coupon twice in a set"),
        pytest.param(changed(SET, 12, 1, 0, 0, 0), id="a coupon of value 0 in a set"),
        pytest.param(changed(DENSE, 6, 1), id="an offset in HLL_8"),
        pytest.param(changed(DENSE, 36, 1), id="exceptions in HLL_8"),
        pytest.param(changed(DENSE, 40, 64), id="a register above 63"),
        pytest.param(changed(FOUR, 6, 60), id="an offset that lifts registers above 63"),
        pytest.param(changed(FOUR, 6, 200), id="an offset above 63"),
        pytest.param(changed(FOUR, 36, 5), id="more exceptions than there are"),
        pytest.param(changed(FOUR, 36, 3)[:-4], id="an exception left out"),
        pytest.param(changed(FOUR, 41, 0), id="an exception at an unmarked slot"),
        pytest.param(changed(FOUR, 51, 4 << 2), id="an exception that is none"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_an_image_at_odds_with_itself_is_refused(image: bytes) -> None:
    with pytest.raises(BadData):
        HyperLogLog.deserialize(image)


def test_a_restored_sketch_takes_updates_in_every_mode() -> None:
    for size in (0, 1, 6, 7, 8, 20, 47, 48, 49, 5_000):
        restored = HyperLogLog.deserialize(ours(9, 0, size).serialize())
        for value in range(size, size + 60):
            restored.update_many(hash_longs(np.array([value])))
            assert restored.serialize() == ours(9, 0, value + 1).serialize()


@pytest.mark.parametrize("lg_k", [4, 7, 8, 9, 12])
def test_merged_images_are_the_images_of_merged_sketches(lg_k: int) -> None:
    sizes = (0, 1, 5, 7, 8, 30, 60, 400, 20_000)
    for left in sizes:
        for right in sizes:
            a, b = ours(lg_k, 0, left), ours(lg_k, left // 2, left // 2 + right)
            image = merge_images(a.serialize(), b.serialize())
            assert image == ours(lg_k, 0, max(left, left // 2 + right)).serialize()


def test_images_of_datasketches_merge_like_ours() -> None:
    for size in SIZES:
        for image in foreign_images(8, size):
            for other in (0, 4, 12, 1000):
                expected = ours(8, 0, max(size, other)).serialize()
                assert merge_images(image, ours(8, 0, other).serialize()) == expected
                assert merge_images(ours(8, 0, other).serialize(), image) == expected


def test_few_coupons_into_a_dense_image_keep_its_sums_right_beyond_32() -> None:
    dense = ours(4, 0, 100).serialize()
    for coupons in ([(33 << 26) | 3], [(31 << 26) | 3, (40 << 26) | 3, (63 << 26) | 7], [(2 << 26) | 1]):
        few = image_from_sorted_coupons(4, np.array(coupons, dtype=np.uint32))
        expected = HyperLogLog.deserialize(dense)
        expected.merge(HyperLogLog.deserialize(few))
        dense = merge_images(dense, few)
        assert dense == expected.serialize()


@pytest.mark.parametrize("few", [LIST, SET, ours(9, 50, 95).serialize(), HyperLogLog(9).serialize()])
def test_a_coupon_of_value_0_does_not_get_into_a_merged_image(few: bytes) -> None:
    broken_list, broken_set = changed(LIST, 8, 1, 0, 0, 0), changed(SET, 12, 1, 0, 0, 0)
    for broken in (broken_list, broken_set):
        with pytest.raises(BadData):
            merge_images(few, broken)


def test_images_of_another_size_do_not_merge() -> None:
    with pytest.raises(BadArgument, match="lg_k 9, got 8"):
        merge_images(LIST, ours(8, 0, 3).serialize())


def test_noise_is_refused_or_read_but_never_anything_else() -> None:
    noise = np.random.default_rng(7)
    for image in (LIST, SET, DENSE, FOUR):
        for _ in range(500):
            broken = bytearray(image)
            broken[int(noise.integers(min(len(image), 48)))] = int(noise.integers(256))
            for read in (HyperLogLog.deserialize, lambda data: merge_images(data, data)):
                try:
                    read(bytes(broken))
                except SketchError as error:
                    assert isinstance(error, BadData)
