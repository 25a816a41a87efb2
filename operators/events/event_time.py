"""Event time: from a column of the payload to milliseconds since the epoch.

The guarantee: an int64 in milliseconds between the years 1 and 9999, rounded towards the past, or null where
the value cannot be read. The bounds keep every sum with a duration or a window inside an int64.

Of ISO 8601 this is read: ``YYYY-MM-DD``, a ``T``, ``t`` or blank, ``HH:MM:SS``, a point or comma and 1 to 9
digits or nothing, and ``Z``, ``z``, ``+HH:MM``, ``+HHMM``, ``+HH`` (also with ``-``) or nothing. A leap
second, hour 24 and days that the month does not have are refused.
"""

from __future__ import annotations

from datetime import datetime
from functools import reduce
from typing import Final

import numpy as np
import polars as pl

from operators.events.pattern_columns import read_with_pattern
from operators.events.time_digits import (
    DAY_MS,
    are_digits,
    dates,
    digits_of,
    fraction_ms,
    number,
    offset,
    second_of_day,
)
from operators.events.time_pattern import TimePattern

NUMERIC_UNITS: Final = ("s", "ms", "us")
"""Units of a number; ``iso8601`` and strptime patterns (they hold a ``%``) read texts."""

EPOCH_SECONDS: Final = "%s"
"""The pattern for epoch seconds as text, equivalent to the unit ``s``."""

MIN_TIME_MS: Final = -62_135_596_800_000
"""0001-01-01T00:00:00Z."""

MAX_TIME_MS: Final = 253_402_300_799_999
"""9999-12-31T23:59:59.999Z."""


_SHORTEST: Final = 19
_LONGEST: Final = 19 + 10 + 6
_NUMBERS: Final = ((0, 4), (5, 7), (8, 10), (11, 13), (14, 16), (17, 19))
_SEPARATORS: Final = ((4, b"-"), (7, b"-"), (10, b"Tt "), (13, b":"), (16, b":"))


def read_event_time(column: pl.Series, unit: str, zone: str | None = None) -> pl.Series:
    """Reads a column of event times.

    A double in seconds is taken to the microsecond next to it, which is as exact as a double is at present
    times, so that 1.001 is 1001 ms. Numbers may be written as text. A local time that a clock change repeats
    is its first occurrence; one that a clock change skips does not exist and is null.

    Args:
        column: Int64, Float64 or String; ``iso8601`` and patterns want String.
        unit: s, ms, us, iso8601, or a strptime pattern.
        zone: IANA name of the zone of local times, for texts that name no offset; None is UTC.

    Returns:
        Int64 milliseconds since the epoch, null where the value is null or no such time.
    """
    if unit in NUMERIC_UNITS:
        times = _from_text(column, unit) if column.dtype == pl.String else _fromnumber(column, unit)
    elif unit == EPOCH_SECONDS:
        times = _from_text(column, "s")
    elif unit == "iso8601":
        times = _from_iso8601(column, zone)
    else:
        times = _from_pattern(column, unit, zone)
    if times.null_count() < len(times) and (times.min() < MIN_TIME_MS or times.max() > MAX_TIME_MS):  # type: ignore[operator]
        times = times.set(~times.is_between(MIN_TIME_MS, MAX_TIME_MS), None)
    return times


def pattern_problem(pattern: str) -> str | None:
    """Says what is wrong with a strptime pattern.

    Args:
        pattern: Codes such as ``%Y-%m-%d %H:%M:%S``.

    Returns:
        None where a date written with the pattern can be read with it, else the problem.
    """
    return None if pattern == EPOCH_SECONDS else TimePattern(pattern).problem()


def pattern_names_offset(pattern: str) -> bool:
    """Whether times read with a strptime pattern are complete without a zone, as by ``%z`` or ``%s``."""
    return pattern == EPOCH_SECONDS or TimePattern(pattern).names_offset


def zone_exists(zone: str) -> bool:
    """Whether a name such as ``Europe/London`` is a zone of the IANA database."""
    try:
        pl.Series([0]).cast(pl.Datetime("us")).dt.replace_time_zone(zone)
    except pl.exceptions.PolarsError:
        return False
    return zone[:1].isalpha()  # polars also takes the empty text, for no zone, and bare offsets


def format_time(time_ms: int) -> str:
    """Writes epoch milliseconds as an ISO 8601 date-time in UTC, outside years 1 to 9999 as a number."""
    if not MIN_TIME_MS <= time_ms <= MAX_TIME_MS:
        return f"{time_ms} ms"
    seconds, milliseconds = divmod(time_ms, 1000)
    when = datetime.fromordinal(719_163 + seconds // 86_400).replace(
        hour=seconds % 86_400 // 3600, minute=seconds % 3600 // 60, second=seconds % 60
    )
    return when.isoformat() + (f".{milliseconds:03d}" if milliseconds else "") + "Z"


