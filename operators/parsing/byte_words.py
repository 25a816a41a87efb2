"""Reading many short texts of one buffer at once: a text a row, a few machine words a text.

Every function takes a `Words`, positions `(n,) int64` and lengths `(n,) int64` in bytes. Positions plus 72
must lie inside the buffer; see `Words.limit`. Bytes are read little-endian: the first byte of a text is the
lowest of its word.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LONGEST_NUMBER = 24
"""Digits of one run (whole or fraction part) that are read here; a longer run is for the strict decoder."""

_ZEROS = np.uint64(0x3030303030303030)
_ABOVE_NINE = np.uint64(0x7676767676767676)
_HIGH_BITS = np.uint64(0x8080808080808080)
_PAIRS, _QUADS = np.uint64(0x00FF00FF00FF00FF), np.uint64(0x0000FFFF0000FFFF)
_JOIN_1, _JOIN_2, _JOIN_4 = (
    np.uint64(10 * 2**8 + 1),
    np.uint64(100 * 2**16 + 1),
    np.uint64(10_000 * 2**32 + 1),
)
_8, _16, _32, _ONE = (np.uint64(number) for number in (8, 16, 32, 1))
_POWERS = np.array([10**k for k in range(20)], np.uint64)
_EXACT_POWERS = np.array([10.0**k for k in range(23)])
_MOST_DIGITS = 19
_LARGEST_EXACT = np.uint64(2**53)
_LARGEST_LONG = np.uint64(2**63 - 1)
_MINUS, _DOT, _ZERO = ord("-"), ord("."), ord("0")
_FOUR_BYTES, _FIVE_BYTES = np.uint64(2**32 - 1), np.uint64(2**40 - 1)
_NULL, _TRUE = (np.uint64(int.from_bytes(word, "little")) for word in (b"null", b"true"))
_FALSE = np.uint64(int.from_bytes(b"false", "little"))


class Words:
    """A buffer seen as words that begin at every byte.

    Attributes:
        bytes: (size,) uint8.
        limit: the last position at which 72 bytes can be read; negative if the buffer is shorter.
    """

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.bytes = np.frombuffer(data, np.uint8)
        self.limit = len(data) - 72
        self._wide: dict[int, np.ndarray] = {}
        self._words = np.ndarray((max(len(data) - 7, 0),), "<u8", data, 0, (1,))

    def word(self, positions: np.ndarray) -> np.ndarray:
        """Returns the 8 bytes from each position, (n,) uint64."""
        return self._words[positions]

    def window(self, positions: np.ndarray, size: int) -> np.ndarray:
        """Returns `size` bytes from each position, a multiple of 8, as (n, size / 8) uint64."""
        if size not in self._wide:
            self._wide[size] = np.ndarray((len(self.data) - size + 1,), f"V{size}", self.data, 0, (1,))
        return self._wide[size][positions].view("<u8").reshape(len(positions), size // 8)


class Numbers(NamedTuple):
    """Values read from texts.

    Attributes:
        values: (n,) int64, float64 or bool; any value where not `valid`.
        valid: (n,) bool, false where the text is `null`; None if it is true everywhere.
        ok: (n,) bool, false where the text is not what these functions read; None if true everywhere.
    """

    values: np.ndarray
    valid: np.ndarray | None
    ok: np.ndarray | None


def distance_to(window: np.ndarray, byte: int, skip: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Finds the first occurrence of a byte in each window.

    Args:
        window: (n, w) uint64 as `Words.window` gives, w of 2, 4 or 8.
        byte: the byte to find.
        skip: bytes of the window to pass over first.

    Returns:
        (n,) int64 distances from the end of the skipped bytes, meaningless where not found; (n,) bool found.
    """
    size = window.shape[1] * 8
    flags = np.packbits(window.view(np.uint8).ravel() == byte, bitorder="little").view(f"<u{size // 8}")
    bits = flags.astype(np.uint64)
    if skip:
        bits >>= np.uint64(skip)
    below = bits - _ONE
    below &= ~bits
    return np.bitwise_count(below).astype(np.int64), bits != 0


def read_longs(words: Words, positions: np.ndarray, lengths: np.ndarray) -> Numbers:
    """Reads integers as JSON writes them, up to 19 digits, or `null`."""
    negative = words.bytes[positions] == _MINUS
    signed = bool(negative.any())
    first, digits = (positions + negative, lengths - negative) if signed else (positions, lengths)
    magnitude, ok = _read_digits(words, first, digits)
    ok &= ~_has_leading_zero(words, first, digits)
    if len(digits) and digits.max() >= _MOST_DIGITS:
        ok &= (digits < _MOST_DIGITS) | ((digits == _MOST_DIGITS) & (magnitude <= _LARGEST_LONG))
    values = magnitude.view(np.int64)
    if signed:
        values = np.where(negative, -values, values)
    return _with_nulls(words, positions, lengths, values, ok)


