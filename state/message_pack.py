"""Validated decoding of MessagePack state: corrupt bytes raise `BadData`.

The decoder allocates values as it reads them, not by a declared length, so that memory is limited to a few
times the size of the input.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from sketches.errors import BadData

Read = TypeVar("Read")


def reader(type_: type[Read], what: str, version: bytes = b"") -> Callable[[bytes], Read]:
    """Return a decoder of one type.

    Args:
        type_: the type of the decoded value.
        what: its name in error messages, such as "a rule".
        version: the version byte before the MessagePack; empty where there is none.

    Returns:
        A function that decodes bytes; it raises `BadData` where they have another version, are truncated, too
        long or of another type.
    """
    decode, start = msgspec.msgpack.Decoder(type_).decode, len(version)

    def read(data: bytes) -> Read:
        if data[:start] != version:
            got = data[0] if data else "nothing"
            raise BadData(f"expected {what} of version {version[0]}, got {got}")
        try:
            return decode(data[start:] if start else data)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as problem:
            raise BadData(f"expected {what} in {len(data)} bytes: {problem}") from problem

    return read
