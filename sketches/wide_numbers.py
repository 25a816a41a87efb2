"""Arrays of Python's integers for weights whose total 63 bits do not hold: slow, and exact.

As bytes each number is 16, unsigned, little-endian.
"""

from __future__ import annotations

import numpy as np

from sketches.errors import BadArgument

MAX_LONG = 2**63 - 1
"""The greatest number of 63 bits: what an int64 holds."""
MAX_WIDE = 2**128 - 1
"""The greatest number of 128 bits: the total of 2**65 weights of 63 bits."""
WIDE_BYTES = 16
_HALF = 64
_LOW_HALF = 2**64 - 1


def checked_weights(weights: np.ndarray, count: int) -> list[int]:
    """Return weights as a list.

    Args:
        weights: `(count,)` int64, or Python's integers (dtype object); none negative.
        count: how many there have to be.

    Raises:
        BadArgument: another shape or type, or a negative one.
    """
    fits = isinstance(weights, np.ndarray) and weights.shape == (count,)
    listed = weights.tolist() if fits and weights.dtype in (np.int64, object) else None
    if listed is None or (weights.dtype == object and not all(type(weight) is int for weight in listed)):
        got = (getattr(weights, "dtype", type(weights)), getattr(weights, "shape", None))
        raise BadArgument(f"weights: expected ({count},) int64 or integers, got {got}")
    if count and int(weights.min()) < 0:
        raise BadArgument(f"weights: expected none below 0, got {int(weights.min())}")
    return listed


def check_total(total: int) -> None:
    """Refuse a total weight that images have no room for.

    Raises:
        BadArgument: it is beyond 128 bits.
    """
    if total > MAX_WIDE:
        raise BadArgument(f"total weight: expected at most {MAX_WIDE}, got {total}")


def wide_bytes(numbers: np.ndarray) -> bytes:
    """Write `(n,)` integers (dtype object) of 0 to 2**128 - 1, 16 bytes each."""
    halves = np.empty((len(numbers), 2), "<u8")
    halves[:, 0], halves[:, 1] = numbers & _LOW_HALF, numbers >> _HALF
    return halves.tobytes()


def read_wide(data: bytes | memoryview) -> np.ndarray:
    """Read what `wide_bytes` wrote, a multiple of 16 bytes."""
    halves = np.frombuffer(data, "<u8").reshape(-1, 2).astype(object)
    return halves[:, 0] + (halves[:, 1] << _HALF)
