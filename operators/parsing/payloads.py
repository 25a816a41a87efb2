"""A batch of raw payloads in one buffer: the bytes of messages, or of the records of a file chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MARGIN = b"\n" * 72
"""What the constructors put before and after the payloads, so that wide reads stay inside the buffer."""

_NEWLINE = 10
_CARRIAGE_RETURN = 13


@dataclass(frozen=True, eq=False)
class Payloads:
    """Payloads that lie one after another in one buffer.

    Payload `i` is `data[starts[i]:ends[i]]`. Payloads are in the order of the buffer, never overlap, and
    at least one newline lies between two of them. A tombstone (a null payload) has start and end -1 and
    takes no room in the buffer. Buffers built here begin and end with `MARGIN`; one without it is read just
    as well, only its outermost payloads more slowly.

    Attributes:
        data: the buffer.
        starts: (n,) int64, where each payload begins in bytes, or -1.
        ends: (n,) int64, where each payload ends (exclusive) in bytes, or -1.
        lines: (n,) int64, the 0-based line of the chunk on which each payload begins, or None for messages.
    """

    data: bytes
    starts: np.ndarray
    ends: np.ndarray
    lines: np.ndarray | None = None

    @classmethod
    def from_messages(cls, messages: Sequence[bytes | None]) -> Payloads:
        """Lays messages one after another, separated by one newline.

        Args:
            messages: the payloads; None is a tombstone.

        Returns:
            One payload a message, in the same order.
        """
        count = len(messages)
        live = messages if None not in messages else [m for m in messages if m is not None]
        sizes = np.fromiter(map(len, live), np.int64, len(live))
        ends = np.cumsum(sizes + 1) + len(MARGIN)
        data = b"\n".join([MARGIN, *live, MARGIN])
        if len(live) == count:
            return cls(data, ends - sizes, ends)
        is_live = np.fromiter((m is not None for m in messages), bool, count)
        all_starts, all_ends = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
        all_starts[is_live], all_ends[is_live] = ends - sizes, ends
        return cls(data, all_starts, all_ends)

    @classmethod
    def from_lines(cls, data: bytes, quote: bytes | None = None) -> Payloads:
        r"""Splits a chunk of a file into records at its newlines.

        A `\r` before the newline belongs to the line's end. Blank lines are no records, but are counted
        in `lines`. The last record needs no newline.

        Args:
            data: whole records; a record must not go on in the next chunk.
            quote: one byte, such as `b'"'`: a newline after an odd number of quotes is part of a field,
                so a record may span lines. None: every newline ends a record.

        Returns:
            One payload a record, with `lines`.

        Raises:
            ValueError: quote is not one byte.
        """
        if quote is not None and len(quote) != 1:
            raise ValueError(f"quote: expected one byte, got {len(quote)}")
        buffer = np.frombuffer(data, np.uint8)
        breaks = np.flatnonzero(buffer == _NEWLINE)
        line_numbers: np.ndarray | None = None
        if quote is not None and quote in data:
            quotes = np.flatnonzero(buffer == quote[0])
            outside = np.searchsorted(quotes, breaks) % 2 == 0
            line_numbers = np.append(0, np.flatnonzero(outside) + 1)
            breaks = breaks[outside]
        starts = np.append(0, breaks + 1)
        ends = np.append(breaks, len(data))
        if line_numbers is None:
            line_numbers = np.arange(len(starts))
        if b"\r" in data:
            ends = ends - ((ends > starts) & (buffer[np.maximum(ends - 1, 0)] == _CARRIAGE_RETURN))
        filled = ends > starts
        if not filled.all():
            starts, ends, line_numbers = starts[filled], ends[filled], line_numbers[filled]
        return cls(b"".join((MARGIN, data, MARGIN)), starts + len(MARGIN), ends + len(MARGIN), line_numbers)

    def __len__(self) -> int:
        """The number of payloads, tombstones included."""
        return len(self.starts)

    def payload(self, i: int) -> bytes | None:
        """Returns the bytes of payload `i`, None for a tombstone."""
        start = int(self.starts[i])
        return None if start < 0 else self.data[start : int(self.ends[i])]
