"""Exact sums against fractions and math.fsum: no order, grouping or round trip changes a bit."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sketches.exact_sum import ExactSum, exact_sums

DOUBLES = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=40)
LONGS = st.lists(st.integers(-(2**63), 2**63 - 1), max_size=40)


def total(values: list, dtype: type, power: int = 1) -> ExactSum:
    return exact_sums(np.array(values, dtype), None, 1, power)[0]


def as_fraction(held: ExactSum) -> Fraction:
    return held.scaled * Fraction(2) ** held.exponent


@given(DOUBLES)
def test_a_sum_of_doubles_is_the_sum_of_their_fractions(values) -> None:
    assert as_fraction(total(values, np.float64)) == sum(map(Fraction, values))
    assert as_fraction(total(values, np.float64, 2)) == sum(Fraction(v) ** 2 for v in values)


@given(DOUBLES)
def test_a_sum_is_rounded_as_fsum_rounds_it(values) -> None:
    try:
        expected = math.fsum(values)
    except OverflowError:  # of a sum on the way, which is no trouble here
        return
    assert float(total(values, np.float64)) == expected


@given(LONGS)
def test_longs_and_their_squares_are_not_rounded(values) -> None:
    assert as_fraction(total(values, np.int64)) == sum(values)
    assert as_fraction(total(values, np.int64, 2)) == sum(v * v for v in values)


@given(st.one_of(st.tuples(DOUBLES, st.just(np.float64)), st.tuples(LONGS, st.just(np.int64))), st.data())
def test_no_order_and_no_grouping_changes_a_byte(given_values, data) -> None:
    values, dtype = given_values
    shuffled = data.draw(st.permutations(values))
    cut = data.draw(st.integers(0, len(values)))
    together = total(shuffled[:cut], dtype) + total(shuffled[cut:], dtype)
    restored = ExactSum.deserialize(together.serialize())
    assert together.serialize() == restored.serialize() == total(values, dtype).serialize()
    assert as_fraction(restored) == sum(map(Fraction, values))


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(-1e9, 1e9)), max_size=40))
def test_each_group_has_its_own_sum(pairs) -> None:
    numbers = np.array([group for group, _ in pairs], np.int64)
    sums = exact_sums(np.array([value for _, value in pairs], np.float64), numbers, 6)
    for group in range(6):
        assert float(sums[group]) == math.fsum(value for of, value in pairs if of == group)
