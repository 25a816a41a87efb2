"""Items of catalogues in broadcast state: every worker has all of them.

| map | key | value |
|---|---|---|
| `items` | name of the catalogue, `/`, the item's id as text | its vector |

A vector is 4 bytes b"SIV" and the format version, 1, and its numbers as f32 little-endian. Ids that are whole
numbers are written in decimal.
"""

from __future__ import annotations

import numpy as np

from sketches.errors import BadData

_MAGIC = b"SIV\x01"


def item_key(catalogue: str, item: str | int) -> bytes:
    """Return the key of an item."""
    return f"{catalogue}/{item}".encode("utf-8", "surrogatepass")


def item_of(key: bytes) -> tuple[str, str]:
    """Return the catalogue and the id, as text, that a key was made of.

    Raises:
        BadData: where it is none.
    """
    try:
        catalogue, slash, item = key.decode("utf-8", "surrogatepass").partition("/")
    except UnicodeDecodeError as problem:
        raise BadData("expected the key of an item in UTF-8, got other bytes") from problem
    if not slash:
        raise BadData("expected the key of an item, with a / in it, got one without")
    return catalogue, item


def write_vector(vector: np.ndarray) -> bytes:
    """Write a vector, `(d,) float32`."""
    return _MAGIC + vector.astype("<f4").tobytes()


def read_vector(data: bytes, dimension: int) -> np.ndarray:
    """Read a vector, `(dimension,) float32`.

    Raises:
        BadData: where the bytes are not a vector of this version and dimension.
    """
    if data[: len(_MAGIC)] != _MAGIC:
        raise BadData(f"expected a vector that begins with {_MAGIC!r}, got {bytes(data[:4])!r}")
    if len(data) != len(_MAGIC) + 4 * dimension:
        raise BadData(f"expected {len(_MAGIC) + 4 * dimension} bytes, got {len(data)}")
    return np.frombuffer(data, "<f4", dimension, len(_MAGIC)).astype(np.float32)
