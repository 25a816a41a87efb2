"""Reads all lines of one layout at once, without looking at any of them in Python."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from operators.parsing.byte_words import (
    Numbers,
    Words,
    are_null,
    distance_to,
    read_bools,
    read_doubles,
    read_longs,
)
from operators.parsing.json_template import Slot, Template

_QUOTE = ord('"')
_LARGEST_SEARCH = 1 << 16
_SEPARATE_FROM = 40
"""Bytes of literal from which one window no longer holds the value too."""


class Matched(NamedTuple):
    """Lines that have the layout, every value read.

    Attributes:
        rows: (m,) int64, which of the given lines.
        spans: for the leaf of a quoted value, where its text is: (m,) starts and (m,) ends in bytes.
        numbers: for the leaf of an unquoted value, its values; a leaf in neither is null in all lines.
        inexact: for the leaf of doubles, the positions in `rows` whose text must be converted by other
            means, with the starts and ends of that text.
    """

    rows: np.ndarray
    spans: dict[int, tuple[np.ndarray, np.ndarray]]
    numbers: dict[int, Numbers]
    inexact: dict[int, tuple[np.ndarray, np.ndarray, np.ndarray]]


class TemplateScan:
    """A template made ready for matching.

    A cursor walks over all lines in step: compare a literal, find the end of a value, go there. A line
    matches if all literals were there and the last ends where the line ends. The cursor only moves
    forward, so a value that runs over the end of its line cannot match.
    """

    def __init__(self, template: Template) -> None:
        self.template = template
        self._pieces = [
            _Piece(literal, slot) for literal, slot in zip(template.literals, template.slots, strict=False)
        ]
        self._ends = [
            _QUOTE if slot.quoted else template.literals[i + 1][0] for i, slot in enumerate(template.slots)
        ]
        self._last = _Piece(template.literals[-1], None)

    def match(self, words: Words, starts: np.ndarray, ends: np.ndarray) -> Matched:
        """Finds and reads the lines that have the layout.

        Args:
            words: the buffer.
            starts: (n,) int64, where each line begins, at least 8.
            ends: (n,) int64, where each line ends, at most `words.limit`. Lines hold no backslash, no control
                character and valid UTF-8 only.

        Returns:
            The lines that match; of the others nothing is known.
        """
        rows, values = self._walk(words, starts, ends)
        read: dict[int, Numbers] = {}
        ok: np.ndarray | None = None
        long_texts: dict[int, np.ndarray] = {}
        for i, slot in enumerate(self.template.slots):
            if slot.quoted:
                continue
            numbers, inexact = _read_unquoted(words, slot, *values[i])
            read[i] = numbers
            if slot.leaf is not None and len(inexact):
                long_texts[i] = inexact
            if numbers.ok is not None:
                ok = numbers.ok if ok is None else ok & numbers.ok
        return self._matched(rows, values, read, long_texts, ok)

    def _walk(
        self, words: Words, starts: np.ndarray, ends: np.ndarray
    ) -> tuple[np.ndarray, list[tuple[np.ndarray, np.ndarray]]]:
        """Returns the rows whose literals match, and start and length of each of their values."""
        rows = np.arange(len(starts))
        values: list[tuple[np.ndarray, np.ndarray]] = []
        cursor, limit = starts, words.limit
        differs = np.zeros(len(rows), np.uint64)
        for piece, end in zip(self._pieces, self._ends, strict=True):
            window, skip = piece.compare(words, cursor, differs)
            begin = cursor + piece.size
            length = _find(words, begin, window, skip, end)
            values.append((begin, length))
            # A line already known not to match must not run away over the buffer.
            cursor = np.minimum(begin + length, limit)
            if np.count_nonzero(differs) * 4 > len(rows):
                keep = np.flatnonzero(differs == 0)
                rows, cursor, ends, differs = rows[keep], cursor[keep], ends[keep], differs[keep]
                values = [(start[keep], length[keep]) for start, length in values]
        self._last.compare(words, cursor, differs)
        fits = (differs == 0) & (cursor + self._last.size == ends)
        if fits.all():
            return rows, values
        keep = np.flatnonzero(fits)
        return rows.take(keep), [(start.take(keep), length.take(keep)) for start, length in values]

    def _matched(
        self,
        rows: np.ndarray,
        values: list[tuple[np.ndarray, np.ndarray]],
        read: dict[int, Numbers],
        long_texts: dict[int, np.ndarray],
        ok: np.ndarray | None,
    ) -> Matched:
        keep = slice(None) if ok is None else np.flatnonzero(ok)
        position = None if ok is None else np.cumsum(ok) - 1
        matched = Matched(rows[keep], {}, {}, {})
        for i, slot in enumerate(self.template.slots):
            if slot.leaf is None or slot.type == "null":
                continue
            begin, length = values[i]
            if slot.quoted:
                begin = begin[keep]
                matched.spans[slot.leaf] = (begin, begin + length[keep])
                continue
            numbers = read[i]
            valid = None if numbers.valid is None else numbers.valid[keep]
            matched.numbers[slot.leaf] = Numbers(numbers.values[keep], valid, None)
            if i in long_texts:
                at = long_texts[i]
                at = at if ok is None else at[ok[at]]
                where = at if position is None else position[at]
                matched.inexact[slot.leaf] = (where, begin[at], begin[at] + length[at])
        return matched


class _Piece:
    """A literal, and how many bytes to fetch with it so that most values after it end inside the window."""

    def __init__(self, literal: bytes, slot: Slot | None) -> None:
        self.size = len(literal)
        self._words = -(-len(literal) // 8)
        self._pad = self._words * 8 - len(literal)
        self._expected = np.frombuffer(b"\0" * self._pad + literal, "<u8")
        self._mask = np.uint64((2**64 - 1) << (8 * self._pad) & (2**64 - 1))
        head = self._words * 8
        if slot is None:
            self._window, self._value_window = head, 0
        elif head >= _SEPARATE_FROM:
            self._window, self._value_window = head, 32 if slot.size < 32 else 64
        else:
            self._window, self._value_window = (
                next((size for size in (16, 32) if size > head + slot.size), 64),
                0,
            )

    def compare(self, words: Words, cursor: np.ndarray, differs: np.ndarray) -> tuple[np.ndarray, int]:
        """Compares the bytes at the cursor with the literal.

        Args:
            words: the buffer.
            cursor: (n,) int64, 8 to `words.limit`.
            differs: (n,) uint64, in which bits are set where the bytes are others.

        Returns:
            The window that holds the bytes after the literal, and how many of its bytes come before them.
        """
        # The literal is set flush right in whole words: what stands before it is masked out.
        window = words.window(cursor - self._pad if self._pad else cursor, self._window)
        first = window[:, 0] ^ self._expected[0]
        if self._pad:
            first &= self._mask
        differs |= first
        for i in range(1, self._words):
            differs |= window[:, i] ^ self._expected[i]
        if self._value_window:
            return words.window(np.minimum(cursor + self.size, words.limit), self._value_window), 0
        return window, self._words * 8


def _find(words: Words, begin: np.ndarray, window: np.ndarray, skip: int, byte: int) -> np.ndarray:
    """Finds how far each value reaches: in the window first, then for the rest 64 bytes at a time."""
    length, found = distance_to(window, byte, skip)
    if found.all():
        return length
    rest = np.flatnonzero(~found)
    done = window.shape[1] * 8 - skip
    while len(rest) and done < _LARGEST_SEARCH:
        more, found = distance_to(words.window(np.minimum(begin[rest] + done, words.limit), 64), byte)
        length[rest] = done + more
        rest = rest[~found]
        done += 64
    # What was not found ends far behind its line, where no literal can make it match.
    length[rest] = len(words.data)
    return length


def _read_unquoted(
    words: Words, slot: Slot, begin: np.ndarray, length: np.ndarray
) -> tuple[Numbers, np.ndarray]:
    none = np.empty(0, np.int64)
    if slot.type == "long":
        return read_longs(words, begin, length), none
    if slot.type == "bool":
        return read_bools(words, begin, length), none
    if slot.type == "null":
        is_null = are_null(words, begin, length)
        return Numbers(is_null, ~is_null, is_null), none
    numbers, inexact = read_doubles(words, begin, length)
    if slot.type == "any" and numbers.ok is not None:
        words_ok = read_bools(words, begin, length).ok
        ok = None if words_ok is None else numbers.ok | words_ok
        numbers = Numbers(numbers.values, None, ok)
    return numbers, inexact
