"""Vectorised parsing of text columns with a time pattern.

A layout is the width in characters of each piece of the pattern. Texts with an unambiguous layout are parsed
with numpy, all of one layout at once; `datetime.strptime` is the fallback for the rest, one by one, and thus
decides what is invalid.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from functools import lru_cache
from itertools import islice, product
from typing import Final

import numpy as np
import polars as pl

from operators.events.time_digits import (
    DAY_MS,
    are_digits,
    dates,
    digits_of,
    fraction_ms,
    number,
    offset,
    second_of_day,
    year_starts,
)
from operators.events.time_pattern import TimePattern, is_directive

_MONTHS: Final = [
    "january", "february", "march", "april", "may", "june",
    "july", "august", "september", "october", "november", "december",
]  # fmt: skip
_WEEKDAYS: Final = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
_NAMES: Final = {
    "%B": _MONTHS,
    "%b": [name[:3] for name in _MONTHS],
    "%A": _WEEKDAYS,
    "%a": [name[:3] for name in _WEEKDAYS],
    "%p": ["am", "pm"],
}
_NUMBERS: Final = {
    "%Y": ((4,), 1, 9999),
    "%y": ((2,), 0, 99),
    "%m": ((2, 1), 1, 12),
    "%d": ((2, 1), 1, 31),
    "%j": ((3, 2, 1), 1, 366),
    "%H": ((2, 1), 0, 23),
    "%I": ((2, 1), 1, 12),
    "%M": ((2, 1), 0, 59),
    "%S": ((2, 1), 0, 59),
    "%w": ((1,), 0, 6),
}
"""Possible widths of a number, widest first, and its least and greatest value."""
_PM: Final = 2
_MONTH_PIECES: Final = ("%m", "%b", "%B")
_SAME: Final = ({"%Y", "%y"}, {*_MONTH_PIECES})
"""Groups of which a pattern may have one directive here; of several, strptime uses the last."""
_FRACTION_WIDTHS: Final = (6, 3, 5, 4, 2, 1)
_OPTIONAL_FRACTION_WIDTHS: Final = (0, 4, 7, 10, 2, 3, 5, 6, 8, 9)
_OFFSET_WIDTHS: Final = (5, 6, 1)
_LAYOUTS_OF_ALL, _LAYOUTS_OF_A_LENGTH = 4096, 32
_CENTURY_TURNS: Final = 69
_SPACE, _LOWER = 32, 32


def read_with_pattern(column: pl.Series, pattern: str) -> pl.Series:
    """Parse a text column as `datetime.strptime` does.

    Args:
        column: String.
        pattern: a valid pattern, for which `TimePattern.problem` is None.

    Returns:
        Int64 milliseconds since the epoch, in UTC where the pattern has no offset; null for invalid times.
    """
    reader = _reader(pattern)
    texts = column.to_arrow().cast("large_string")
    n = len(texts)
    times, read = np.zeros(n, np.int64), np.zeros(n, bool)
    if n:
        _, offsets_buffer, data_buffer = texts.buffers()
        offsets = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + n + 1]
        data = np.frombuffer(data_buffer or b"", np.uint8)
        lengths = np.diff(offsets)
        for length in np.unique(lengths).tolist():
            rows = np.flatnonzero(lengths == length)
            if len(rows) == n:
                by_text = data[offsets[0] : offsets[n]].reshape(n, length)
            else:
                by_text = data[offsets[rows, None] + np.arange(length)]
            # Transposed to one row per character position, so that each step runs over contiguous memory.
            read[rows], times[rows] = reader.read(np.ascontiguousarray(by_text.T))
    result = pl.Series(times)
    if read.all():
        return result
    left = np.flatnonzero(~read)
    return result.scatter(left, _one_by_one(column.gather(left), reader.pattern))


def _one_by_one(texts: pl.Series, pattern: TimePattern) -> pl.Series:
    different = texts.drop_nulls().unique()
    times = pl.Series([pattern.read(text) for text in different.to_list()], dtype=pl.Int64)
    return texts.replace_strict(different, times, default=None, return_dtype=pl.Int64)


@lru_cache(maxsize=16)
def _reader(pattern: str) -> _LayoutReader:
    return _LayoutReader(TimePattern(pattern))


class _LayoutReader:
    """Parses texts with an unambiguous layout.

    Attributes:
        pattern: the pattern.
        layouts: by text length in bytes, the possible layouts, likeliest first.
    """

    def __init__(self, pattern: TimePattern) -> None:
        self.pattern, self._pieces = pattern, pattern.pieces
        self.layouts: defaultdict[int, list[tuple[int, ...]]] = defaultdict(list)
        widths = [self._widths(place) for place in range(len(self._pieces))]
        twice = any(len(same & set(pattern.directives)) > 1 for same in _SAME)
        for layout in islice(product(*widths), 0 if twice else _LAYOUTS_OF_ALL):
            if len(self.layouts[sum(layout)]) < _LAYOUTS_OF_A_LENGTH:
                self.layouts[sum(layout)].append(layout)

    def _widths(self, place: int) -> tuple[int, ...]:
        """Return the possible widths of a piece; none where only strptime can tell.

        Numbers next to each other must have their full width, as the text would be ambiguous otherwise.
        """
        piece = self._pieces[place]
        if not is_directive(piece):
            return (len(piece.encode()),)
        if piece == "%%":
            return (1,)
        if piece in _NAMES:
            return tuple({len(name): None for name in _NAMES[piece]})
        after = self._pieces[place + 1] if place + 1 < len(self._pieces) else ""
        before = self._pieces[place - 1] if place else ""
        digits_after = after in _NUMBERS or after == "%f" or after[:1].isdigit()
        if piece == "%z":
            return () if digits_after or after[:1] in (":", ".") or after == "%.f" else _OFFSET_WIDTHS
        if piece == "%.f":
            return () if digits_after or after[:1] == "." or before == "%z" else _OPTIONAL_FRACTION_WIDTHS
        alone = not digits_after and before not in _NUMBERS and before != "%f" and not before[-1:].isdigit()
        if piece == "%f":
            return _FRACTION_WIDTHS if alone else (6,)
        if piece not in _NUMBERS:
            return ()
        widths = _NUMBERS[piece][0]
        return widths if alone else widths[:1]

    def read(self, characters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Parse texts, `(length, n) uint8`; return which were parsed, and their milliseconds, `(n,)` both."""
        length, n = characters.shape
        read, times = np.zeros(n, bool), np.zeros(n, np.int64)
        left = np.arange(n)
        for widths in self.layouts.get(length, ()):
            alike = self._has_text_between(characters, widths)
            if alike.all():
                read[left], times[left] = self._read_alike(characters, widths)
            elif alike.any():
                rows = left[alike]
                read[rows], times[rows] = self._read_alike(characters[:, alike], widths)
            else:
                continue
            again = ~read[left]
            if not again.any():
                break
            left, characters = left[again], characters[:, again]
        return read, times

    def _has_text_between(self, characters: np.ndarray, widths: tuple[int, ...]) -> np.ndarray:
        """Return which texts have the pattern's literal text at the positions of a layout."""
        fits = np.ones(characters.shape[1], bool)
        for piece, part in _parts(self._pieces, characters, widths):
            if piece == "%%" or not is_directive(piece):
                for row, byte in zip(part, piece.encode()[-len(part) :], strict=True):
                    fits &= row == byte
        return fits

    def _read_alike(self, characters: np.ndarray, widths: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        """Parse texts whose literal text matches; return which have the layout, and their milliseconds."""
        n = characters.shape[1]
        fits, add_ms = np.ones(n, bool), np.zeros(n, np.int64)
        values: dict[str, np.ndarray] = {}
        for piece, part in _parts(self._pieces, characters, widths):
            if piece in _NAMES:
                values[piece] = _name(part, _NAMES[piece])
                fits &= values[piece] > 0
            elif piece in _NUMBERS:
                digits = _digits(piece, part)
                value = values[piece] = number(digits)
                _, least, most = _NUMBERS[piece]
                fits &= are_digits(digits) & (value >= least) & (value <= most)
            elif piece == "%z":
                fine, east_ms = offset(part, digits_of(part))
                fits &= fine & (part[0] != ord("z"))
                add_ms -= east_ms
            elif piece in ("%f", "%.f") and len(part):
                point = int(piece == "%.f")
                fine, ms = fraction_ms(digits_of(part[point:]))
                fits &= fine if not point else fine & (part[0] == ord("."))
                add_ms += ms
        there, day = _date(values)
        midnight = np.zeros(n, np.uint8)
        second = second_of_day(
            _hour(values, midnight), values.get("%M", midnight), values.get("%S", midnight)
        )
        return fits & there, day * np.int64(DAY_MS) + second * np.int64(1000) + add_ms


def _parts(
    pieces: list[str], characters: np.ndarray, widths: tuple[int, ...]
) -> Iterator[tuple[str, np.ndarray]]:
    """Yield each piece of a pattern with its rows of characters."""
    start = 0
    for piece, width in zip(pieces, widths, strict=True):
        yield piece, characters[start : start + width]
        start += width


def _digits(piece: str, part: np.ndarray) -> np.ndarray:
    digits = digits_of(part)
    if piece == "%d" and len(part) == 2:  # a day may be padded with a blank
        digits[0][part[0] == _SPACE] = 0
    return digits


def _name(part: np.ndarray, names: list[str]) -> np.ndarray:
    """Return the 1-based index of the name that each text is; 0 for none."""
    lower = part | _LOWER
    found = np.zeros(part.shape[1], np.uint8)
    for place, name in enumerate(names, 1):
        if len(name) == len(part):
            is_it = lower[0] == ord(name[0])
            for row, letter in zip(lower[1:], name[1:], strict=True):
                is_it &= row == ord(letter)
            found[is_it] = place
    return found


def _date(values: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return which dates are valid, and their days since 1970; a day of the year has precedence.

    As in strptime, day 366 of a year with 365 days is the first day of the next year.
    """
    year = values.get("%Y")
    if year is None:
        year = values["%y"] + np.where(values["%y"] < _CENTURY_TURNS, np.uint16(2000), np.uint16(1900))
    if "%j" in values:
        known = (year >= 1) & (year <= 9999)
        return known, year_starts(np.where(known, year, 1)) + values["%j"] - 1
    month = next(values[piece] for piece in _MONTH_PIECES if piece in values)
    return dates(year, month, values["%d"])


def _hour(values: dict[str, np.ndarray], midnight: np.ndarray) -> np.ndarray:
    if "%I" in values:
        return values["%I"] % 12 + 12 * (values["%p"] == _PM)
    return values.get("%H", midnight)
