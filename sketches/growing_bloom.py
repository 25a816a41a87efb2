"""Bloom filters one after another: as many values as come, at a rate of false positives that holds.

Guarantee: a value that was added is always found; one that was not is found with a probability of at most
`rate`, however many were added. Where a filter holds what it was made for, the next is begun, for as many
more as `growth` says and at a tighter rate: the first takes `first_share` of `rate`, each further one 0.85
of what the one before it took, and all together never more than the whole.

What that costs: at 1 % and with a `first_share` of 0.15, 1.8 to 2.5 bytes a value up to a hundred times the
first capacity, and more for a moment after each growth; sized in advance, with a `first_share` of 0.95,
1.22 bytes. Values that are looked for are looked for in every filter. Two that grew by themselves do not
merge: one value may be in filters of another size in each.

Source: P. S. Almeida, C. Baquero, N. Preguica, D. Hutchison, "Scalable Bloom filters" (2007).

    >>> from sketches.hashing import hash_longs
    >>> seen = GrowingBloom(capacity=100, rate=0.01)
    >>> seen.add_many(hash_longs(np.arange(5000))[:, 0]).sum() > 4950
    np.True_
    >>> seen.filters > 5, seen.false_positive_rate < 0.01
    (True, True)

Payload within the preamble of `sketches.codec`, parameters capacity, and rate, growth and first_share in
millionths, little-endian: how many values were probably missed (a double), then for each filter the values
added to it and the length of its image (8 bytes each), then the image, one of `sketches.bloom`.
"""

from __future__ import annotations

import math
import struct

import numpy as np

from sketches.bloom import Bloom, check_words, first_places
from sketches.codec import Family, decode, encode
from sketches.errors import BadArgument, BadData
from sketches.hashing import SEED, seed_hash

MAX_CAPACITY = 2**28
_SEED_HASH = seed_hash(SEED)
_SHARE_OF_NEXT = 0.85
_MILLION = 1_000_000
_LEAST_FILL = 0.1
"""Least share of bits set in a full filter (usually half), so that only the last filter is written sparse."""
_MISSED = struct.Struct("<d")
_FILTER = struct.Struct("<QQ")


