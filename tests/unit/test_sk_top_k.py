"""Heavy hitters against exact counts, over any text; and images, whole and broken."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from datasketches import frequent_strings_sketch
from hypothesis import given
from hypothesis import strategies as st

from sketches.codec import Family, encode
from sketches.errors import BadArgument, BadData
from sketches.top_k import TopK

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
HEADER_CHANGES = [(0, 1), (1, 2), (2, 9), (3, 6), (4, 6), (4, 2), (5, 1), (5, 64)]
HARD = ["", "\0", "a\0b", "a", "é", "日本語", "🙂🏳️‍🌈", "\\", "%25", "\n", " ", "x" * 100_000]


def zipf(count: int, seed: int) -> list[str]:
    return [f"ítem {value}" for value in np.random.default_rng(seed).zipf(1.3, count).tolist()]


@given(st.lists(st.tuples(TEXT, st.integers(0, 2**40)), max_size=24))
def test_few_items_are_counted_exactly(entries: list[tuple[str, int]]) -> None:
    exact: Counter[str] = Counter()
    for item, weight in entries:
        exact[item] += weight
    sketch = TopK(5)
    sketch.update_many([item for item, _ in entries], np.array([w for _, w in entries], dtype=np.int64))
    restored = TopK.deserialize(sketch.serialize())
    expected = sorted(((i, c, c, c) for i, c in exact.items() if c), key=lambda e: (-e[1], e[0]))
    assert sketch.top(100) == restored.top(100) == expected
    assert sketch.total_weight == restored.total_weight == exact.total()


def test_any_text_survives_serialization_and_merging() -> None:
    left, right = TopK(), TopK()
    left.update_many(HARD)
    right.update_many(HARD, np.arange(len(HARD)))
    restored = TopK.deserialize(left.serialize())
    restored.merge(TopK.deserialize(right.serialize()))
    assert {item: count for item, count, _, _ in restored.top(100)} == {
        item: 1 + weight for weight, item in enumerate(HARD)
    }


def test_a_lone_surrogate_is_refused_and_changes_nothing() -> None:
    sketch = TopK()
    with pytest.raises(BadArgument, match="UTF-8") as caught:
        sketch.update_many(["secret", "\ud800"])
    assert "secret" not in str(caught.value)
    assert sketch.total_weight == 0


@pytest.mark.parametrize("seed", range(3))
def test_bounds_hold_and_no_heavy_item_is_missed(seed: int) -> None:
    items, sketch = zipf(50_000, seed), TopK(8)
    for start in range(0, len(items), 5_000):
        sketch.update_many(items[start : start + 5_000])
    exact = Counter(items)
    listed = sketch.top(10**6)
    assert len(exact) > 256 > len(listed)
    for item, count, lower, upper in listed:
        assert lower <= exact[item] <= upper == count
        assert upper - lower <= 3.5 * len(items) / 256
    heavy = {item for item, count in exact.items() if count > 3.5 * len(items) / 256}
    assert heavy <= {item for item, *_ in listed}
    assert listed == sorted(listed, key=lambda entry: (-entry[1], entry[0]))
    for item in ("ítem 1", "ítem 999999999"):
        assert sketch.lower_bound(item) <= exact[item] <= sketch.upper_bound(item)


def test_ties_come_in_the_order_of_the_items() -> None:
    sketch = TopK()
    sketch.update_many(["b", "é", "a", "c"], np.array([2, 2, 2, 9]))
    assert [item for item, *_ in sketch.top(3)] == ["c", "a", "b"]
    assert sketch.top(0) == []


def test_ties_of_numbers_come_in_the_order_of_the_numbers() -> None:
    sketch = TopK()
    sketch.update_many(["285583", "2735466", "7"], np.array([2, 2, 1]))
    assert [item for item, *_ in sketch.top(3)] == ["2735466", "285583", "7"]
    assert [item for item, *_ in sketch.top(1, order=int)] == ["285583"]


@pytest.mark.parametrize("weights", [np.array([1, -1]), np.array([1.0, 1.0]), np.array([1]), [1, 1]])
def test_wrong_weights_are_refused(weights: object) -> None:
    with pytest.raises(BadArgument, match="weights"):
        TopK().update_many(["a", "b"], weights)


def test_a_total_weight_beyond_128_bits_is_refused_and_changes_nothing() -> None:
    sketch = TopK()
    sketch.update_many(["a"], np.array([2**127], dtype=object))
    for wrong in ([2**127], [2**128], [-1], [1.0]):
        with pytest.raises(BadArgument, match="weight"):
            sketch.update_many(["a"], np.array(wrong, dtype=object))
    with pytest.raises(BadArgument, match="total weight"):
        sketch.merge(TopK.deserialize(sketch.serialize()))
    assert sketch.top(9) == [("a", 2**127, 2**127, 2**127)] and sketch.total_weight == 2**127


@pytest.mark.parametrize("total", [2**63 - 1, 2**63, 2**64 - 1, 2**64, 2**80])
def test_a_total_on_either_side_of_63_bits_is_exact_and_only_a_smaller_one_has_an_image_for_others(
    total: int,
) -> None:
    exact = {"a": total - 3, "é": 2, "": 1}
    weights = np.array(list(exact.values()), dtype=object)
    sketch, together = TopK(5), TopK(5)
    sketch.update_many(list(exact), weights)
    for item, weight in exact.items():
        one = TopK(5)
        one.update_many([item], np.array([weight], dtype=object))
        together.merge(TopK.deserialize(one.serialize()))
    for one in (sketch, together, TopK.deserialize(TopK.image_of(list(exact), weights, 5))):
        for again in (one, TopK.deserialize(one.serialize())):
            assert again.top(9) == [(item, *[weight] * 3) for item, weight in exact.items()]
            assert (again.total_weight, again.estimate("é"), again.estimate("no item")) == (total, 2, 0)
            assert (again.datasketches_image() is None) == (total >= 2**63)
            assert again.serialize()[3] == (1 if total < 2**63 else 2), "the version"


def test_items_that_were_counted_in_63_bits_keep_their_bounds_beyond() -> None:
    light, heavy = TopK(3), TopK(3)
    exact = Counter({f"item {number}": 1 + number % 3 for number in range(20)})
    light.update_many(list(exact), np.array(list(exact.values())))
    assert light.upper_bound("no item") > 0, "some were too light to be kept"
    heavy.update_many(["item 0", "b"], np.array([2**63 - 1, 2**63 - 1]))
    exact.update({"item 0": 2**63 - 1, "b": 2**63 - 1})
    for first, second in ((light, heavy), (heavy, light)):
        merged = TopK.deserialize(first.serialize())
        merged.merge(second)
        merged = TopK.deserialize(merged.serialize())
        assert merged.total_weight == exact.total()
        assert {item for item, *_ in merged.top(2)} == {"item 0", "b"}
        assert all(merged.lower_bound(item) <= exact[item] <= merged.upper_bound(item) for item in exact)


@pytest.mark.parametrize("size", [1, 24, 40])
def test_every_truncation_of_a_wide_image_and_any_trailing_byte_is_refused(size: int) -> None:
    sketch = TopK(5)
    sketch.update_many([f"ítem {number}" for number in range(size)], np.full(size, 2**63, dtype=object))
    payload = sketch.serialize()[16:]
    for broken in [*(payload[:length] for length in range(len(payload))), payload + b"\0"]:
        with pytest.raises(BadData):
            TopK.deserialize(encode(Family.TOP_K, broken, version=2, parameters=(5,)))


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (0, 1),
        (0, 3),
        (3, 1),
        (4, 1),
        (8, 9),
        (23, 255),
        (24, 1),
        (40, 1),
        (56, 0),
        (57, 2),
        (75, 98),
        (76, 255),
    ],
)
def test_a_wide_payload_at_odds_with_itself_is_refused(place: int, value: int) -> None:
    sketch = TopK(5)
    sketch.update_many(["b", "a"], np.array([2**64, 1], dtype=object))
    payload = bytearray(sketch.serialize()[16:])
    assert payload[72:] == b"\1\0\0\0b\1\0\0\0a" and payload[56] == 1
    payload[place] = value
    if (place, value) == (75, 98):
        payload[81] = 98  # the same item twice
    with pytest.raises(BadData):
        TopK.deserialize(encode(Family.TOP_K, bytes(payload), version=2, parameters=(5,)))


def test_a_wide_image_of_a_total_that_63_bits_hold_is_refused() -> None:
    number = (2**63 - 1).to_bytes(16, "little")
    payload = b"\1" + bytes(7) + number + bytes(16) + number + b"\1\0\0\0a"
    with pytest.raises(BadData, match="beyond 63 bits"):
        TopK.deserialize(encode(Family.TOP_K, payload, version=2, parameters=(5,)))


@pytest.mark.parametrize("size", [2, 25, 12.0, None])
def test_a_size_out_of_range_is_refused(size: object) -> None:
    with pytest.raises(BadArgument, match="lg_max_map_size"):
        TopK(size)


def test_other_wrong_arguments_are_refused() -> None:
    with pytest.raises(BadArgument, match="k: "):
        TopK().top(-1)
    with pytest.raises(BadArgument, match="merge"):
        TopK(8).merge(TopK(9))


def test_a_restored_sketch_takes_updates() -> None:
    for size in (0, 1, 10, 300):
        sketch = TopK(8)
        sketch.update_many(zipf(size, 1))
        restored = TopK.deserialize(sketch.serialize())
        restored.update_many(["new"] * 3)
        assert restored.lower_bound("new") >= 1
        assert restored.total_weight == size + 3


def test_reads_do_not_change_a_sketch() -> None:
    sketch = TopK(4)
    sketch.update_many(zipf(1000, 3))
    before = sketch.serialize()
    sketch.top(5), sketch.estimate("x"), sketch.lower_bound("x"), sketch.upper_bound("x")
    assert sketch.serialize() == before


@pytest.mark.parametrize("size", [0, 1, 40])
def test_every_truncation_and_any_trailing_byte_is_refused(size: int) -> None:
    sketch = TopK(5)
    sketch.update_many(zipf(size, 2))
    image = sketch.serialize()
    payload = image[16:]
    for length in range(len(image)):
        with pytest.raises(BadData):
            TopK.deserialize(image[:length])
    with pytest.raises(BadData):
        TopK.deserialize(image + b"\0")
    # The same within a preamble that tells the length as it is.
    for broken in [*(payload[:length] for length in range(len(payload))), payload + b"\0"]:
        with pytest.raises(BadData):
            TopK.deserialize(encode(Family.TOP_K, broken, parameters=(5,)))


@pytest.mark.parametrize(("place", "value"), [*HEADER_CHANGES, (8, 255), (11, 255), (23, 64)])
def test_a_payload_at_odds_with_itself_is_refused(place: int, value: int) -> None:
    sketch = TopK(5)
    sketch.update_many(["a", "b", "a"])
    payload = bytearray(sketch.serialize()[16:])
    payload[place] = value
    with pytest.raises(BadData):
        TopK.deserialize(encode(Family.TOP_K, bytes(payload), parameters=(5,)))


def test_items_that_are_no_utf8_are_refused_without_being_shown() -> None:
    sketch = TopK(5)
    sketch.update_many(["secret", "é"])
    image = sketch.serialize()
    for place in (image.index(b"secret"), image.index("é".encode()) + 1):
        with pytest.raises(BadData, match="UTF-8") as caught:
            TopK.deserialize(image[:place] + b"\xff" + image[place + 1 :])
        assert "ecret" not in str(caught.value)


def test_a_cut_character_before_a_long_item_is_found_when_it_is_read() -> None:
    sketch = TopK(5)
    sketch.update_many(["ab", "y" * 150])
    head = sketch.serialize()[16 : 16 + 32 + 2 * 8]
    # The length of the second item, 150, would end the character that the first one begins.
    items = b"\2\0\0\0a\xc3" + b"\x96\0\0\0" + b"y" * 150
    restored = TopK.deserialize(encode(Family.TOP_K, head + items, parameters=(5,)))
    with pytest.raises(BadData, match="UTF-8"):
        restored.top(3)


@given(st.dictionaries(TEXT, st.integers(0, 2**40), max_size=40), st.integers(1, 50))
def test_an_image_of_different_items_is_that_of_a_sketch_of_them(exact: dict[str, int], k: int) -> None:
    image = TopK.image_of(list(exact), np.array(list(exact.values()), dtype=np.int64), 6)
    expected = sorted(((i, c, c, c) for i, c in exact.items() if c), key=lambda e: (-e[1], e[0]))
    read = TopK.deserialize(image)
    assert read.top(k) == expected[:k]
    assert frequent_strings_sketch.deserialize(read.datasketches_image()).total_weight == sum(exact.values())


@pytest.mark.parametrize("count", [1, 6, 24, 25, 96])
def test_an_image_of_more_items_than_are_kept_has_bounds_that_hold(count: int) -> None:
    exact = {f"ítem {number}": 1 + number % 7 + 100 * (number == count // 2) for number in range(count)}
    read = TopK.deserialize(TopK.image_of(list(exact), np.array(list(exact.values())), 5))
    assert read.total_weight == sum(exact.values())
    assert all(read.lower_bound(item) <= weight <= read.upper_bound(item) for item, weight in exact.items())
    assert read.top(1)[0][0] == f"ítem {count // 2}"
    if count <= 24:
        assert dict(entry[:2] for entry in read.top(count)) == exact


def test_what_cannot_be_counted_has_no_image() -> None:
    with pytest.raises(BadArgument, match="UTF-8"):
        TopK.image_of(["\ud800"], np.array([1]))
    with pytest.raises(BadArgument, match="none below 0"):
        TopK.image_of(["a"], np.array([-1]))
    with pytest.raises(BadArgument, match="total weight"):
        TopK.image_of(["a", "b"], np.array([2**127, 2**127], dtype=object))


@pytest.mark.parametrize("lg_size", [3, 8])
def test_what_was_too_light_to_be_kept_still_counts(lg_size: int) -> None:
    capacity = 3 << (lg_size - 2)
    # One too many, and all of the same weight: none is kept.
    items = [f"item {number}" for number in range(capacity + 1)]
    light, other = TopK(lg_size), TopK(lg_size)
    light.update_many(items)
    assert light.top(1) == [], "DataSketches takes it for empty"
    other.update_many(["item 0", "other"], np.array([5, 3]))
    in_bulk = TopK.deserialize(TopK.image_of(items, np.ones(len(items), np.int64), lg_size))
    for sketch in (light, TopK.deserialize(light.serialize()), in_bulk):
        assert (sketch.total_weight, sketch.top(1), sketch.lower_bound("item 7")) == (len(items), [], 0)
        assert sketch.upper_bound("item 7") == sketch.upper_bound("no item") == 1
        assert sketch.serialize() == light.serialize()
        exact = {id(sketch): dict.fromkeys(items, 1), id(other): {"item 0": 5, "other": 3}}
        for first, second in ((sketch, other), (other, sketch), (TopK(lg_size), sketch), (sketch, sketch)):
            merged, counted = TopK.deserialize(first.serialize()), Counter()
            merged.merge(second)
            for one in (first, second):
                counted.update(exact.get(id(one), {}))
            for again in (merged, TopK.deserialize(merged.serialize())):
                assert again.total_weight == counted.total()
                for item in (*items, "other", "no item"):
                    assert again.lower_bound(item) <= counted[item] <= again.upper_bound(item)
    theirs = frequent_strings_sketch.deserialize(light.datasketches_image())
    assert (theirs.total_weight, theirs.get_upper_bound("item 7")) == (len(items), 1)
