"""What every scenario of a simulation has: a way from event numbers and random bits to rows of text."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from flink_job.simulation.random_bits import RandomBits


class Scenario(Protocol):
    """Makes the events of one kind of world.

    Attributes:
        fields: names of the fields that every good event has.
    """

    fields: tuple[str, ...]

    def rows(
        self, numbers: NDArray[np.int64], times_ms: NDArray[np.int64], bits: RandomBits
    ) -> NDArray[np.void]:
        """Make events, the bad ones among them included; each depends on its own number and bits alone.

        Args:
            numbers: ``(n,) int64`` event numbers, below ``MAX_EVENTS``.
            times_ms: ``(n,) int64``, epoch ms of 13 digits.
            bits: the random bits of these events.

        Returns:
            ``(n,)`` rows for ``as_lines``.
        """
        ...
