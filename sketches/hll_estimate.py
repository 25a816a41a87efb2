"""Estimator and bounds of HyperLogLog, those of Apache DataSketches for merged sketches.

Sparse sketches count coupons and correct for the few that collide. Dense ones use the composite
estimator: the raw harmonic estimate put right by an interpolated curve, or linear counting while
many registers are still empty. Source: P. Flajolet et al., "HyperLogLog: the analysis of a
near-optimal cardinality estimation algorithm" (2007); the curve and the crossover points are
DataSketches' own.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from sketches.errors import BadArgument
from sketches.hll_tables import (
    COUPON_X,
    COUPON_Y,
    LOWER_RELATIVE_ERROR,
    MIN_LG_K,
    UPPER_RELATIVE_ERROR,
    interpolation_points,
)

# Standard error of a coupon count relative to the estimate, at the size where sparse ends.
_COUPON_ERROR = 0.409 / (1 << 13)
# Standard error of a dense sketch times sqrt(k), without HIP: sqrt(3 ln 2 - 1), cut as DataSketches cuts it.
_DENSE_ERROR = 1.03896
_EULER_GAMMA = 0.577215664901532860606512090082
_SMALL_K_CORRECTION = {4: 0.673, 5: 0.697, 6: 0.709}
_SMALL_K_CROSSOVER = {4: 0.718, 5: 0.672}


def sparse_estimate(count: int) -> float:
    """Estimate the distinct values behind so many distinct coupons.

    Args:
        count: number of distinct coupons, 0 to 10 million.

    Returns:
        The estimate, never below `count`.
    """
    return max(_cubic(COUPON_X, COUPON_Y, float(count)), float(count))


def sparse_bounds(count: int, num_std_dev: int) -> tuple[float, float]:
    """Bound the distinct values behind so many distinct coupons.

    Args:
        count: number of distinct coupons.
        num_std_dev: 1, 2 or 3, for 68, 95 or 99.7 % confidence.

    Returns:
        Lower and upper bound.

    Raises:
        BadArgument: another number of standard deviations.
    """
    _check_std_dev(num_std_dev)
    estimate = _cubic(COUPON_X, COUPON_Y, float(count))
    error = num_std_dev * _COUPON_ERROR
    return max(estimate / (1.0 + error), float(count)), max(estimate / (1.0 - error), float(count))


def dense_estimate(lg_k: int, harmonic_sum: float, empty: int) -> float:
    """Estimate the distinct values behind dense registers.

    Args:
        lg_k: 4 to 21.
        harmonic_sum: sum of 2**-register over all registers.
        empty: number of registers at 0.

    Returns:
        The estimate; its relative standard error is 1.04 / sqrt(2**lg_k).
    """
    k = 1 << lg_k
    correction = _SMALL_K_CORRECTION.get(lg_k, 0.7213 / (1.0 + 1.079 / k))
    raw = correction * k * k / harmonic_sum
    raw_points, true_points = interpolation_points(lg_k)
    if raw < raw_points[0]:
        return 0.0
    if raw > raw_points[-1]:
        return raw * (true_points[-1] / raw_points[-1])
    adjusted = _cubic(raw_points, true_points, raw)
    # Linear counting may be far off with hardly an empty register, so it is not asked above 3 k.
    if adjusted > 3 * k:
        return adjusted
    linear = _linear_counting(k, empty)
    # The mean of both decides: to choose by either of the two would bias the choice.
    crossover = _SMALL_K_CROSSOVER.get(lg_k, 0.64) * k
    return adjusted if (adjusted + linear) / 2.0 > crossover else linear


def dense_bounds(lg_k: int, harmonic_sum: float, empty: int, num_std_dev: int) -> tuple[float, float]:
    """Bound the distinct values behind dense registers.

    Args:
        lg_k: 4 to 21.
        harmonic_sum: sum of 2**-register over all registers.
        empty: number of registers at 0.
        num_std_dev: 1, 2 or 3, for 68, 95 or 99.7 % confidence.

    Returns:
        Lower and upper bound; the lower is never below the number of registers in use.

    Raises:
        BadArgument: another number of standard deviations.
    """
    _check_std_dev(num_std_dev)
    estimate = dense_estimate(lg_k, harmonic_sum, empty)
    row = lg_k - MIN_LG_K
    if row < len(LOWER_RELATIVE_ERROR):
        low, high = LOWER_RELATIVE_ERROR[row][num_std_dev - 1], UPPER_RELATIVE_ERROR[row][num_std_dev - 1]
    else:
        low = num_std_dev * _DENSE_ERROR / math.sqrt(1 << lg_k)
        high = -low
    in_use = float((1 << lg_k) - empty)
    return max(estimate / (1.0 + low), in_use), estimate / (1.0 + high)


def register_sums(registers: np.ndarray) -> tuple[float, float, int]:
    """Sum 2**-register over all registers, values below 32 and the rest apart as images keep them.

    Both sums are exact in a double, so that they may also be kept up to date step by step.

    Args:
        registers: `(2**lg_k,) uint8`, of values up to 63.

    Returns:
        The sum over registers below 32, the sum over the others, and the number of registers at 0.
    """
    empty = len(registers) - int(np.count_nonzero(registers))
    high = 0.0
    if int(registers.max()) >= 32:
        is_high = registers >= 32
        high = _sum_of_inverse_powers(registers[is_high])
        registers = registers[~is_high]
    return _sum_of_inverse_powers(registers), high, empty


def _check_std_dev(num_std_dev: int) -> None:
    if num_std_dev not in (1, 2, 3):
        raise BadArgument(f"num_std_dev: expected 1, 2 or 3, got {num_std_dev!r}")


def _sum_of_inverse_powers(registers: np.ndarray) -> float:
    """Sum 2**-register, each power made by writing the exponent of a 32-bit float."""
    exponents = np.uint32(127) - registers.astype(np.uint32)
    exponents <<= np.uint32(23)
    return float(exponents.view(np.float32).sum(dtype=np.float64))


def _linear_counting(k: int, empty: int) -> float:
    if empty == 0:
        return k * math.log(k / 0.5)
    return k * (_harmonic_number(k) - _harmonic_number(empty))


def _harmonic_number(n: int) -> float:
    if n < 25:
        return math.fsum(1.0 / i for i in range(1, n + 1))
    inverse_square = 1.0 / (n * n)
    tail = inverse_square * (
        1 / 12 - inverse_square * (1 / 120 - inverse_square * (1 / 252 - inverse_square / 240))
    )
    return math.log(n) + _EULER_GAMMA + 0.5 / n - tail


def _cubic(xs: Sequence[float], ys: Sequence[float], x: float) -> float:
    """Interpolate by the cubic through the four points around x (Lagrange)."""
    if x == xs[-1]:
        return ys[-1]
    first = min(max(bisect_right(xs, x) - 2, 0), len(xs) - 4)
    total = 0.0
    for i in range(first, first + 4):
        numerator = denominator = 1.0
        for j in range(first, first + 4):
            if j != i:
                numerator *= x - xs[j]
                denominator *= xs[i] - xs[j]
        total += ys[i] * numerator / denominator
    return total
