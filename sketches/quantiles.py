"""Quantiles of a stream of numbers, p50, p95, p99 and any other, by a KLL sketch.

Guarantee: with k 200, the rank of an answer is within 1.33 % of the rank that was asked for, 99 times
in 100, whatever the distribution; up to k values the answer is exact. The lower and upper bound are
the values at the ranks that far below and above, so they hold the true quantile with 99 %.

Merging keeps the guarantee. The sketch is randomised: the same stream may give slightly different
bytes and answers, always within the bounds.

Sources: Z. Karnin, K. Lang, E. Liberty, "Optimal quantile approximation in streams" (2016); the
sketch itself is the one of the `datasketches` package. That package crashes the process on an image
cut after 20 bytes, so an image is checked here in full before it gets to it.

    >>> sketch = Quantiles(k=200)
    >>> sketch.update_many(np.arange(1.0, 101.0))
    >>> sketch.quantile(0.95)
    (95.0, 95.0, 95.0)

Longs beyond 2**53, which doubles would round, are stored as doubles in the same order, see
`sketches.ordered_longs`; a sketch stores either all of its values that way or none.

Payload within the preamble of `sketches.codec`, parameter k, version 1, or 2 where the doubles are mapped
longs: the image of DataSketches, KLL of doubles, little-endian. Its first 8 bytes: length of
the preamble in 4-byte words (2 with up to one value, else 5), version (2 with a single value, else 1), family
15, flags (1 empty, 2 level zero sorted, 4 single value), k (2 bytes), m (8), 0. A single value follows at
once. Else: n (8 bytes), lowest k that was merged (2), number of levels (1), 0, start of every level (4 bytes
each), lowest and highest value, and the values from the first level's start on. A value of level i stands for
2**i.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from itertools import pairwise

import numpy as np
from datasketches import kll_doubles_sketch

from sketches.codec import Family, decode, encode
from sketches.errors import BadArgument, BadData
from sketches.ordered_longs import as_ordered_doubles, long_of

MIN_K = 8
MAX_K = 65535
_SMALLEST_LEVEL = 8
_MAX_LEVELS = 61
_HEAD = struct.Struct("<4BHBB")
_FULL_HEAD = struct.Struct("<4BHBBQHBB")
_EMPTY, _SORTED, _SINGLE = 1, 2, 4
_OF_DOUBLES, _OF_LONGS = 1, 2
_LONGS = np.iinfo(np.int64)


class Quantiles:
    """A mergeable summary of a distribution.

    Args:
        k: size of the sketch, 8 to 65535; the error falls nearly as 1 / k.

    Raises:
        BadArgument: k is out of range.
    """

    __slots__ = ("_of_longs", "_sketch", "k")

    def __init__(self, k: int = 200) -> None:
        if not isinstance(k, int) or not MIN_K <= k <= MAX_K:
            raise BadArgument(f"k: expected an integer of {MIN_K} to {MAX_K}, got {k!r}")
        self.k = k
        self._of_longs = False
        self._sketch = kll_doubles_sketch(k)

    @property
    def n(self) -> int:
        """How many values were added."""
        return self._sketch.n

    @property
    def rank_error(self) -> float:
        """How far the rank of an answer may be off with 99 % confidence, 0 to 1; 0 while exact."""
        return self._sketch.normalized_rank_error(False) if self._sketch.is_estimation_mode() else 0.0

    def update_many(self, values: np.ndarray) -> None:
        """Add values.

        Args:
            values: `(n,) float64`, none of them NaN.

        Raises:
            BadArgument: another shape or type, or a NaN, which has no rank. The sketch is as it was.
        """
        _expect_column(values, np.float64)
        not_numbers = int(np.count_nonzero(np.isnan(values)))
        if not_numbers:
            raise BadArgument(f"values: expected numbers, got {not_numbers} NaN among {len(values)}")
        if self._of_longs:
            values = _ordered(values)
        self._sketch.update(np.ascontiguousarray(values))

    def update_longs(self, values: np.ndarray) -> None:
        """Add longs without rounding; from then on the sketch stores longs.

        Args:
            values: `(n,) int64`.

        Raises:
            BadArgument: another shape or type. The sketch is as it was.
        """
        _expect_column(values, np.int64)
        self._turn_to_longs()
        self._sketch.update(as_ordered_doubles(values))

    def quantile(self, q: float) -> tuple[float, float, float] | None:
        """Give the smallest value that at least a share q of all values does not exceed.

        Args:
            q: 0 to 1; 0 is the lowest value and 1 the highest, both exact.

        Returns:
            The value and its lower and upper bound, as integers where the sketch stores longs; None while
            empty.

        Raises:
            BadArgument: q is out of range.
        """
        if not 0.0 <= q <= 1.0:
            raise BadArgument(f"q: expected 0 to 1, got {q!r}")
        if self._sketch.is_empty():
            return None
        error = 0.0 if q in (0.0, 1.0) else self.rank_error
        value, lower, upper = (self._at(rank) for rank in (q, q - error, q + error))
        if self._of_longs:
            return long_of(value)[0], long_of(lower)[1], long_of(upper)[2]
        return value, lower, upper

    def merge(self, other: Quantiles) -> None:
        """Add everything that another sketch has seen; the other stays as it is.

        Args:
            other: a sketch of the same k.

        Raises:
            BadArgument: another k, which would silently give its larger error to this one.
        """
        if other.k != self.k:
            raise BadArgument(f"merge: expected a sketch of k {self.k}, got {other.k}")
        if self._of_longs != other._of_longs:
            self._turn_to_longs()
            other = Quantiles.deserialize(other.serialize())
            other._turn_to_longs()
        self._sketch.merge(other._sketch)

    def serialize(self) -> bytes:
        """Write the sketch.

        Returns:
            An image; its format is told at the top of this module.
        """
        version = _OF_LONGS if self._of_longs else _OF_DOUBLES
        return encode(Family.QUANTILES, self._sketch.serialize(), version=version, parameters=(self.k,))

    def datasketches_image(self) -> bytes:
        """Write the sketch as a bare Apache DataSketches image; longs are rounded to doubles."""
        image = self._sketch.serialize()
        return _with_values(image, _as_doubles) if self._of_longs else image

    @classmethod
    def deserialize(cls, image: bytes) -> Quantiles:
        """Read a sketch that `serialize` wrote; it takes updates like any other.

        Args:
            image: a whole image.

        Returns:
            The sketch.

        Raises:
            BadData: the bytes are no such image.
        """
        frame = decode(image, Family.QUANTILES, parameter_count=1, versions=(_OF_DOUBLES, _OF_LONGS))
        (k,) = frame.parameters
        _expect(MIN_K <= k <= MAX_K, f"k of {MIN_K} to {MAX_K}", k)
        payload = bytes(frame.payload)
        _check_payload(payload, k)
        sketch = cls.__new__(cls)
        sketch.k, sketch._of_longs = k, frame.version == _OF_LONGS
        try:
            sketch._sketch = kll_doubles_sketch.deserialize(payload)
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            raise BadData("quantiles image: refused by the KLL decoder") from error
        return sketch

    def _turn_to_longs(self) -> None:
        if not self._of_longs:
            image = _with_values(self._sketch.serialize(), _ordered)
            self._sketch, self._of_longs = kll_doubles_sketch.deserialize(image), True

    def _at(self, rank: float) -> float:
        # The ends are kept apart: compaction may drop the extremes from the levels.
        if rank <= 0.0:
            return self._sketch.get_min_value()
        if rank >= 1.0:
            return self._sketch.get_max_value()
        return self._sketch.get_quantile(rank, True)


def _expect_column(values: object, type_: type[np.generic]) -> None:
    if not isinstance(values, np.ndarray) or values.dtype != type_ or values.ndim != 1:
        got = getattr(values, "dtype", type(values))
        raise BadArgument(f"values: expected (n,) {type_.__name__}, got {got}")


def _with_values(image: bytes, change: Callable[[np.ndarray], np.ndarray]) -> bytes:
    """Return an image with its values replaced by a function that keeps their order."""
    flags = image[3]
    if flags & _EMPTY:
        return image
    start = _HEAD.size if flags & _SINGLE else _FULL_HEAD.size + 4 * image[18]
    return image[:start] + change(np.frombuffer(image, "<f8", offset=start)).astype("<f8").tobytes()


def _ordered(values: np.ndarray) -> np.ndarray:
    """Return doubles in the representation of longs; values beyond int64 are clamped."""
    inside = (values >= _LONGS.min) & (values < 2.0**63)
    longs = np.where(values < 0, _LONGS.min, _LONGS.max)
    longs[inside] = values[inside].astype(np.int64)
    return as_ordered_doubles(longs)


def _as_doubles(ordered: np.ndarray) -> np.ndarray:
    return np.array([float(long_of(value)[0]) for value in ordered.tolist()])


def _check_payload(payload: bytes, k: int) -> None:
    """Refuse whatever the KLL decoder might trip over."""
    _expect(len(payload) >= _HEAD.size, "at least 8 bytes of payload", len(payload))
    words, version, family, flags, found_k, m, _ = _HEAD.unpack_from(payload)
    _expect(family == 15, "KLL family 15", family)
    _expect(found_k == k, f"k {k}", found_k)
    _expect(m == _SMALLEST_LEVEL, f"m {_SMALLEST_LEVEL}", m)
    _expect(flags & ~(_EMPTY | _SORTED | _SINGLE) == 0, "known flags", flags)
    if flags & _EMPTY:
        _expect((words, version, len(payload)) == (2, 1, 8), "an empty sketch", len(payload))
    elif flags & _SINGLE:
        _expect((words, version, len(payload)) == (2, 2, 16), "a single value", len(payload))
        _check_values(np.frombuffer(payload, dtype="<f8", offset=8))
    else:
        _expect((words, version) == (5, 1), "a full preamble", (words, version))
        _check_levels(payload, k)


def _check_levels(payload: bytes, k: int) -> None:
    _expect(len(payload) >= _FULL_HEAD.size, "at least 20 bytes of payload", len(payload))
    n, lowest_k, levels = _FULL_HEAD.unpack_from(payload)[7:10]
    _expect(lowest_k == k, f"lowest k {k}", lowest_k)
    _expect(1 <= levels <= _MAX_LEVELS, f"1 to {_MAX_LEVELS} levels", levels)
    values_start = _FULL_HEAD.size + 4 * levels
    _expect(len(payload) >= values_start + 16, "starts of levels", len(payload))
    starts = list(struct.unpack_from(f"<{levels}I", payload, _FULL_HEAD.size))
    capacity = sum(_level_capacity(k, levels - 1 - level) for level in range(levels))
    starts.append(capacity)
    ascending = all(a <= b for a, b in pairwise(starts))
    _expect(ascending, f"ascending starts up to {capacity}", starts)
    expected = values_start + 16 + 8 * (capacity - starts[0])
    _expect(len(payload) == expected, f"{expected} bytes of payload", len(payload))
    weight = sum((starts[i + 1] - starts[i]) << i for i in range(levels))
    _expect(weight == n, f"values that stand for {n}", weight)
    numbers = np.frombuffer(payload, dtype="<f8", offset=values_start)
    _check_values(numbers)
    inside = numbers[0] <= numbers[2:].min() and numbers[2:].max() <= numbers[1]
    _expect(bool(inside), "values between the lowest and the highest", "others")
    values = numbers[2:]
    for level in range(1, levels):
        run = values[starts[level] - starts[0] : starts[level + 1] - starts[0]]
        _expect(bool((run[1:] >= run[:-1]).all()), "sorted levels", level)


def _check_values(values: np.ndarray) -> None:
    _expect(len(values) > 0 and not np.isnan(values).any(), "numbers", "NaN")


def _level_capacity(k: int, depth: int) -> int:
    """Give how many values a level holds: k shrunk by 2/3 for every level above, rounded, at least 8."""
    return max(_SMALLEST_LEVEL, (((2 * k) << depth) // 3**depth + 1) >> 1)


def _expect(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise BadData(f"quantiles image: expected {expected}, got {got}")
