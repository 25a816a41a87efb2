"""Vectorised parsing of numbers, dates and UTC offsets from arrays of digit characters."""

from __future__ import annotations

from typing import Final

import numpy as np

DAY_MS: Final = 86_400_000


def digits_of(characters: np.ndarray) -> np.ndarray:
    """Return the digit values of ASCII characters, uint8; other characters give values above 9."""
    return characters - np.uint8(ord("0"))


def number(digits: np.ndarray) -> np.ndarray:
    """Return the numbers made of up to four digits, `(width, n)`, most significant first.

    A number is undefined where it contains a character that is not a digit.
    """
    value = digits[0] if len(digits) <= 2 else digits[0].astype(np.uint16)
    for digit in digits[1:]:
        value = value * np.uint8(10) + digit
    return value


def are_digits(digits: np.ndarray) -> np.ndarray:
    """Return which texts consist of digits only."""
    fits = digits[0] <= 9
    for digit in digits[1:]:
        fits &= digit <= 9
    return fits


def dates(year: np.ndarray, month: np.ndarray, day: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which dates are valid, in years 1 to 9999, and their days since 1970-01-01.

    Args:
        year: unsigned, below 65536.
        month: unsigned, below 256.
        day: unsigned, below 256.
    """
    there = (year >= 1) & (year <= 9999) & (month >= 1) & (month <= 12) & (day >= 1)
    place = year.astype(np.int32) * 12 + month - 1
    if not there.all():
        place[~there] = 0
    first = _MONTH_STARTS[place]
    there &= day <= _MONTH_LENGTHS[place]
    return there, first + day - 1


def year_starts(year: np.ndarray) -> np.ndarray:
    """Return the days since 1970-01-01 of January 1 of years up to 9999."""
    return _MONTH_STARTS[year.astype(np.int32) * 12]


def second_of_day(hour: np.ndarray, minute: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Return the seconds since midnight, int32."""
    return (hour.astype(np.int32) * 60 + minute) * 60 + second


def fraction_ms(digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which fractions of a second consist of digits only, and their milliseconds, rounded down."""
    kept = digits[:3]
    return are_digits(digits), number(kept).astype(np.int64) * 10 ** (3 - len(kept))


def offset(characters: np.ndarray, digits: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which texts are a valid UTC offset of this length, and its milliseconds east of UTC."""
    length, n = characters.shape
    if length == 0:
        return np.ones(n, bool), np.zeros(n, np.int64)
    if length == 1:
        return (characters[0] == ord("Z")) | (characters[0] == ord("z")), np.zeros(n, np.int64)
    east = np.where(characters[0] == ord("+"), 1, -1)
    fits = (characters[0] == ord("+")) | (characters[0] == ord("-"))
    hours, minutes = number(digits[1:3]), np.zeros(n, np.uint8)
    fits &= are_digits(digits[1:3]) & (hours < 24)
    if length > 3:
        minutes = number(digits[-2:])
        fits &= are_digits(digits[-2:]) & (minutes < 60)
    if length == 6:
        fits &= characters[3] == ord(":")
    return fits, east * (hours.astype(np.int64) * 60 + minutes) * 60_000


def _month_starts() -> np.ndarray:
    """Return the days since 1970-01-01 of the first day of each month, from January of the year 0 on."""
    months = np.arange("0000-01", "10000-02", dtype="datetime64[M]")
    return months.astype("datetime64[D]").astype(np.int32)


_MONTH_STARTS: Final = _month_starts()
_MONTH_LENGTHS: Final = np.diff(_MONTH_STARTS).astype(np.uint8)
