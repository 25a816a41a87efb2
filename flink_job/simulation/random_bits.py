"""Random numbers that depend on a seed and a number alone, so that nothing has to be remembered."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Philox
from numpy.typing import NDArray


@dataclass(frozen=True)
class RandomBits:
    """256 random bits for each of some events, cut in two ways.

    Event ``n`` takes exactly one step of the counter-based generator Philox (Salmon et al., "Parallel Random
    Numbers: As Easy as 1, 2, 3", SC 2011).

    Attributes:
        words: ``(n, 8) uint32``.
        halves: ``(n, 16) uint16``, the same bits: word ``i`` is halves ``2 i`` and ``2 i + 1``.
    """

    words: NDArray[np.uint32]
    halves: NDArray[np.uint16]

    @classmethod
    def of(cls, seed: int, first: int, count: int) -> RandomBits:
        """Return the bits of events ``first`` to ``first + count - 1``."""
        raw = Philox(key=seed, counter=first).random_raw(4 * count).astype("<u8", copy=False)
        return cls(raw.view("<u4").reshape(count, 8), raw.view("<u2").reshape(count, 16))


class Mixer:
    """Random bits of anything that has a number, such as a user.

    The finalizer of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
    2014) over a sequence that the seed and the purpose begin.

    Args:
        seed: below 2**64.
        purpose: the same number has other bits for another purpose; a small number.
    """

    def __init__(self, seed: int, purpose: int) -> None:
        """Find where the sequence begins."""
        self._begin = np.uint64(seed)
        self._begin = self.bits(np.array([-purpose], dtype=np.int64))[0]

    def bits(self, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Return 64 bits for each number: ``(n,) uint64``."""
        mixed = numbers.astype(np.uint64) * _STEP + self._begin
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _FIRST
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _SECOND
        return mixed ^ (mixed >> np.uint64(31))


def zipf_slots(size: int, exponent: float, slots: int) -> NDArray[np.int64]:
    """A table in which a random slot holds rank r with a probability near to (r + 1) ** -exponent.

    "Near to" is within one slot; ranks rarer than a slot may be missing.
    """
    cumulative = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -exponent)
    return np.searchsorted(cumulative, (np.arange(slots) + 0.5) / slots * cumulative[-1])


_STEP, _FIRST, _SECOND = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