def read_doubles(words: Words, positions: np.ndarray, lengths: np.ndarray) -> tuple[Numbers, np.ndarray]:
    """Reads numbers as JSON writes them, without exponent, correctly rounded, or `null`.

    A mantissa of at most 2^53 over a power of ten of at most 22 is one exact division (Clinger, "How to
    Read Floating Point Numbers Accurately", 1990). The others are well-formed, but left to the caller.

    Returns:
        The numbers; and the rows, (k,) int64, whose text is a number too long for an exact division.
    """
    negative = words.bytes[positions] == _MINUS
    signed = bool(negative.any())
    dots, has_dot = distance_to(words.window(positions, 32), _DOT)
    has_dot &= dots < lengths
    whole = np.where(has_dot, dots, lengths)
    fraction = np.where(has_dot, lengths - dots - 1, 0)
    first, whole = (positions + negative, whole - negative) if signed else (positions, whole)
    mantissa, ok = _read_digits(words, first, whole)
    ok &= ~_has_leading_zero(words, first, whole)
    if has_dot.any():
        decimals, decimals_ok = _read_digits(words, positions + dots * has_dot + 1, fraction)
        ok &= decimals_ok | ~has_dot
        mantissa = mantissa * _POWERS[np.minimum(fraction, _MOST_DIGITS)] + decimals
    exact = (whole + fraction <= _MOST_DIGITS) & (mantissa <= _LARGEST_EXACT)
    values = mantissa.astype(np.float64) / _EXACT_POWERS[np.minimum(fraction, 22)]
    if signed:
        values = np.where(negative, -values, values)
    inexact = np.empty(0, np.int64) if exact.all() else np.flatnonzero(~exact & ok)
    return _with_nulls(words, positions, lengths, values, ok), inexact


def read_bools(words: Words, positions: np.ndarray, lengths: np.ndarray) -> Numbers:
    """Reads `true`, `false` or `null`."""
    word = words.word(positions)
    is_true = ((word & _FOUR_BYTES) == _TRUE) & (lengths == 4)
    ok = is_true | (((word & _FIVE_BYTES) == _FALSE) & (lengths == 5))
    return _with_nulls(words, positions, lengths, is_true, ok)


def are_null(words: Words, positions: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Tells which texts are `null`, (n,) bool."""
    return (lengths == 4) & ((words.word(positions) & _FOUR_BYTES) == _NULL)


def _with_nulls(
    words: Words, positions: np.ndarray, lengths: np.ndarray, values: np.ndarray, ok: np.ndarray
) -> Numbers:
    if ok.all():
        return Numbers(values, None, None)
    null = are_null(words, positions, lengths)
    ok |= null
    return Numbers(values, ~null, None if ok.all() else ok)


def _has_leading_zero(words: Words, positions: np.ndarray, digits: np.ndarray) -> np.ndarray:
    return (words.bytes[positions] == _ZERO) & (digits > 1)


def _read_digits(words: Words, positions: np.ndarray, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Reads runs of decimal digits modulo 2^64; ok where there are 1 to 24 bytes and all are digits."""
    longest = int(lengths.max(initial=0))
    value: np.ndarray = np.zeros(0, np.uint64)
    stray: np.ndarray = np.zeros(0, np.uint64)
    for begin in range(0, max(min(longest, LONGEST_NUMBER), 1), 8):
        size = np.minimum(lengths, 8) if not begin else np.clip(lengths - begin, 0, 8)
        part = words.word(positions + begin if begin else positions)
        part ^= _ZEROS
        # Right-aligned in the word, the digits are filled up with zeros in front.
        part <<= (64 - 8 * size).astype(np.uint64)
        odd = ((part + _ABOVE_NINE) | part) & _HIGH_BITS
        number = _join_digits(part)
        value = value * _POWERS[size] + number if begin else number
        stray = stray | odd if begin else odd
    ok = (stray == 0) & (lengths > 0)
    if longest > LONGEST_NUMBER:
        ok &= lengths <= LONGEST_NUMBER
    return value, ok


def _join_digits(part: np.ndarray) -> np.ndarray:
    """Joins eight digits, one a byte, into one number: neighbours, then pairs, then fours."""
    part *= _JOIN_1
    part >>= _8
    part &= _PAIRS
    part *= _JOIN_2
    part >>= _16
    part &= _QUADS
    part *= _JOIN_4
    part >>= _32
    return part
