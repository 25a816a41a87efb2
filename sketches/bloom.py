"""Bloom filter: set membership without false negatives, and with a known rate of false positives.

Guarantee: a value that was added is always found. One that was not is found by mistake, a *false positive*,
with a probability that is known at any time: the share of bits that are set, to the power `num_hashes`. With
`suggest(capacity, rate)` it is `rate` once `capacity` values were added, at 1.44 * log2(1 / rate) bits a
value: 1,000,000 values at 1 % take 1.2 MB. A filter never refuses a value, so its rate keeps rising; where
that matters, check `false_positive_rate`, or use `sketches.growing_bloom`.

A value has `num_hashes` bits, by double hashing: the i-th is h + i * mix(h) of the first word h of its
128-bit hash, whose upper half is scaled to the number of bits. So a log of additions needs only one word per
value.

Sources: B. H. Bloom, "Space/time trade-offs in hash coding with allowable errors" (1970); A. Kirsch, M.
Mitzenmacher, "Less hashing, same performance" (2008); S. J. Swamidass, P. Baldi, "Mathematical correction
for fingerprint similarity measures to improve chemical retrieval" (2007), for the number of values from the
bits.

    >>> from sketches.hashing import hash_strings
    >>> seen = Bloom(*Bloom.suggest(capacity=1000, rate=0.01))
    >>> seen.add_many(hash_strings(["ann", "bob", "ann"])[:, 0]).tolist()
    [True, True, False]
    >>> seen.contains_many(hash_strings(["bob", "eve"])[:, 0]).tolist()
    [True, False]

Payload within the preamble of `sketches.codec`, parameters num_hashes and num_bits, little-endian: with
flag 1 clear all bits, the lowest of a byte first, those beyond num_bits clear; with flag 1 set, in filters of
64 MiB at most, the places of the bits that are set (4 bytes each, ascending).
"""

from __future__ import annotations

import math

import numpy as np

from sketches.codec import MAX_TABLE_BYTES, Family, decode, encode
from sketches.errors import BadArgument, BadData
from sketches.hashing import SEED, seed_hash

MAX_HASHES = 32
MAX_BITS = 2**32 - 1
_SEED_HASH = seed_hash(SEED)
_SPARSE = 1
_HIGH_HALF = np.uint64(32)
_SHIFT = np.uint64(29)
_MIX = np.uint64(0x9FB21C651E98DF25)
_THREE, _SEVEN = np.uint32(3), np.uint32(7)


