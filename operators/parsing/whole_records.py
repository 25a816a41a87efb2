"""Reads a file in pieces that each end at a record boundary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

import numpy as np

from operators.parsing.formats import Format
from operators.parsing.record_ends import record_ends

MAX_RECORD_BYTES = 64 * 1024 * 1024


class RecordTooLong(ValueError):
    """A record above the size limit; the message has the line on which it begins."""


class Piece(NamedTuple):
    """Whole records of a file.

    Attributes:
        data: their bytes.
        lines: how many lines end in them.
    """

    data: bytes
    lines: int


def whole_records(file: BinaryIO, format_: Format, piece_bytes: int, first_line: int = 1) -> Iterator[Piece]:
    """Yields pieces of whole records from the current position of a file to its end.

    Args:
        file: positioned at a record boundary.
        format_: the format of the records.
        piece_bytes: how many bytes a piece has at most, unless one record is longer.
        first_line: line number at the current position, for messages.

    Raises:
        RecordTooLong: a record has more than `MAX_RECORD_BYTES`.
    """
    rest = b""
    while True:
        # At least doubles an incomplete record, so that it is rescanned only a logarithmic number of times.
        block = file.read(max(piece_bytes - len(rest), len(rest)))
        data = rest + block
        start = 0
        for end, lines in _cuts(data, format_, piece_bytes, last=not block):
            yield Piece(data[start:end], lines)
            start, first_line = end, first_line + lines
        if not block:
            return
        rest = data[start:]
        if len(rest) > MAX_RECORD_BYTES:
            raise RecordTooLong(
                f"line {first_line}: expected records of at most {MAX_RECORD_BYTES} bytes, got a longer one"
            )


def _cuts(data: bytes, format_: Format, piece_bytes: int, last: bool) -> Iterator[tuple[int, int]]:
    """Yields the end position of each piece, and its number of line ends."""
    ends = record_ends(data, format_, last)
    behind, line = ends.at + 1, ends.line + 1
    if last and len(data) > (behind[-1] if len(behind) else 0):
        behind, line = np.append(behind, len(data)), np.append(line, ends.lines)
    start = lines = done = 0
    while done < len(behind):
        done = max(int(np.searchsorted(behind, start + piece_bytes, "right")), done + 1)
        yield int(behind[done - 1]), int(line[done - 1]) - lines
        start, lines = int(behind[done - 1]), int(line[done - 1])
