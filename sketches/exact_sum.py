"""Exact sums of doubles and longs in bounded memory: no rounding, whatever the order and the grouping.

A double is `m * 2**e` with integers m and e, so a sum of doubles is an integer times a power of two. That
integer is kept whole (Python's integers are unbounded; sums of n doubles need at most 2,100 + log2(n) bits,
in practice some 80). Sums made in any order, on any number of machines, are therefore equal to the last bit,
and so is all that is computed from them.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sketches.errors import BadArgument, BadData

_MANTISSA_BITS = 53
_HALF_BITS = 27
_HALF_MASK = (1 << _HALF_BITS) - 1
_MOST_AT_ONCE = 1 << 16
_LEAST_EXPONENT, _GREATEST_EXPONENT = -2 * 1074, 2 * 1024 + 64


@dataclass(frozen=True)
class ExactSum:
    """The number `scaled * 2**exponent`.

    Example:
        >>> total = exact_sums(np.array([0.1] * 10), None, 1)[0]
        >>> float(total), sum([0.1] * 10)
        (1.0, 0.9999999999999999)
    """

    scaled: int = 0
    exponent: int = 0

    def __add__(self, other: ExactSum) -> ExactSum:
        """Return the sum, exactly."""
        low = min(self.exponent, other.exponent)
        return ExactSum(
            (self.scaled << (self.exponent - low)) + (other.scaled << (other.exponent - low)), low
        )

    def __float__(self) -> float:
        """Return the nearest double; infinite where it is beyond the range of doubles."""
        return nearest_double(self.scaled << max(self.exponent, 0), 1 << max(-self.exponent, 0))

    def fraction(self) -> Fraction:
        """Return the exact sum."""
        return Fraction(self.scaled << max(self.exponent, 0), 1 << max(-self.exponent, 0))

    def serialize(self) -> bytes:
        """Return the exponent (2 bytes) and the integer, signed little-endian; equal sums are equal bytes."""
        scaled, exponent = self.scaled, self.exponent
        if scaled:
            zeros = (scaled & -scaled).bit_length() - 1
            scaled, exponent = scaled >> zeros, exponent + zeros
        else:
            exponent = 0
        return exponent.to_bytes(2, "little", signed=True) + scaled.to_bytes(
            scaled.bit_length() // 8 + 1, "little", signed=True
        )

    @classmethod
    def deserialize(cls, data: bytes) -> ExactSum:
        """Read what `serialize` wrote.

        Raises:
            BadData: fewer than 3 bytes, or an exponent out of range for sums of doubles or of their squares.
        """
        if len(data) < 3:
            raise BadData(f"expected an exact sum of 3 bytes or more, got {len(data)}")
        exponent = int.from_bytes(data[:2], "little", signed=True)
        if not _LEAST_EXPONENT <= exponent <= _GREATEST_EXPONENT:
            expected = f"{_LEAST_EXPONENT} to {_GREATEST_EXPONENT}"
            raise BadData(f"expected an exact sum with an exponent of {expected}, got {exponent}")
        return cls(int.from_bytes(data[2:], "little", signed=True), exponent)


def nearest_double(numerator: int, denominator: int) -> float:
    """Return the double nearest to a quotient of arbitrary-precision integers.

    Args:
        numerator: any integer.
        denominator: 1 and up.

    Returns:
        The double; infinite where the quotient overflows, never -0.0.
    """
    try:
        return numerator / denominator + 0.0
    except OverflowError:
        return float("inf") if numerator > 0 else float("-inf")


def exact_sums(values: np.ndarray, groups: np.ndarray | None, count: int, power: int = 1) -> list[ExactSum]:
    """Sum values, or their squares, group by group, exactly.

    Args:
        values: `(n,)` int64 or finite float64.
        groups: the group of each value, `(n,)` in `[0, count)`; None where all are in group 0.
        count: the number of groups.
        power: 1 for the values, 2 for their squares.

    Returns:
        `count` sums.

    Raises:
        BadArgument: where a value is not finite.
    """
    totals = [ExactSum()] * count
    for start in range(0, len(values), _MOST_AT_ONCE):
        piece = slice(start, start + _MOST_AT_ONCE)
        parts, exponents = _integer_parts(values[piece], power)
        sums = _sum_cells(parts, exponents, None if groups is None else groups[piece], count)
        totals = sums if start == 0 else [total + more for total, more in zip(totals, sums, strict=True)]
    return totals


def _integer_parts(values: np.ndarray, power: int) -> tuple[list[tuple[np.ndarray, int]], np.ndarray]:
    """Return int64 arrays with shifts whose shifted sum times `2**exponent` is each value's power."""
    if values.dtype == np.int64:
        zeros = np.zeros(len(values), np.int64)
        if power == 1:
            return [(values & _HALF_MASK, 0), (values >> _HALF_BITS, _HALF_BITS)], zeros
        size = np.abs(values).view(np.uint64)  # the lowest long has no positive twin, its bits are right
        a, b, c = ((size >> np.uint64(bits) & np.uint64(0x3FFFFF)).astype(np.int64) for bits in (0, 22, 44))
        return [(a * a, 0), (a * b, 23), (b * b, 44), (a * c, 45), (b * c, 67), (c * c, 88)], zeros
    if not np.isfinite(values).all():
        raise BadArgument("expected finite values, got an infinity or NaN")
    fraction, binary = np.frexp(values)
    mantissa = np.ldexp(fraction, _MANTISSA_BITS).astype(np.int64)
    exponents = (binary.astype(np.int64) - _MANTISSA_BITS) * power
    low, high = mantissa & _HALF_MASK, mantissa >> _HALF_BITS
    if power == 2:
        return [(low * low, 0), (low * high, _HALF_BITS + 1), (high * high, 2 * _HALF_BITS)], exponents
    return [(low, 0), (high, _HALF_BITS)], exponents


def _sum_cells(
    parts: list[tuple[np.ndarray, int]], exponents: np.ndarray, groups: np.ndarray | None, count: int
) -> list[ExactSum]:
    """Add up each (group, exponent) cell; halves of few enough values keep float64 bincounts exact."""
    lowest = int(exponents.min())
    width = int(exponents.max()) - lowest + 1
    cells = exponents - lowest
    if groups is not None:
        cells = groups * width + cells
    numbers, where = range(count * width), cells
    if count * width > 2 * len(cells) + 1024:
        present, where = np.unique(cells, return_inverse=True)
        numbers = present.tolist()
    totals = [0] * count
    for part, shift in parts:
        for half, half_shift in ((part & _HALF_MASK, shift), (part >> _HALF_BITS, shift + _HALF_BITS)):
            sums = np.bincount(where, weights=half, minlength=len(numbers)).tolist()
            for cell, amount in zip(numbers, sums, strict=True):
                if amount:
                    totals[cell // width] += int(amount) << (cell % width + half_shift)
    return [ExactSum(total, lowest) for total in totals]
