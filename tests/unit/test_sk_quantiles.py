"""Quantiles against sorted data, and images that would crash the decoder below."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketches.codec import Family, encode
from sketches.errors import BadArgument, BadData
from sketches.quantiles import Quantiles

NUMBERS = st.floats(allow_nan=False)


def filled(count: int, k: int = 200, seed: int = 1) -> Quantiles:
    sketch = Quantiles(k)
    sketch.update_many(np.random.default_rng(seed).normal(size=count))
    return sketch


def exact(values: list[float], q: float) -> float:
    return sorted(values)[max(math.ceil(q * len(values)) - 1, 0)]


@given(st.lists(NUMBERS, min_size=1, max_size=60), st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]))
def test_few_values_are_answered_exactly(values: list[float], q: float) -> None:
    sketch = Quantiles()
    sketch.update_many(np.array(values))
    assert sketch.quantile(q) == (exact(values, q),) * 3


def test_an_empty_sketch_has_no_quantile() -> None:
    sketch = Quantiles()
    sketch.update_many(np.empty(0))
    assert sketch.quantile(0.5) is None
    assert Quantiles.deserialize(sketch.serialize()).quantile(0.5) is None
    assert sketch.n == 0


def test_bounds_are_the_values_at_the_ranks_around() -> None:
    sketch = Quantiles()
    sketch.update_many(np.arange(100_000.0))
    assert sketch.rank_error == pytest.approx(0.0133, abs=1e-4)
    value, lower, upper = sketch.quantile(0.5)
    assert lower <= value <= upper
    assert lower == sketch.quantile(0.5 - sketch.rank_error)[0]
    assert upper == sketch.quantile(0.5 + sketch.rank_error)[0]
    assert 0.5 - 2 * 0.0133 < lower / 100_000 < 0.5 < upper / 100_000 < 0.5 + 2 * 0.0133
    assert sketch.quantile(0) == (0.0,) * 3
    assert sketch.quantile(1) == (99_999.0,) * 3
    assert sketch.quantile(0.001)[1] == 0.0
    assert sketch.quantile(0.999)[2] == 99_999.0


def test_nan_is_refused_and_changes_nothing() -> None:
    sketch = filled(10)
    with pytest.raises(BadArgument, match="got 1 NaN among 3"):
        sketch.update_many(np.array([1.0, float("nan"), 2.0]))
    assert sketch.n == 10


@pytest.mark.parametrize("values", [[1.0], np.array([1]), np.array([[1.0]]), np.array(["1"])])
def test_what_is_no_column_of_doubles_is_refused(values: object) -> None:
    with pytest.raises(BadArgument, match="values"):
        Quantiles().update_many(values)


def test_a_strided_column_is_read_right() -> None:
    sketch = Quantiles()
    sketch.update_many(np.arange(20.0)[::2])
    assert (sketch.n, sketch.quantile(0)[0], sketch.quantile(1)[0]) == (10, 0.0, 18.0)


@pytest.mark.parametrize("k", [7, 65536, 200.0, None])
def test_a_size_out_of_range_is_refused(k: object) -> None:
    with pytest.raises(BadArgument, match="k: "):
        Quantiles(k)


@pytest.mark.parametrize("q", [-0.01, 1.01, float("nan")])
def test_a_rank_out_of_range_is_refused(q: float) -> None:
    with pytest.raises(BadArgument, match="q: "):
        filled(3).quantile(q)


def test_a_merge_of_another_size_is_refused() -> None:
    with pytest.raises(BadArgument, match="expected a sketch of k 200, got 100"):
        filled(3).merge(Quantiles(100))


@pytest.mark.parametrize("k", [8, 50, 200, 1000])
@pytest.mark.parametrize("count", [0, 1, 2, 3, 100, 10_000, 1_000_000])
def test_a_restored_sketch_answers_the_same_and_takes_updates(count: int, k: int) -> None:
    sketch = filled(count, k)
    restored = Quantiles.deserialize(sketch.serialize())
    for q in (0, 0.01, 0.5, 0.99, 1):
        assert restored.quantile(q) == sketch.quantile(q)
    restored.update_many(np.array([1e9]))
    assert restored.n == count + 1
    assert restored.quantile(1)[0] == 1e9


def test_an_image_with_very_many_levels_is_read() -> None:
    sketch = filled(1000, 8)
    for _ in range(30):
        sketch.merge(Quantiles.deserialize(sketch.serialize()))
    assert sketch.n == 1000 << 30
    assert Quantiles.deserialize(sketch.serialize()).quantile(0.5) == sketch.quantile(0.5)


def test_reads_do_not_change_a_sketch() -> None:
    sketch = filled(5_000)
    before = sketch.quantile(0.3), sketch.n
    for _ in range(3):
        sketch.serialize(), sketch.quantile(0.9)
    assert (sketch.quantile(0.3), sketch.n) == before


@pytest.mark.parametrize("count", [0, 1, 2, 500])
def test_every_truncation_and_any_trailing_byte_is_refused(count: int) -> None:
    image = filled(count).serialize()
    payload = image[16:]
    for length in range(len(image)):
        with pytest.raises(BadData):
            Quantiles.deserialize(image[:length])
    with pytest.raises(BadData):
        Quantiles.deserialize(image + b"\0")
    # The same within a preamble that tells the length as it is; the package crashes on one of these.
    for broken in [*(payload[:length] for length in range(len(payload))), payload + b"\0"]:
        with pytest.raises(BadData):
            Quantiles.deserialize(encode(Family.QUANTILES, broken, parameters=(200,)))


def test_a_payload_at_odds_with_itself_never_gets_to_the_decoder() -> None:
    payload = filled(3_000).serialize()[16:]
    header = [(0, 2), (1, 2), (2, 7), (3, 9), (3, 1), (4, 9), (6, 9)]
    count_and_levels = [(8, 1), (16, 9), (18, 0), (18, 99), (25, 255)]
    for place, value in header + count_and_levels:
        broken = bytearray(payload)
        broken[place] = value
        assert bytes(broken) != payload
        with pytest.raises(BadData):
            Quantiles.deserialize(encode(Family.QUANTILES, bytes(broken), parameters=(200,)))
    levels = payload[18]
    for place, number in [
        (20 + 4 * levels, math.inf),
        (len(payload) - 8, math.nan),
        (len(payload) - 8, -9.0),
    ]:
        broken = payload[:place] + np.float64(number).tobytes() + payload[place + 8 :]
        with pytest.raises(BadData):
            Quantiles.deserialize(encode(Family.QUANTILES, broken, parameters=(200,)))
