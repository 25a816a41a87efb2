"""Arrays of arbitrary-precision integers for weights whose total exceeds 63 bits. Slow, but exact.

Each number is written as 16 bytes, unsigned, little-endian.
"""

from __future__ import annotations

import numpy as np

from sketches.errors import BadArgument

MAX_LONG = 2**63 - 1
"""The largest int64."""
MAX_WIDE = 2**128 - 1
"""The largest total weight, 128 bits."""
WIDE_BYTES = 16
_HALF = 64
_LOW_HALF = 2**64 - 1


def checked_weights(weights: np.ndarray, count: int) -> list[int]:
    """Validate weights and return them as a list.

    Args:
        weights: `(count,)` int64, or Python integers (dtype object); none negative.
        count: the expected number of weights.

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
    """Refuse a total weight that the wire format cannot hold.

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
    """Read what `wide_bytes` wrote; the length must be a multiple of 16."""
    halves = np.frombuffer(data, "<u8").reshape(-1, 2).astype(object)
    return halves[:, 0] + (halves[:, 1] << _HALF)
