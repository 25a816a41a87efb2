"""JSON with whole numbers of any size: totals of 64-bit numbers go beyond 64 bits, msgspec does not."""

from __future__ import annotations

import msgspec

_encode = msgspec.json.encode
_LEAST, _GREATEST = -(2**63), 2**64 - 1


def encode_json(value: object) -> bytes:
    """Return mappings, lists, texts and numbers as JSON.

    >>> encode_json({"total": 2**64})
    b'{"total":18446744073709551616}'
    """
    try:
        return _encode(value)
    except OverflowError:  # rare, so that all others are written without a look at their numbers
        return _encode(_written(value))


def _written(value: object) -> object:
    """Return the value with all numbers that are too large for msgspec written out."""
    if isinstance(value, dict):
        return {name: _written(own) for name, own in value.items()}
    if isinstance(value, list | tuple):
        return [_written(own) for own in value]
    if isinstance(value, int) and not _LEAST <= value <= _GREATEST:
        return msgspec.Raw(str(value).encode())
    return value
