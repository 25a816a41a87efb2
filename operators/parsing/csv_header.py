"""The header of a CSV file: reads its column names, and checks that required columns are among them."""

from __future__ import annotations

import csv
import difflib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO

from operators.parsing.formats import CsvFormat, csv_dialect, csv_reader
from operators.parsing.whole_records import whole_records

_BOM = b"\xef\xbb\xbf"
_SHOWN, _LONGEST_SHOWN = 20, 60


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        names: the column names, stripped of blanks; empty where the file has only empty lines.
        size: bytes up to the first record.
        lines: lines up to the first record.
    """

    names: tuple[str, ...]
    size: int
    lines: int

    def columns(self, given: Sequence[str] | None) -> tuple[str, ...]:
        """Return the given columns, else the names; an empty or duplicate name is replaced by a numbered one.

        Raises:
            ValueError: the number of names differs from that of the given columns, not counting trailing
                empty names.
        """
        if given is not None:
            if len(self.names) < len(given) or any(self.names[len(given) :]):
                raise ValueError(
                    f"columns: expected {len(self.names)} names, as the header has; got {len(given)}"
                )
            return tuple(given)
        times = Counter(self.names)
        columns = tuple(
            name if name and times[name] == 1 else numbered(name, number)
            for number, name in enumerate(self.names, 1)
        )
        if len(set(columns)) < len(columns):
            raise ValueError("header: names cannot be told apart; give your own in columns")
        return columns


def numbered(name: str, number: int) -> str:
    """Return the numbered name of a column whose own name is empty or a duplicate."""
    return f"{name} (column {number})".strip()


def read_header(file: BinaryIO, spec: CsvFormat) -> Header:
    """Read the header at the beginning of a file, skipping a byte order mark and empty lines.

    The position of the file is undefined afterwards.

    Raises:
        ValueError: the header is not UTF-8, not valid CSV or too long.
    """
    size = bom_bytes(file)
    file.seek(size)
    dialect, names, lines = csv_dialect(spec), [], 0
    for record in whole_records(file, spec, 1):
        size, lines = size + len(record.data), lines + record.lines
        names = [name.strip() for name in _names(record.data, dialect)]
        if len(names) > 1 or any(names):
            return Header(tuple(names), size, lines)
    return Header((), size, lines)


def bom_bytes(file: BinaryIO) -> int:
    """Return the length of the byte order mark that a file begins with, 0 without one.

    The file is left anywhere.
    """
    return len(_BOM) if file.read(len(_BOM)) == _BOM else 0


def _names(record: bytes, dialect: Any) -> list[str]:
    try:
        return next(csv_reader(record.rstrip(b"\r\n").decode(), dialect), [])
    except UnicodeDecodeError as problem:
        hint = ", which UTF-16 begins with" if problem.object[:2] in (b"\xff\xfe", b"\xfe\xff") else ""
        wrong = problem.object[problem.start]
        raise ValueError(f"header: expected UTF-8, got the byte 0x{wrong:02x}{hint}") from None
    except csv.Error as problem:
        raise ValueError(f"header: expected a line of CSV: {problem}") from None


def absent_columns(wanted: Mapping[str, str], columns: Sequence[str], where: str) -> list[str]:
    """Return an error message for each required column that is missing.

    Args:
        wanted: the required columns, by the key of the pipeline file that requires them.
        columns: the existing columns.
        where: what defines them, for the messages.
    """
    return [
        f"{key}: {where} has {_none_or_several(column, columns)}"
        for key, column in wanted.items()
        if column not in columns
    ]


def _none_or_several(column: str, columns: Sequence[str]) -> str:
    several = [name for number, name in enumerate(columns, 1) if name == numbered(column, number)]
    if several:
        paths = " or ".join(map(shown, several))
        return f"{len(several)} columns {shown(column)}: ask for one by path: {paths}"
    lower = {name.lower(): name for name in reversed(columns)}
    close = difflib.get_close_matches(column.lower(), lower, n=1)
    if close:
        return f"no column {shown(column)} (did you mean {shown(lower[close[0]])}?)"
    more = f" and {len(columns) - _SHOWN} more" if len(columns) > _SHOWN else ""
    return f"no column {shown(column)}, only {', '.join(map(shown, columns[:_SHOWN]))}{more}"


def shown(name: str) -> str:
    """Return a name for a message: on one line, control characters escaped, truncated."""
    text = name if name.isprintable() else repr(name)
    return text if len(text) <= _LONGEST_SHOWN else text[:_LONGEST_SHOWN] + "..."
