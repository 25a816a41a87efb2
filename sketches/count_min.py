"""Count-Min: estimated total weight of any item, from a fixed table of counters.

Guarantee: with W the total weight, an estimate is never below the true weight of an item, and above
it by more than `epsilon * W` for at most a share `delta` of the items, where epsilon is
e / num_buckets and delta is e ** -num_hashes. So `upper_bound` is the estimate itself, which always
holds, and `lower_bound` is `max(0, estimate - epsilon * W)`, which holds with confidence 1 - delta.

Every row has its own bucket for an item, by double hashing: the i-th row uses h1 + i * h2 of the
item's 128-bit hash, whose upper half is scaled to the number of buckets.

Sources: G. Cormode, S. Muthukrishnan, "An improved data stream summary: the Count-Min sketch and its
applications" (2005); A. Kirsch, M. Mitzenmacher, "Less hashing, same performance" (2008).

    >>> from sketches.hashing import hash_strings
    >>> sketch = CountMin(*CountMin.suggest(epsilon=0.01, delta=0.01))
    >>> sketch.update_many(hash_strings(["apple", "pear", "apple"]))
    >>> sketch.estimate_many(hash_strings(["apple", "pear", "plum"])).tolist()
    [2, 1, 0]

Payload within the preamble of `sketches.codec`, parameters num_hashes and num_buckets, little-endian:
the total weight (8 bytes), then with flag 1 clear all counters row by row; with flag 1 set only
those that are not 0: first their places (4 bytes each, ascending), then their values. Counters are
1, 2, 4 or 8 bytes wide, flag bits 2 and 4 being the binary logarithm: the narrowest width that
holds the largest. All rows of counters sum to the total weight, which a decoder checks. With a total beyond
63 bits counters are Python integers (arbitrary precision); the total and each counter then take 16 bytes,
serial version 2.
"""

from __future__ import annotations

import math

import numpy as np

from sketches.codec import MAX_TABLE_BYTES, Family, decode, encode
from sketches.errors import BadArgument, BadData
from sketches.hashing import SEED, check_hashes, seed_hash
from sketches.wide_numbers import MAX_LONG, WIDE_BYTES, check_total, checked_weights, read_wide, wide_bytes

MAX_HASHES = 32
MAX_COUNTERS = MAX_TABLE_BYTES // 8
_SEED_HASH = seed_hash(SEED)
_SPARSE = 1
_WIDTHS = (np.dtype("<u1"), np.dtype("<u2"), np.dtype("<u4"), np.dtype("<u8"))
_HIGH_HALF = np.uint64(32)
_WIDE_VERSION = 2