class Bloom:
    """A mergeable set of which only membership is known.

    Args:
        num_hashes: bits of a value, 1 to 32.
        num_bits: bits of the filter, 8 to 2**32 - 1.

    Raises:
        BadArgument: a parameter is out of range.
    """

    __slots__ = ("_bytes", "num_bits", "num_hashes", "ones")

    def __init__(self, num_hashes: int, num_bits: int) -> None:
        if not 1 <= num_hashes <= MAX_HASHES:
            raise BadArgument(f"num_hashes: expected 1 to {MAX_HASHES}, got {num_hashes!r}")
        if not 8 <= num_bits <= MAX_BITS:
            raise BadArgument(f"num_bits: expected 8 to {MAX_BITS}, got {num_bits!r}")
        self.num_hashes = num_hashes
        self.num_bits = num_bits
        self.ones = 0
        """How many bits are set."""
        self._bytes = np.zeros(-(-num_bits // 8), dtype=np.uint8)

    @staticmethod
    def suggest(capacity: int, rate: float) -> tuple[int, int]:
        """Choose parameters for a wanted rate of false positives.

        Args:
            capacity: how many values are to be added, 1 and up.
            rate: the rate once they are, above 0 and below 1.

        Returns:
            num_hashes and num_bits, the arguments of `Bloom`.

        Raises:
            BadArgument: a figure is out of range, or would take more than 2**32 - 1 bits.
        """
        if capacity < 1:
            raise BadArgument(f"capacity: expected 1 or more, got {capacity!r}")
        if not 0.0 < rate < 1.0:
            raise BadArgument(f"rate: expected a number between 0 and 1, got {rate!r}")
        num_hashes = min(MAX_HASHES, max(1, round(-math.log2(rate))))
        # For a whole number of hashes: rate = (1 - e ** (-num_hashes * capacity / num_bits)) ** num_hashes.
        share = -math.log1p(-(rate ** (1.0 / num_hashes)))
        num_bits = max(8, math.ceil(num_hashes * capacity / share))
        if num_bits > MAX_BITS:
            raise BadArgument(
                f"capacity: expected what fits into {MAX_BITS} bits at rate {rate}, got {capacity}"
            )
        return num_hashes, num_bits

    @property
    def fill(self) -> float:
        """The share of bits that are set, 0 to 1."""
        return self.ones / self.num_bits

    @property
    def false_positive_rate(self) -> float:
        """With which probability a value that was never added is found now, 0 to 1."""
        return self.fill**self.num_hashes

    def add_many(self, words: np.ndarray) -> np.ndarray:
        """Add values by their hashes, and tell which were not there yet.

        Args:
            words: `(n,) uint64`, the first word of each value's hash; a value may come several times.

        Returns:
            `(n,) bool`: true for what was not there before this call, at its first place in it. Values that
            are there by a false positive are false, so no value is ever true twice.

        Raises:
            BadArgument: another shape or type.
        """
        fresh = first_places(words, self.contains_many(words))
        self.insert_many(words[fresh])
        return fresh

    def insert_many(self, words: np.ndarray) -> None:
        """Add values by their hashes.

        Args:
            words: `(n,) uint64`, the first word of each value's hash.

        Raises:
            BadArgument: another shape or type.
        """
        check_words(words)
        word, step, rows = words, _steps(words), []
        for _ in range(self.num_hashes):
            places = self._places(word)
            rows.append(places[~self._are_set(places)])
            word = word + step
        places = np.concatenate(rows)
        places.sort()
        first = np.ones(len(places), dtype=bool)
        first[1:] = places[1:] != places[:-1]
        self._raise_bits(places[first])

    def contains_many(self, words: np.ndarray) -> np.ndarray:
        """Tell which values were added.

        Args:
            words: `(n,) uint64`, the first word of each value's hash.

        Returns:
            `(n,) bool`: true for all that were, and for others with probability `false_positive_rate`.

        Raises:
            BadArgument: another shape or type.
        """
        check_words(words)
        found = np.zeros(len(words), dtype=bool)
        left, word, step = np.arange(len(words)), words, _steps(words)
        for number in range(self.num_hashes):
            there = self._are_set(self._places(word))
            left, word, step = left[there], word[there], step[there]
            if number < self.num_hashes - 1:
                word = word + step
        found[left] = True
        return found

    def estimate(self) -> float:
        """Estimate how many different values were added; infinite where all bits are set."""
        return self._members(self.num_bits - self.ones)

    def lower_bound(self, num_std_dev: int = 2) -> float:
        """Give what the number of values is at least.

        Args:
            num_std_dev: how many standard errors below the estimate: 1, 2 or 3.
        """
        return self._bound(-num_std_dev)

    def upper_bound(self, num_std_dev: int = 2) -> float:
        """Give what the number of values is at most.

        Args:
            num_std_dev: how many standard errors above the estimate: 1, 2 or 3.
        """
        return self._bound(num_std_dev)

    def merge(self, other: Bloom) -> None:
        """Add everything that another filter has seen; the other stays as it is.

        Args:
            other: a filter of the same parameters.

        Raises:
            BadArgument: other parameters.
        """
        mine, theirs = (self.num_hashes, self.num_bits), (other.num_hashes, other.num_bits)
        if mine != theirs:
            raise BadArgument(f"merge: expected num_hashes and num_bits {mine}, got {theirs}")
        self._bytes |= other._bytes
        self.ones = _count(self._bytes)

    def serialize(self) -> bytes:
        """Write the filter, as sparse positions where that is shorter and the filter small enough.

        Returns:
            An image; its format is told at the top of this module.
        """
        flags, payload = 0, self._bytes
        if 4 * self.ones < len(self._bytes) <= MAX_TABLE_BYTES:
            filled = np.flatnonzero(self._bytes)
            rows, bits = np.nonzero(np.unpackbits(self._bytes[filled, None], axis=1, bitorder="little"))
            flags, payload = _SPARSE, (8 * filled[rows] + bits).astype("<u4")
        parameters = (self.num_hashes, self.num_bits)
        return encode(
            Family.BLOOM, payload.tobytes(), flags=flags, parameters=parameters, seed_hash=_SEED_HASH
        )

    @classmethod
    def deserialize(cls, image: bytes) -> Bloom:
        """Read a filter that `serialize` wrote; it takes values like any other.

        Args:
            image: a whole image.

        Returns:
            The filter.

        Raises:
            BadData: the bytes are no such image.
        """
        frame = decode(image, Family.BLOOM, parameter_count=2, known_flags=_SPARSE, seed_hash=_SEED_HASH)
        num_hashes, num_bits = frame.parameters
        _expect(1 <= num_hashes <= MAX_HASHES and num_bits >= 8, "parameters in range", frame.parameters)
        size = -(-num_bits // 8)
        if not frame.flags & _SPARSE:
            _expect(len(frame.payload) == size, f"{size} bytes of bits", len(frame.payload))
            surplus = 8 * size - num_bits
            _expect(frame.payload[-1] >> (8 - surplus) == 0, f"bits below {num_bits}", frame.payload[-1])
            filled = cls(num_hashes, num_bits)
            filled._bytes[:] = np.frombuffer(frame.payload, dtype=np.uint8)
            filled.ones = _count(filled._bytes)
            return filled
        _expect(size <= MAX_TABLE_BYTES, f"places of at most {MAX_TABLE_BYTES} bytes of bits", size)
        _expect(len(frame.payload) % 4 == 0, "whole places", len(frame.payload))
        _expect(len(frame.payload) < size, f"less than {size} bytes of places", len(frame.payload))
        places = np.frombuffer(frame.payload, dtype="<u4").astype(np.uint32)
        _expect(len(places) == 0 or int(places[-1]) < num_bits, f"places below {num_bits}", len(places))
        _expect(bool((places[1:] > places[:-1]).all()), "ascending places", len(places))
        filled = cls(num_hashes, num_bits)
        filled._raise_bits(places)
        return filled

    def _raise_bits(self, places: np.ndarray) -> None:
        """Set bits that are clear, each named once."""
        # Adding sets a bit that is clear, and numpy adds at places much faster than it ors.
        np.add.at(self._bytes, places >> _THREE, np.left_shift(1, places & _SEVEN, dtype=np.uint8))
        self.ones += len(places)

    def _are_set(self, places: np.ndarray) -> np.ndarray:
        return (self._bytes[places >> _THREE] >> (places & _SEVEN).astype(np.uint8)) & np.uint8(1) != 0

    def _places(self, word: np.ndarray) -> np.ndarray:
        """Give the bit of each value for one of its words, `(n,) uint32`."""
        place = word >> _HIGH_HALF
        place *= np.uint64(self.num_bits)
        place >>= _HIGH_HALF
        return place.astype(np.uint32)

    def _members(self, zeros: float) -> float:
        """Give how many values leave so many bits clear, on average."""
        if zeros <= 0:
            return math.inf
        return max(0.0, -self.num_bits / self.num_hashes * math.log(zeros / self.num_bits))

    def _bound(self, num_std_dev: int) -> float:
        if num_std_dev not in (-3, -2, -1, 1, 2, 3):
            raise BadArgument(f"num_std_dev: expected 1, 2 or 3, got {abs(num_std_dev)!r}")
        zeros = self.num_bits - self.ones
        if zeros == 0:
            # All that is known is that the last bit was set: half of all orders need less than this.
            return math.inf if num_std_dev > 0 else self._members(1)
        load = -math.log(zeros / self.num_bits)
        left = zeros / self.num_bits
        deviation = math.sqrt(self.num_bits * max(0.0, left - (1.0 + load) * left * left))
        return self._members(zeros - num_std_dev * deviation)


def first_places(words: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Return where each value that was not found comes first.

    Args:
        words: `(n,) uint64`, a word of each value's hash.
        found: which of them were, `(n,) bool`.

    Returns:
        `(n,) bool`.
    """
    missing = np.flatnonzero(~found)
    _, firsts = np.unique(words[missing], return_index=True)
    first = np.zeros(len(words), dtype=bool)
    first[missing[firsts]] = True
    return first


def check_words(words: np.ndarray) -> None:
    """Refuse what is not an array of single words.

    Args:
        words: expected `(n,) uint64`.

    Raises:
        BadArgument: another shape or type.
    """
    if not isinstance(words, np.ndarray) or words.dtype != np.uint64 or words.ndim != 1:
        got = (getattr(words, "dtype", type(words)), getattr(words, "shape", None))
        raise BadArgument(f"words: expected (n,) uint64, got {got}")


def _steps(words: np.ndarray) -> np.ndarray:
    """Give the second hash of each value, made from the first."""
    step = words * _MIX
    step ^= step >> _SHIFT
    step *= _MIX
    return step


def _count(data: np.ndarray) -> int:
    return int(np.bitwise_count(data).sum(dtype=np.int64))


def _expect(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise BadData(f"Bloom image: expected {expected}, got {got}")
