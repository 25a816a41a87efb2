"""Finds record boundaries in a chunk of a file: all line ends, in CSV only those outside quoted fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.parsing.csv_quotes import lines_that_end_records
from operators.parsing.formats import CsvFormat, Format

_NEWLINE, _CARRIAGE_RETURN = 10, 13


@dataclass(frozen=True, eq=False)
class RecordEnds:
    """The record boundaries of a chunk.

    Attributes:
        at: (n,) int64, position of the last byte of each record's line end.
        line: (n,) int64, the 0-based number of the last line of each record.
        lines: number of all line ends, including those within quoted fields.
    """

    at: np.ndarray
    line: np.ndarray
    lines: int


def record_ends(data: bytes, format_: Format, last: bool = True) -> RecordEnds:
    r"""Finds where records end.

    JSON lines end with `\n`; CSV lines also with a `\r` that no `\n` follows, as in Python's `csv` module and
    pandas. No other character ends a line.

    Args:
        data: starts at a record boundary.
        format_: the format of the records.
        last: whether `data` ends the file. If not, ends that depend on the following bytes are left out.

    Returns:
        The ends. Bytes after the last one are one more record if `last`, else the beginning of a record that
        continues in the next chunk.
    """
    buffer = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(buffer == _NEWLINE)
    if isinstance(format_, CsvFormat):
        if b"\r" in data:
            ends = np.sort(np.concatenate([ends, _lone_returns(buffer, last)]))
        if format_.quote is not None and format_.quote.encode() in data:
            line = lines_that_end_records(data, ends, format_.delimiter, format_.quote, last)
            return RecordEnds(ends[line], line, len(ends))
    return RecordEnds(ends, np.arange(len(ends)), len(ends))


def _lone_returns(buffer: np.ndarray, last: bool) -> np.ndarray:
    r"""Returns the positions of every `\r` that no `\n` follows; one at the end counts only if `last`."""
    returns = np.flatnonzero(buffer == _CARRIAGE_RETURN)
    if not last and returns[-1] == len(buffer) - 1:
        returns = returns[:-1]
    return returns[buffer[np.minimum(returns + 1, len(buffer) - 1)] != _NEWLINE]
