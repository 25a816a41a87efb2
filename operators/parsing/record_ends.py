"""Where the records of a piece of a file end: at every line end, in CSV only outside of quoted fields."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from operators.parsing.csv_quotes import lines_that_end_records
from operators.parsing.formats import CsvFormat, Format

_NEWLINE, _CARRIAGE_RETURN = 10, 13


@dataclass(frozen=True, eq=False)
class RecordEnds:
    """The line ends that end records.

    Attributes:
        at: (n,) int64, position of the last byte of each.
        line: (n,) int64, the 0-based number of the line that each ends.
        lines: how many line ends there are, those within quoted fields included.
    """

    at: np.ndarray
    line: np.ndarray
    lines: int


def record_ends(data: bytes, format_: Format, last: bool = True) -> RecordEnds:
    r"""Finds where records end.

    JSON lines end with `\n`, lines of CSV also with a `\r` that no `\n` follows, as Python's `csv` module and
    pandas read them. No other character ends a line.

    Args:
        data: begins where a record begins.
        format_: how records are told apart.
        last: whether nothing comes behind `data`. If more may come, ends that depend on it are left out.

    Returns:
        The ends. Bytes behind the last are one more record where `last`, else they are to be looked at again
        together with what follows.
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
    r"""Returns the positions of every `\r` that no `\n` follows; what follows the last byte is not known."""
    returns = np.flatnonzero(buffer == _CARRIAGE_RETURN)
    if not last and returns[-1] == len(buffer) - 1:
        returns = returns[:-1]
    return returns[buffer[np.minimum(returns + 1, len(buffer) - 1)] != _NEWLINE]
