"""Where the events of a batch of payloads are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from operators.parsing.parsed import Reject
from operators.parsing.payloads import Payloads

_NEWLINE, _CARRIAGE_RETURN, _SPACE, _FIRST_NON_ASCII = 10, 13, 32, 128

BLANKS = b" \t\n\r\x0b\x0c"
"""The whitespace bytes; a payload of nothing else has no event."""

_SHORT = 1 << 14
"""Bytes below which Python's own decoder is quicker than going through a column."""


@dataclass(frozen=True, eq=False)
class Events:
    """Events in one buffer, in ascending order, with at least one line end between two.

    Attributes:
        data: the buffer.
        starts: (n,) int64, where each begins.
        ends: (n,) int64, where each ends.
        row: (n,) int64, the payload it is from.
        index: (n,) int64, its number within that payload; None where a payload is an event.
    """

    data: bytes
    starts: np.ndarray
    ends: np.ndarray
    row: np.ndarray
    index: np.ndarray | None

    def raw(self, number: int) -> bytes:
        """Returns the bytes of an event."""
        return self.data[int(self.starts[number]) : int(self.ends[number])]

    def at(self, positions: np.ndarray) -> np.ndarray:
        """Returns the events that hold these positions of the buffer; one between events is passed over."""
        if not len(self.starts):
            return np.empty(0, np.int64)
        numbers = np.searchsorted(self.starts, positions, "right") - 1
        return numbers[(numbers >= 0) & (positions < self.ends[numbers])]

    def holding(self, character: str) -> np.ndarray:
        """Tells which events hold an ASCII character, (n,) bool."""
        held = np.zeros(len(self.starts), bool)
        if character.encode() in self.data:
            held[self.at(np.flatnonzero(np.frombuffer(self.data, np.uint8) == ord(character)))] = True
        return held

    def in_utf8(self) -> np.ndarray:
        """Tells which events are valid UTF-8, (n,) bool."""
        valid = np.ones(len(self.starts), bool)
        if self.data.isascii() or _is_utf8(self.data):
            return valid
        suspects = np.zeros(len(self.starts), bool)
        suspects[self.at(np.flatnonzero(np.frombuffer(self.data, np.uint8) >= _FIRST_NON_ASCII))] = True
        for number in np.flatnonzero(suspects).tolist():
            valid[number] = _is_utf8(self.raw(number))
        return valid

    def reject(self, number: int, reason: str, detail: str) -> Reject:
        """Makes the reject of an event."""
        index = None if self.index is None else self.index.item(number)
        return Reject(reason, detail, self.row.item(number), index)


def whole_payloads(payloads: Payloads, blanks: bytes = BLANKS) -> tuple[Events, list[Reject]]:
    """Takes each payload as one event; a tombstone or a payload of only whitespace is a reject."""
    rows, rejects = _filled(payloads, blanks)
    return Events(payloads.data, payloads.starts[rows], payloads.ends[rows], rows, None), rejects


def lines_of(payloads: Payloads) -> tuple[Events, list[Reject]]:
    """Takes each line that is not blank as one event; a payload without any is a reject."""
    rows, rejects = _filled(payloads, BLANKS)
    if not len(rows):
        return Events(payloads.data, rows, rows, rows, rows), rejects
    starts, ends = payloads.starts[rows], payloads.ends[rows]
    buffer = np.frombuffer(payloads.data, np.uint8)
    first, last = int(starts[0]), int(ends[-1])
    breaks = np.flatnonzero(buffer[first:last] == _NEWLINE) + first
    if len(breaks) > len(rows) - 1:
        # Every payload's own end is followed by a newline, so breaks alone bound the lines of all payloads.
        line_starts, line_ends = np.append(first, breaks + 1), np.append(breaks, last)
        owner = np.searchsorted(starts, line_starts, "right") - 1
        line_ends = np.minimum(line_ends, ends[owner])
        filled = line_ends > line_starts
        for line in np.flatnonzero(filled & (buffer[np.minimum(line_starts, last - 1)] <= _SPACE)).tolist():
            filled[line] = bool(payloads.data[line_starts[line] : line_ends[line]].strip(BLANKS))
        starts, ends, owner = line_starts[filled], line_ends[filled], owner[filled]
    else:
        owner = np.arange(len(rows))
    if b"\r" in payloads.data:
        ends = ends - ((ends > starts + 1) & (buffer[ends - 1] == _CARRIAGE_RETURN))
    index = np.arange(len(owner)) - np.searchsorted(owner, owner, "left")
    return Events(payloads.data, starts, ends, rows[owner], index), rejects


def _filled(payloads: Payloads, blanks: bytes) -> tuple[np.ndarray, list[Reject]]:
    """Returns the numbers of the payloads that are not blank, and the rejects of those that are."""
    starts, ends = payloads.starts, payloads.ends
    filled = ends > starts
    buffer = np.frombuffer(payloads.data, np.uint8)
    if len(buffer):
        suspects = filled & (buffer[np.clip(starts, 0, len(buffer) - 1)] <= _SPACE)
        for row in np.flatnonzero(suspects).tolist():
            filled[row] = bool(payloads.data[starts[row] : ends[row]].strip(blanks))
    rejects = []
    for row in np.flatnonzero(~filled).tolist():
        blank = "the payload is null (a tombstone)" if starts[row] < 0 else "the payload is blank"
        rejects.append(Reject("empty_payload", f"expected an event, {blank}", row))
    return np.flatnonzero(filled), rejects


def _is_utf8(data: bytes) -> bool:
    if len(data) < _SHORT:
        try:
            data.decode()
        except UnicodeDecodeError:
            return False
        return True
    offsets = np.array([0, len(data)], np.int64)
    whole = pa.LargeBinaryArray.from_buffers(
        pa.large_binary(), 1, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )
    try:
        pl.Series(pl.from_arrow(whole)).cast(pl.String)
    except pl.exceptions.ComputeError:
        return False
    return True
