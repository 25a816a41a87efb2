"""How simulated events become JSON lines, thousands at a time.

Every event is one row of a structured array of fixed-width byte fields: constants come from a template, parts
that vary are looked up in tables of text, and what a field does not fill stays zero. Taking all zero bytes
out of the array's memory leaves the JSON lines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

BAD_KINDS = ("truncated", "wrong_type", "missing_user", "negative_value", "not_utf8")
MAX_EVENTS = 10**12  # an event's number has 12 digits

FOUR_DIGITS = np.array([b"%04d" % number for number in range(10_000)])
TWO_DIGITS = np.array([b"%02d" % number for number in range(100)])
NUMBERS = np.array([b"%d" % number for number in range(100_000)])

Layout = Sequence[tuple[str, bytes | int]]
"""The fields of a row in their order: a constant text, or the width of what varies."""

TIME_FIELDS: Layout = (
    ("ts_key", b',"ts":'), ("ts_0", 1), ("ts_1", 4), ("ts_2", 4), ("ts_3", 4),
)  # fmt: skip
"""The field `ts`, which `begin` writes."""


class RowWriter:
    """Begins rows of one layout, which has fields `id_0`, `id_1`, `id_2`, and those of `TIME_FIELDS`.

    Args:
        layout: the layout.

    Attributes:
        fields: names of the fields that every event has, unless it is spoiled.
    """

    def __init__(self, layout: Layout) -> None:
        """Make the template."""
        constants = b"".join(part for _, part in layout if isinstance(part, bytes))
        self.fields = tuple(re.findall(r'"(\w+)":', constants.decode()))
        widths = [(name, part if isinstance(part, int) else len(part)) for name, part in layout]
        self._template = np.zeros(1, dtype=[(name, f"S{width}") for name, width in widths])
        for name, part in layout:
            if isinstance(part, bytes):
                self._template[name] = part

    def begin(self, numbers: NDArray[np.int64], times_ms: NDArray[np.int64]) -> NDArray[np.void]:
        """Rows of these event numbers and times; the other fields are still to be written.

        Args:
            numbers: ``(n,) int64``, below ``MAX_EVENTS``.
            times_ms: ``(n,) int64``, epoch ms of 13 digits.

        Returns:
            ``(n,)`` rows.
        """
        rows = np.repeat(self._template, len(numbers))
        write_digits(rows, ("id_0", "id_1", "id_2"), numbers)
        write_digits(rows, ("ts_1", "ts_2", "ts_3"), times_ms)
        rows["ts_0"] = NUMBERS.take(times_ms // 10**12)
        return rows


def write_digits(rows: NDArray[np.void], fields: Sequence[str], numbers: NDArray[np.int64]) -> None:
    """Write numbers with leading zeros into fields of four digits each, the most significant first."""
    for field in reversed(fields):
        numbers, four = np.divmod(numbers, 10_000)
        rows[field] = FOUR_DIGITS.take(four)


def write_cents(rows: NDArray[np.void], places: NDArray[np.int64], cents: NDArray[np.float64]) -> None:
    """Write amounts, rounded, into `whole` and `cents` of some rows.

    Args:
        rows: ``(n,)`` rows.
        places: ``(m,) int64`` places of the rows to write.
        cents: ``(m,) float64``, below 10,000,000.
    """
    whole, rest = np.divmod(np.rint(cents).astype(np.int64), 100)
    rows["whole"][places] = NUMBERS.take(whole)
    rows["cents"][places] = TWO_DIGITS.take(rest)


def spoil(
    rows: NDArray[np.void],
    bad: NDArray[np.int64],
    random: NDArray[np.uint32],
    texts: Mapping[str, Mapping[str, bytes]],
) -> None:
    """Make some finished events bad, each in one of the ways of ``BAD_KINDS``.

    Args:
        rows: ``(n,)`` rows.
        bad: ``(m,) int64`` places of the rows to spoil.
        random: ``(m,) uint32`` random bits, for the way and for the place of a cut.
        texts: for each way but `truncated` the fields that it writes, and what.
    """
    kinds, random = random % len(BAD_KINDS), random // len(BAD_KINDS)
    is_truncated = kinds == BAD_KINDS.index("truncated")
    table = rows.view(np.uint8).reshape(len(rows), -1)
    width = table.shape[1] - 1  # the newline stays
    kept = 1 + random[is_truncated] % (width - 2)  # never up to the closing brace
    table[bad[is_truncated], :width] *= np.arange(width) < kept[:, None]
    for kind, fields in texts.items():
        places = bad[kinds == BAD_KINDS.index(kind)]
        for field, text in fields.items():
            rows[field][places] = text


def as_lines(rows: NDArray[np.void]) -> bytes:
    r"""The rows as JSON lines, each ended by ``\n``."""
    return rows.tobytes().translate(None, b"\0")
