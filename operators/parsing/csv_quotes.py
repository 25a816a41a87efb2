"""Finds CSV record boundaries: the line ends that are not within a quoted field.

A quote opens a quoted field only at the beginning of a field; elsewhere in an unquoted field it is literal.
Within a quoted field a doubled quote is an escaped one. A single quote closes the field, and a delimiter or a
line end must follow. A quoted field that is not closed like that is broken: its record ends with the line on
which the field was opened, so that the lines after it are read as records of their own.
"""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

MAX_SPANNING_BYTES = 16 * 1024 * 1024
"""Limit in bytes for a record that spans lines; a quoted field that is closed only beyond it is broken."""

_LINE_END_BYTES = b"\r\n"


def opening_quotes(data: bytes, delimiter: str, quote: str) -> np.ndarray:
    """Returns the positions of quotes at the beginning of a field, (n,) int64.

    It includes false ones, after a delimiter within a quoted field.
    """
    buffer = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(buffer == ord(quote))
    edges = _one_of(_LINE_END_BYTES + delimiter.encode())
    return quotes[edges[buffer[quotes - 1]] | (quotes == 0)]


def lines_that_end_records(
    data: bytes, line_ends: np.ndarray, delimiter: str, quote: str, last: bool
) -> np.ndarray:
    """Returns the numbers of the lines that end a record, (n,) int64.

    Args:
        data: starts at a record boundary and contains at least one quote.
        line_ends: (m,) int64, position of the last byte of each line.
        delimiter: one ASCII character.
        quote: one ASCII character.
        last: whether `data` ends the file. If not, lines that depend on the following bytes are left out.
    """
    buffer = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(buffer == ord(quote))
    if _are_in_pairs(buffer, quotes, _one_of(_LINE_END_BYTES + (delimiter + quote).encode()), last):
        lines = np.flatnonzero(np.searchsorted(quotes, line_ends) % 2 == 0)
        if np.diff(line_ends[lines], prepend=-1, append=len(data)).max() <= MAX_SPANNING_BYTES:
            return lines
    return _QuotedFields(data, line_ends, delimiter, quote, last).lines_that_end_records()


def _are_in_pairs(buffer: np.ndarray, quotes: np.ndarray, edges: np.ndarray, last: bool) -> bool:
    """Returns whether quotes alternately open and close fields; a doubled quote counts as close and open."""
    if last and len(quotes) % 2:
        return False
    opening, closing = quotes[::2], quotes[1::2]
    opens = edges[buffer[opening - 1]] | (opening == 0)
    return bool(opens.all() and edges[buffer[np.minimum(closing + 1, len(buffer) - 1)]].all())


def _one_of(characters: bytes) -> np.ndarray:
    """Returns a lookup table of these bytes, (256,) bool."""
    table = np.zeros(256, bool)
    table[list(characters)] = True
    return table


class _QuotedFields:
    """All candidate quoted fields, by opening quote, for CSV with misplaced quotes.

    The closing quote of a field does not depend on record boundaries: it ends the next run of an odd
    number of quotes after the opening one. So each field is looked up once, and the time is linear.
    """

    def __init__(self, data: bytes, line_ends: np.ndarray, delimiter: str, quote: str, last: bool) -> None:
        """Finds the closing quote of each candidate field."""
        self._line_ends, self._last = line_ends, last
        buffer = np.frombuffer(data, np.uint8)
        quotes = np.flatnonzero(buffer == ord(quote))
        bounds = np.flatnonzero(np.diff(quotes, prepend=-2, append=len(data) + 1) != 1)
        row_start, row_end = quotes[bounds[:-1]], quotes[bounds[1:] - 1]
        opens_at = opening_quotes(data, delimiter, quote)
        row = np.searchsorted(row_start, opens_at)
        is_odd = (row_end - row_start) % 2 == 0
        odd_rows = np.flatnonzero(is_odd)
        next_odd = np.append(odd_rows, len(row_start))[np.searchsorted(odd_rows, row, "right")]
        closing_row = np.where(is_odd[row], next_odd, row)
        is_known = closing_row < len(row_start)
        closes_at = np.where(is_known, row_end[np.minimum(closing_row, len(row_end) - 1)], len(data) - 1)
        edges = _one_of(_LINE_END_BYTES + delimiter.encode())
        follows = edges[buffer[np.minimum(closes_at + 1, len(data) - 1)]] | (closes_at == len(data) - 1)
        opens_in, closes_in = np.searchsorted(line_ends, opens_at), np.searchsorted(line_ends, closes_at)
        is_closed = is_known & follows
        self._suspects = np.unique(opens_in[~is_closed | (closes_in != opens_in)]).tolist()
        self._opens_at, self._opens_in = memoryview(opens_at), memoryview(opens_in)
        self._closes_at, self._closes_in = memoryview(closes_at), memoryview(closes_in)
        self._is_closed, self._is_known = memoryview(is_closed), memoryview(is_known)

    def lines_that_end_records(self) -> np.ndarray:
        """Returns the numbers of the lines that end a record."""
        ends_record = np.ones(len(self._line_ends), bool)
        next_record = 0
        for line in self._suspects:
            if line >= next_record:
                end = self._end_of_record(line)
                ends_record[line:end] = False
                next_record = end + 1
        return np.flatnonzero(ends_record)

    def _end_of_record(self, line: int) -> int:
        """Returns the last line of the record that starts on `line`; the line count if data is missing."""
        begin = int(self._line_ends[line - 1]) + 1 if line else 0
        field = bisect_left(self._opens_at, begin)
        while field < len(self._opens_at) and self._opens_in[field] <= line:
            opened_in, closed_at = self._opens_in[field], self._closes_at[field]
            is_too_long = closed_at - begin > MAX_SPANNING_BYTES and self._closes_in[field] > opened_in
            if not self._is_known[field] and not self._last and not is_too_long:
                return len(self._line_ends)
            if is_too_long or not self._is_closed[field]:
                return opened_in
            line = self._closes_in[field]
            field = bisect_left(self._opens_at, closed_at + 1, field)
        return line