def _fromnumber(column: pl.Series, unit: str) -> pl.Series:
    if column.dtype == pl.Float64:
        if unit == "s":
            column, unit = (column * 1e6).round(), "us"
        # A value outside int64 or not finite has no long and is null.
        column = column.floor().cast(pl.Int64, strict=False)
    if unit == "ms":
        return column
    if unit == "us":
        return column // 1000
    in_range = column.is_between(MIN_TIME_MS // 1000, MAX_TIME_MS // 1000)
    return (column if in_range.all() else column.set(~in_range, None)) * 1000


def _from_text(column: pl.Series, unit: str) -> pl.Series:
    """Whole numbers as longs, exactly; the rest as doubles."""
    longs = column.cast(pl.Int64, strict=False)
    times = _fromnumber(longs, unit)
    if longs.null_count() == column.null_count():
        return times
    doubles = column.set(longs.is_not_null(), None).cast(pl.Float64, strict=False)
    return times.zip_with(longs.is_not_null(), _fromnumber(doubles, unit))


def _from_iso8601(column: pl.Series, zone: str | None) -> pl.Series:
    times, local = _read_iso8601(column)
    if zone is None or not local.any():
        return times
    zoned = _to_utc(times.cast(pl.Datetime("ms")), zone)
    return zoned if local.all() else times.zip_with(~pl.Series(local), zoned)


def _from_pattern(column: pl.Series, pattern: str, zone: str | None) -> pl.Series:
    times = read_with_pattern(column, pattern)
    return times if zone is None else _to_utc(times.cast(pl.Datetime("ms")), zone)


def _to_utc(local: pl.Series, zone: str) -> pl.Series:
    return local.dt.replace_time_zone(zone, ambiguous="earliest", non_existent="null").cast(pl.Int64)


def _read_iso8601(column: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """Reads texts as times in UTC, and says (n,) bool which of them name no offset."""
    texts = column.to_arrow().cast("large_string")
    n = len(texts)
    times, valid, local = np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, bool)
    if n:
        _, offsets_buffer, data_buffer = texts.buffers()
        offsets = np.frombuffer(offsets_buffer, np.int64)[texts.offset : texts.offset + n + 1]
        data = np.frombuffer(data_buffer or b"", np.uint8)
        lengths = np.diff(offsets)
        for length in np.unique(lengths):
            if _SHORTEST <= length <= _LONGEST:
                rows = np.flatnonzero(lengths == length)
                if len(rows) == n:
                    by_text = data[offsets[0] : offsets[n]].reshape(n, length)
                else:
                    by_text = data[offsets[rows, None] + np.arange(length)]
                # One row a character, so that every step below runs over contiguous memory.
                times[rows], valid[rows], local[rows] = _read_texts(np.ascontiguousarray(by_text.T))
    if texts.null_count:
        valid &= column.is_not_null().to_numpy()
    result = pl.Series(times)
    return (result if valid.all() else result.set(pl.Series(~valid), None)), local


def _read_texts(characters: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads texts of one length, (length, n) uint8: times, which are valid, which name no offset."""
    valid = np.ones(characters.shape[1], bool)
    for place, allowed in _SEPARATORS:
        valid &= reduce(np.logical_or, [characters[place] == character for character in allowed])
    digits = digits_of(characters)
    for start, end in _NUMBERS:
        valid &= are_digits(digits[start:end])
    year, month, day, hour, minute, second = (number(digits[start:end]) for start, end in _NUMBERS)
    there, day_number = dates(year, month, day)
    valid &= there & (hour < 24) & (minute < 60) & (second < 60)
    times = day_number * np.int64(DAY_MS) + second_of_day(hour, minute, second) * np.int64(1000)
    tail_ms, tail_valid, local = _read_tail(characters[19:], digits[19:])
    return times + tail_ms, valid & tail_valid, local


def _read_tail(characters: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Reads fraction and offset: milliseconds to add, which are valid, which name no offset."""
    length, n = characters.shape
    add_ms, valid, local = np.zeros(n, np.int64), np.zeros(n, bool), np.zeros(n, bool)
    for offset_length in (0, 1, 3, 5, 6):
        fraction_length = length - offset_length
        if fraction_length < 0 or fraction_length == 1 or fraction_length > 10:
            continue
        fits, offset_ms = offset(characters[fraction_length:], digits[fraction_length:])
        if not fits.any():
            continue
        fraction_fits, in_ms = _fraction(characters[:fraction_length], digits[:fraction_length])
        chosen = fits & fraction_fits & ~valid
        add_ms[chosen] = (in_ms - offset_ms)[chosen]
        valid |= chosen
        local[chosen] = offset_length == 0
    return add_ms, valid, local


def _fraction(characters: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which texts have a point or comma and digits, and the milliseconds; further digits are dropped."""
    length, n = characters.shape
    if length == 0:
        return np.ones(n, bool), np.zeros(n, np.int64)
    fits, add_ms = fraction_ms(digits[1:])
    return fits & ((characters[0] == ord(".")) | (characters[0] == ord(","))), add_ms
