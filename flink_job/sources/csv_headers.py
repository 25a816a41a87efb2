"""Checks the headers of CSV files before the job starts: equal in all files, with the required columns."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import BinaryIO, NamedTuple

from flink_job.sources.source import SourceProblem
from operators.parsing import CsvFormat, Format
from operators.parsing.csv_header import Header, absent_columns, bom_bytes, read_header, shown
from operators.parsing.whole_records import RecordTooLong


class FirstRecord(NamedTuple):
    """Position of the first record of a file, after any header: byte offset (unpacked) and line number."""

    start: int
    line: int


def open_file(path: str) -> BinaryIO:
    """Open a file for reading, decompressing `.gz`."""
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")


@contextmanager
def source_errors_named(path: str) -> Iterator[None]:
    """Turn read errors into a `SourceProblem` that names the file.

    Raises:
        SourceProblem: instead of the original error.
    """
    try:
        yield
    except RecordTooLong as problem:
        raise SourceProblem(f"{path}, {problem}") from problem
    except (OSError, EOFError, gzip.zlib.error, UnicodeDecodeError) as problem:
        raise SourceProblem(f"{path}: cannot be read: {problem}") from problem


def first_records(
    paths: Sequence[str], format: Format, wanted: Mapping[str, str]
) -> tuple[list[FirstRecord], tuple[str, ...] | None]:
    """Find the first record of each file, and check the headers of CSV files.

    Args:
        paths: the files.
        format: their format.
        wanted: columns that CSV files must have, by the key of the pipeline file that requires them.

    Returns:
        The first record of each file, and the columns they share where the format is CSV, else None.

    Raises:
        SourceProblem: a file cannot be read, headers differ, or they lack columns.
    """
    if not isinstance(format, CsvFormat) or not format.has_header:
        columns = format.columns if isinstance(format, CsvFormat) else None
        if columns is not None:
            expect_columns(wanted, columns, "columns")
        return [FirstRecord(_bom_bytes(path), 1) for path in paths], columns
    found: list[FirstRecord] = []
    first: tuple[str, Header] | None = None
    columns = format.columns
    for path in paths:
        header = _header(path, format)
        found.append(FirstRecord(header.size, header.lines + 1))
        if not header.names:
            continue
        if first is None:
            first = path, header
            try:
                columns = header.columns(format.columns)
            except ValueError as problem:
                raise SourceProblem(f"{path}: {problem}") from problem
            expect_columns(wanted, columns, "columns" if format.columns else f"the header of {path}")
        elif header.names != first[1].names:
            raise SourceProblem(f"{path}: {_difference(header.names, *first)}")
    if columns is None:
        raise SourceProblem(f"{paths[0]}: expected a header line that names the columns; the file is empty")
    return found, columns


def expect_columns(wanted: Mapping[str, str], columns: Sequence[str], where: str) -> None:
    """Check that all required columns exist.

    Raises:
        SourceProblem: columns are missing; one line each.
    """
    if problems := absent_columns(wanted, columns, where):
        raise SourceProblem("\n".join(problems))


def _header(path: str, format: CsvFormat) -> Header:
    with source_errors_named(path), open_file(path) as file:
        try:
            return read_header(file, format)
        except ValueError as problem:
            raise SourceProblem(f"{path}: {problem}") from problem


def _difference(names: tuple[str, ...], path: str, expected: Header) -> str:
    if len(names) != len(expected.names):
        return f"expected a header of {len(expected.names)} names like that of {path}, got {len(names)}"
    places = enumerate(zip(names, expected.names, strict=True), 1)
    number, (got, wanted) = next((at, both) for at, both in places if both[0] != both[1])
    return f"expected the header of {path}, whose column {number} is {shown(wanted)}; here it is {shown(got)}"


def _bom_bytes(path: str) -> int:
    with source_errors_named(path), open_file(path) as file:
        return bom_bytes(file)
