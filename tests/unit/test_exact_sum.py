"""Exact sums: extremes, pieces and the bytes."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

from sketches.errors import BadArgument, BadData
from sketches.exact_sum import ExactSum, exact_sums


def test_what_doubles_lose_is_kept() -> None:
    (total,) = exact_sums(np.array([1e16, 1.0, -1e16] * 1000), None, 1)
    assert float(total) == 1000.0
    assert float(np.sum(np.array([1e16, 1.0, -1e16] * 1000))) != 1000.0


def test_the_least_and_the_greatest_doubles_are_summed_together() -> None:
    values = [5e-324, 1.7976931348623157e308, -1.7976931348623157e308, 2.2250738585072014e-308]
    assert float(exact_sums(np.array(values), None, 1)[0]) == math.fsum(values)


def test_a_sum_beyond_doubles_is_infinite_and_comes_back_from_there() -> None:
    huge = exact_sums(np.array([1.7e308, 1.7e308]), None, 1)[0]
    assert float(huge) == math.inf
    assert float(huge + exact_sums(np.array([-1.7e308]), None, 1)[0]) == 1.7e308
    assert float(exact_sums(np.array([-1.7e308, -1.7e308]), None, 1)[0]) == -math.inf


def test_longs_beyond_two_to_the_53_are_exact() -> None:
    values = np.array([2**53 + 1, 2**53 + 1, 1, -(2**63), 2**63 - 1])
    assert exact_sums(values, None, 1)[0].scaled == 2**54 + 2
    assert exact_sums(np.full(100_000, 2**63 - 1), None, 1)[0].scaled == 100_000 * (2**63 - 1)


def test_more_values_than_fit_one_pass_are_exact() -> None:
    values = np.random.default_rng(5).normal(size=200_000) * 10.0 ** (np.arange(200_000) % 30)
    groups = np.arange(200_000) % 3
    sums = exact_sums(values, groups, 3)
    assert [float(total) for total in sums] == [math.fsum(values[groups == g]) for g in range(3)]


def test_no_values_sum_to_zero_in_every_group() -> None:
    assert [float(total) for total in exact_sums(np.array([]), np.array([], np.int64), 3)] == [0.0] * 3
    assert [float(total) for total in exact_sums(np.array([2.5]), np.array([1]), 3)] == [0.0, 2.5, 0.0]


def test_equal_sums_have_equal_bytes_and_zero_has_three() -> None:
    assert ExactSum(8, -1).serialize() == ExactSum(1, 2).serialize()
    assert ExactSum(0, 77).serialize() == ExactSum().serialize() == b"\0\0\0"


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_what_is_not_finite_is_refused(value) -> None:
    with pytest.raises(BadArgument, match="finite"):
        exact_sums(np.array([1.0, value]), None, 1)


@pytest.mark.parametrize("value", [5e-324, 1.7976931348623157e308, -(2.0**1023)])
def test_sums_and_squares_of_the_least_and_the_greatest_doubles_are_read_again(value: float) -> None:
    for power in (1, 2):
        (total,) = exact_sums(np.full(5000, value), None, 1, power)
        assert ExactSum.deserialize(total.serialize()).fraction() == 5000 * Fraction(value) ** power


@pytest.mark.parametrize("exponent", [-32768, -2149, 2113, 32767])
def test_an_exponent_that_no_sum_of_doubles_has_is_refused(exponent: int) -> None:
    with pytest.raises(BadData, match="exponent of -2148 to 2112"):
        ExactSum.deserialize(exponent.to_bytes(2, "little", signed=True) + b"\1")


def test_bytes_that_are_too_few_are_refused() -> None:
    with pytest.raises(BadData, match="3 bytes or more, got 2"):
        ExactSum.deserialize(b"\0\0")
