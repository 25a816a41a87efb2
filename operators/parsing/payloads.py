"""A batch of raw payloads in one buffer: the bytes of messages, or of the records of a file chunk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from operators.parsing.formats import Format
from operators.parsing.record_ends import record_ends

MARGIN = b"\n" * 72
"""What the constructors put before and after the payloads, so that wide reads stay inside the buffer."""

_CARRIAGE_RETURN = 13


@dataclass(frozen=True, eq=False)
class Payloads:
    """Payloads that lie one after another in one buffer.

    Payload `i` is `data[starts[i]:ends[i]]`. Payloads are in the order of the buffer, never overlap, and
    at least one line end lies between two of them. A tombstone (a null payload) has start and end -1 and
    takes no room in the buffer. Buffers built here begin and end with `MARGIN`; without it the first and
    last payloads are just parsed more slowly.

    Attributes:
        data: the buffer.
        starts: (n,) int64, where each payload begins in bytes, or -1.
        ends: (n,) int64, where each payload ends (exclusive) in bytes, or -1.
        lines: (n,) int64, the 0-based line of the chunk on which each payload begins, or None for messages.
        line_counts: (n,) int64, how many lines each payload spans; None where each is on one line.
    """

    data: bytes
    starts: np.ndarray
    ends: np.ndarray
    lines: np.ndarray | None = None
    line_counts: np.ndarray | None = None

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
    def from_lines(cls, data: bytes, format_: Format = "json") -> Payloads:
        r"""Splits a chunk of a file into records.

        A `\r` before the newline is part of the line end. Blank lines are skipped, but counted in `lines`.
        The last record needs no newline.

        Args:
            data: whole records; no record may continue in the next chunk.
            format_: decides where records end: at each line end, in CSV outside quoted fields only.

        Returns:
            One payload a record, with `lines`, and with `line_counts` where a record spans several lines.
        """
        found = record_ends(data, format_)
        starts, ends = np.append(0, found.at + 1), np.append(found.at, len(data))
        lines, counts = np.append(0, found.line + 1), None
        if len(found.line) < found.lines:
            counts = np.append(found.line, found.lines) - lines + 1
        if b"\r" in data:
            buffer = np.frombuffer(data, np.uint8)
            ends = ends - ((ends > starts) & (buffer[np.maximum(ends - 1, 0)] == _CARRIAGE_RETURN))
        filled = ends > starts
        if not filled.all():
            starts, ends, lines = starts[filled], ends[filled], lines[filled]
            counts = None if counts is None else counts[filled]
        data = b"".join((MARGIN, data, MARGIN))
        return cls(data, starts + len(MARGIN), ends + len(MARGIN), lines, counts)

    def __len__(self) -> int:
        """The number of payloads, tombstones included."""
        return len(self.starts)

    def payload(self, i: int) -> bytes | None:
        """Returns the bytes of payload `i`, None for a tombstone."""
        start = int(self.starts[i])
        return None if start < 0 else self.data[start : int(self.ends[i])]