class CountMin:
    """A mergeable table of frequencies.

    Args:
        num_hashes: rows of counters, 1 to 32.
        num_buckets: counters in a row, 2 and up; both together at most 2**23 counters.

    Raises:
        BadArgument: a parameter is out of range.
    """

    __slots__ = ("_counters", "num_buckets", "num_hashes", "total_weight")

    def __init__(self, num_hashes: int, num_buckets: int) -> None:
        if not 1 <= num_hashes <= MAX_HASHES:
            raise BadArgument(f"num_hashes: expected 1 to {MAX_HASHES}, got {num_hashes!r}")
        if not 2 <= num_buckets <= MAX_COUNTERS // num_hashes:
            raise BadArgument(f"num_buckets: expected 2 to {MAX_COUNTERS // num_hashes}, got {num_buckets!r}")
        self.num_hashes = num_hashes
        self.num_buckets = num_buckets
        self.total_weight = 0
        self._counters = np.zeros((num_hashes, num_buckets), dtype=np.int64)

    @staticmethod
    def suggest(epsilon: float, delta: float) -> tuple[int, int]:
        """Choose parameters for a wanted error, within the size limit of a table.

        Args:
            epsilon: error as a share of the total weight, above 0 and below 1.
            delta: share of items that may be further off, above 0 and below 1.

        Returns:
            num_hashes and num_buckets, the arguments of `CountMin`.

        Raises:
            BadArgument: a share is out of range, or means a table that is too large.
        """
        for name, value in (("epsilon", epsilon), ("delta", delta)):
            if not 0.0 < value < 1.0:
                raise BadArgument(f"{name}: expected a number between 0 and 1, got {value!r}")
        num_hashes = math.ceil(-math.log(delta))
        if num_hashes > MAX_HASHES:
            least = math.exp(-MAX_HASHES) * 1.01
            raise BadArgument(
                f"delta: {delta:g} means {num_hashes} rows of counters; at most {MAX_HASHES} are allowed, "
                f"so at least {least:.2g}"
            )
        most = MAX_COUNTERS // num_hashes
        if math.e / epsilon > most:
            mebibytes = min(8 * num_hashes * (math.e / epsilon) / 2**20, 1e300)
            raise BadArgument(
                f"epsilon: {epsilon:g} with delta {delta:g} means a table of {mebibytes:.3g} MiB; at most "
                f"{MAX_TABLE_BYTES >> 20} MiB are allowed, so at least {math.e / most * 1.01:.2g}"
            )
        return num_hashes, max(2, math.ceil(math.e / epsilon))

    @property
    def epsilon(self) -> float:
        """The error, as a share of the total weight, that an estimate seldom exceeds."""
        return math.e / self.num_buckets

    @property
    def confidence(self) -> float:
        """How often the lower bound holds, 0 to 1."""
        return 1.0 - math.exp(-self.num_hashes)

    def update_many(self, hashes: np.ndarray, weights: np.ndarray | None = None) -> None:
        """Add items by their hashes.

        Args:
            hashes: `(n, 2) uint64` of `sketches.hashing`; an item may come several times.
            weights: `(n,) int64`, or Python integers (dtype object), none negative; 1 each when left out.

        Raises:
            BadArgument: another shape or type, a negative weight, or a total beyond 2**128 - 1. The
                sketch is as it was.
        """
        check_hashes(hashes)
        added = len(hashes) if weights is None else _checked_sum(weights, len(hashes))
        self._widen_if_needed(added)
        amounts = 1 if weights is None else weights.astype(self._counters.dtype, copy=False)
        for row, places in zip(self._counters, self._places(hashes), strict=True):
            np.add.at(row, places, amounts)
        self.total_weight += added

    def estimate_many(self, hashes: np.ndarray) -> np.ndarray:
        """Estimate the weights of items.

        Args:
            hashes: `(n, 2) uint64` of `sketches.hashing`.

        Returns:
            `(n,) int64`, or Python integers (dtype object) with a total beyond 63 bits; never below the
            true weight.

        Raises:
            BadArgument: another shape or type.
        """
        check_hashes(hashes)
        found = np.full(len(hashes), self.total_weight, dtype=self._counters.dtype)
        for row, places in zip(self._counters, self._places(hashes), strict=True):
            np.minimum(found, row[places], out=found)
        return found

    def lower_bound(self, hashes: np.ndarray) -> np.ndarray:
        """Return lower bounds of the weights of items, which hold with `confidence`.

        Args:
            hashes: `(n, 2) uint64`.

        Returns:
            As `estimate_many`.

        Raises:
            BadArgument: another shape or type.
        """
        error = min(math.floor(self.epsilon * self.total_weight), self.total_weight)
        return np.maximum(self.estimate_many(hashes) - error, 0)

    def upper_bound(self, hashes: np.ndarray) -> np.ndarray:
        """Return upper bounds of the weights of items, which always hold.

        Args:
            hashes: `(n, 2) uint64`.

        Returns:
            The estimates.

        Raises:
            BadArgument: another shape or type.
        """
        return self.estimate_many(hashes)

    def merge(self, other: CountMin) -> None:
        """Add everything that another sketch has counted; the other stays as it is.

        Args:
            other: a sketch of the same parameters.

        Raises:
            BadArgument: other parameters, or a total weight beyond 2**128 - 1.
        """
        mine, theirs = (self.num_hashes, self.num_buckets), (other.num_hashes, other.num_buckets)
        if mine != theirs:
            raise BadArgument(f"merge: expected num_hashes and num_buckets {mine}, got {theirs}")
        self._widen_if_needed(other.total_weight)
        self._counters += other._counters
        self.total_weight += other.total_weight

    def serialize(self) -> bytes:
        """Write the sketch, sparse when that is shorter.

        Returns:
            An image; its format is told at the top of this module.
        """
        flat = self._counters.ravel()
        wide = self._is_wide()
        lg_width = 0 if wide else _lg_width(int(flat.max()))
        width = WIDE_BYTES if wide else _WIDTHS[lg_width].itemsize
        write = wide_bytes if wide else lambda values: values.astype(_WIDTHS[lg_width]).tobytes()
        flags, total = lg_width << 1, self.total_weight.to_bytes(_total_bytes(wide), "little")
        if np.count_nonzero(flat) * (4 + width) < len(flat) * width:
            places = np.flatnonzero(flat)
            payload = total + places.astype("<u4").tobytes() + write(flat[places])
            flags |= _SPARSE
        else:
            payload = total + write(flat)
        return encode(
            Family.COUNT_MIN,
            payload,
            version=_WIDE_VERSION if wide else 1,
            flags=flags,
            parameters=(self.num_hashes, self.num_buckets),
            seed_hash=_SEED_HASH,
        )

    @classmethod
    def deserialize(cls, image: bytes) -> CountMin:
        """Read a sketch that `serialize` wrote; it takes updates like any other.

        Args:
            image: a whole image.

        Returns:
            The sketch.

        Raises:
            BadData: the bytes are no such image.
        """
        frame = decode(
            image,
            Family.COUNT_MIN,
            parameter_count=2,
            versions=(1, _WIDE_VERSION),
            known_flags=7,
            seed_hash=_SEED_HASH,
        )
        payload, wide = frame.payload, frame.version == _WIDE_VERSION
        _expect(not wide or frame.flags <= _SPARSE, "one width of wide counters", frame.flags)
        width = WIDE_BYTES if wide else _WIDTHS[frame.flags >> 1].itemsize
        num_hashes, num_buckets = frame.parameters
        size, begin = num_hashes * num_buckets, _total_bytes(wide)
        _expect(1 <= num_hashes <= MAX_HASHES and num_buckets >= 2, "parameters in range", frame.parameters)
        _expect(size <= MAX_COUNTERS, f"at most {MAX_COUNTERS} counters", size)
        _expect(len(payload) >= begin, f"at least {begin} bytes of payload", len(payload))
        body = payload[begin:]
        places, count = slice(None), size
        if frame.flags & _SPARSE:
            _expect(len(body) % (4 + width) == 0, "whole entries", len(body))
            count = len(body) // (4 + width)
            places = np.frombuffer(body[: 4 * count], dtype="<u4")
            _expect(count == 0 or int(places[-1]) < size, f"places below {size}", count)
            _expect(bool((places[1:] > places[:-1]).all()), "ascending places", count)
            body = body[4 * count :]
        _expect(len(body) == count * width, f"{count * width} bytes", len(body))
        values = read_wide(body) if wide else np.frombuffer(body, dtype=_WIDTHS[frame.flags >> 1])
        total = int.from_bytes(payload[:begin], "little", signed=not wide)
        _expect((total > MAX_LONG) == wide, "a total of the version's width", total)
        _expect(len(values) == 0 or int(values.max()) <= total, "counters within the total", total)
        sketch = cls(num_hashes, num_buckets)
        if wide:
            sketch._counters = sketch._counters.astype(object)
        sketch._counters.reshape(-1)[places] = values
        row_sums = sketch._counters.sum(axis=1)
        fits = bool((row_sums == total).all())
        if fits and not wide:
            # No counter exceeds the total, so a rough row sum in doubles detects an int64 overflow.
            rough = sketch._counters.sum(axis=1, dtype=np.float64)
            fits = bool((np.abs(rough - total) <= 1e-6 * total + 1).all())
        _expect(fits, f"rows that sum to {total}", row_sums.tolist())
        sketch.total_weight = total
        return sketch

    def _is_wide(self) -> bool:
        """Return whether counters are Python integers."""
        return self._counters.dtype == object

    def _places(self, hashes: np.ndarray) -> list[np.ndarray]:
        """Give the bucket of each item, row by row."""
        word, step = hashes[:, 0].copy(), hashes[:, 1]
        scale = np.uint64(self.num_buckets)
        rows = []
        for _ in range(self.num_hashes):
            place = word >> _HIGH_HALF
            place *= scale
            place >>= _HIGH_HALF
            rows.append(place.view(np.int64))
            word += step
        return rows

    def _widen_if_needed(self, added: int) -> None:
        """Switch to counters of Python integers if the new total exceeds 63 bits."""
        total = self.total_weight + added
        if total > MAX_LONG:
            check_total(total)
            self._counters = self._counters.astype(object, copy=False)


def _checked_sum(weights: np.ndarray, count: int) -> int:
    is_plain = isinstance(weights, np.ndarray) and weights.dtype == np.int64 and weights.shape == (count,)
    if is_plain and count and weights.min() >= 0 and weights.max() <= MAX_LONG // count:
        return int(weights.sum())
    return sum(checked_weights(weights, count))


def _total_bytes(wide: bool) -> int:
    return WIDE_BYTES if wide else 8


def _lg_width(largest: int) -> int:
    return next(lg for lg, width in enumerate(_WIDTHS) if largest < 1 << (8 * width.itemsize))


def _expect(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise BadData(f"Count-Min image: expected {expected}, got {got}")
