"""Reading MessagePack that may be harmed: it is what was written, or `BadData`.

The decoder makes things as it reads them, not as many as a length says, so that what it allocates is a few
times what is there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import msgspec

from sketches.errors import BadData

Read = TypeVar("Read")


def reader(type_: type[Read], what: str, version: bytes = b"") -> Callable[[bytes], Read]:
    """Return what reads a form.

    Args:
        type_: what the MessagePack has in it.
        what: names it for people, such as "a rule".
        version: the byte before the MessagePack; empty where there is none.

    Returns:
        A function of the bytes; it raises `BadData` where they are of another version, cut short, too long or
        something else.
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