class GrowingBloom:
    """A set of which only membership is known, and which takes any number of values.

    Args:
        capacity: how many values the first filter is made for, 1 to 2**28.
        rate: of false positives, all filters together; 0.000001 to 0.5. Rates and shares are rounded to
            millionths.
        growth: how many times as many values as before there is room for after each growth, 1.1 to 4.
        first_share: the share of `rate` that the first filter takes, 0.01 to 0.99: much where `capacity` is
            known, little where it is a guess.

    Raises:
        BadArgument: a parameter is out of range.
    """

    __slots__ = ("_added", "_filters", "_missed", "_parameters", "capacity")

    def __init__(self, capacity: int, rate: float, growth: float = 1.5, first_share: float = 0.15) -> None:
        self._begin(capacity, rate, growth, first_share)
        self._grow()

    @property
    def filters(self) -> int:
        """How many filters there are."""
        return len(self._filters)

    @property
    def members(self) -> int:
        """How many values were added: those that were told as new."""
        return sum(self._added)

    @property
    def fill(self) -> float:
        """The share of all bits that are set, 0 to 1."""
        return sum(f.ones for f in self._filters) / sum(f.num_bits for f in self._filters)

    @property
    def false_positive_rate(self) -> float:
        """With which probability a value that was never added is found now, 0 to 1."""
        missed = 1.0
        for one in self._filters:
            missed *= 1.0 - one.false_positive_rate
        return 1.0 - missed

    def add_many(self, words: np.ndarray) -> np.ndarray:
        """Add values by their hashes, and tell which were not there yet.

        Args:
            words: `(n,) uint64`, the first word of each value's hash; a value may come several times.

        Returns:
            `(n,) bool`: true for what was not there before this call, at its first place in it. Values that
            are there by a false positive are false, so no value is ever true twice.

        Raises:
            BadArgument: another shape or type, or more values than filters can be made for.
        """
        fresh = first_places(words, self.contains_many(words))
        left = words[fresh]
        while len(left):
            room = self.capacity - self.members
            if not room:
                self._grow()
                continue
            rate = self.false_positive_rate
            new, left = left[:room], left[room:]
            self._filters[-1].insert_many(new)
            self._added[-1] += len(new)
            self._missed += len(new) * rate / (1.0 - rate)
        return fresh

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
        left = np.arange(len(words))
        # The newest filter is among the largest: most that are there are found at once.
        for one in reversed(self._filters):
            there = one.contains_many(words[left])
            found[left[there]] = True
            left = left[~there]
        return found

    def estimate(self) -> float:
        """Estimate how many different values there were, those that were missed included."""
        return self.members + self._missed

    def lower_bound(self, num_std_dev: int = 2) -> float:
        """Give what the number of different values is at least; never less than were told as new.

        Args:
            num_std_dev: how many standard errors below the estimate: 1, 2 or 3.
        """
        return max(float(self.members), self.estimate() - _checked(num_std_dev) * math.sqrt(self._missed))

    def upper_bound(self, num_std_dev: int = 2) -> float:
        """Give what the number of different values is at most.

        Args:
            num_std_dev: how many standard errors above the estimate: 1, 2 or 3.
        """
        return self.estimate() + _checked(num_std_dev) * math.sqrt(self._missed)

    def serialize(self) -> bytes:
        """Write all filters.

        Returns:
            An image; its format is told at the top of this module.
        """
        payload = bytearray(_MISSED.pack(self._missed))
        for added, one in zip(self._added, self._filters, strict=True):
            image = one.serialize()
            payload += _FILTER.pack(added, len(image)) + image
        return encode(Family.GROWING_BLOOM, bytes(payload), parameters=self._parameters, seed_hash=_SEED_HASH)

    @classmethod
    def deserialize(cls, image: bytes) -> GrowingBloom:
        """Read filters that `serialize` wrote; they take values as before.

        Args:
            image: a whole image.

        Returns:
            The filters.

        Raises:
            BadData: the bytes are no such image.
        """
        frame = decode(image, Family.GROWING_BLOOM, parameter_count=4, seed_hash=_SEED_HASH)
        capacity, *shares = frame.parameters
        grown = cls.__new__(cls)
        try:
            grown._begin(capacity, *(share / _MILLION for share in shares))
        except BadArgument as problem:
            raise BadData(f"growing Bloom image: {problem}") from problem
        payload, at = frame.payload, _MISSED.size
        _expect(len(payload) >= at, f"{at} bytes or more", len(payload))
        (grown._missed,) = _MISSED.unpack_from(payload)
        _expect(0.0 <= grown._missed < math.inf, "a number of missed values", grown._missed)
        while at < len(payload) or not grown._filters:
            _expect(len(payload) - at >= _FILTER.size, "whole filters", len(payload))
            added, length = _FILTER.unpack_from(payload, at)
            at += _FILTER.size
            _expect(length <= len(payload) - at, f"at most {len(payload) - at} bytes of a filter", length)
            _expect(grown.members == grown.capacity, f"{grown.capacity} values before", grown.members)
            if grown._filters:
                fill = grown._filters[-1].fill
                _expect(fill >= _LEAST_FILL, f"{_LEAST_FILL} of the bits of a full filter", fill)
            try:
                room, shape = grown._next()
            except BadArgument as problem:
                raise BadData(f"growing Bloom image: {problem}") from problem
            one = Bloom.deserialize(bytes(payload[at : at + length]))
            got = (one.num_hashes, one.num_bits)
            _expect(shape == got, f"num_hashes and num_bits {shape}", got)
            grown._append(one, room, added)
            _expect(grown.members <= grown.capacity, f"at most {grown.capacity} values", grown.members)
            at += length
        return grown

    def _begin(self, capacity: int, rate: float, growth: float, first_share: float) -> None:
        """Validate and store the parameters; start without a filter."""
        if not 1 <= capacity <= MAX_CAPACITY:
            raise BadArgument(f"capacity: expected 1 to {MAX_CAPACITY}, got {capacity!r}")
        ranges = (
            ("rate", rate, 1e-6, 0.5),
            ("growth", growth, 1.1, 4.0),
            ("first_share", first_share, 0.01, 0.99),
        )
        for name, value, least, most in ranges:
            if not least <= value <= most:
                raise BadArgument(f"{name}: expected {least} to {most}, got {value!r}")
        self._parameters = (capacity, *(round(value * _MILLION) for _, value, _, _ in ranges))
        self.capacity = 0
        """Total capacity of all filters, in values."""
        self._filters: list[Bloom] = []
        self._added: list[int] = []
        self._missed = 0.0

    def _grow(self) -> None:
        """Begin the next filter."""
        room, shape = self._next()
        self._append(Bloom(*shape), room, 0)

    def _append(self, one: Bloom, room: int, added: int) -> None:
        self._filters.append(one)
        self._added.append(added)
        self.capacity += room

    def _next(self) -> tuple[int, tuple[int, int]]:
        """Return the capacity of the next filter, and its num_hashes and num_bits."""
        first, rate, growth, first_share = self._parameters
        if not self._filters:
            capacity, share = first, first_share / _MILLION
        else:
            capacity = max(1, self.capacity * (growth - _MILLION) // _MILLION)
            step = len(self._filters) - 1
            share = (1.0 - first_share / _MILLION) * (1.0 - _SHARE_OF_NEXT) * _SHARE_OF_NEXT**step
        return capacity, Bloom.suggest(capacity, rate / _MILLION * share)


def _checked(num_std_dev: int) -> int:
    if num_std_dev not in (1, 2, 3):
        raise BadArgument(f"num_std_dev: expected 1, 2 or 3, got {num_std_dev!r}")
    return num_std_dev


def _expect(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise BadData(f"growing Bloom image: expected {expected}, got {got}")
