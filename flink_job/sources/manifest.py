"""Cuts files into chunks of whole records, once, before a run; kept so that a run can be gone on with."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from glob import glob
from pathlib import Path
from typing import BinaryIO

import msgspec

from flink_job.machine.private_folder import write_whole
from flink_job.sources.source import SourceProblem
from operators.own_words import told_plainly
from operators.parsing import CsvFormat, Format, header_columns
from operators.parsing.whole_records import RecordTooLong, first_record, whole_records

_BOM = b"\xef\xbb\xbf"


class File(msgspec.Struct, frozen=True):
    """A file as it was when it was cut: its path, its size on disk in bytes, and when it was changed."""

    path: str
    size: int
    mtime_ns: int


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """A piece of a file: which file, from which (unpacked) byte, how many, and its first line's number."""

    file: int
    start: int
    length: int
    first_line: int


class Manifest(msgspec.Struct, frozen=True):
    """All chunks of a run in the order they are read, and the columns that CSV headers named."""

    files: list[File]
    chunks: list[Chunk]
    columns: list[str] | None = None
    version: int = 1

    def write(self, path: Path) -> None:
        """Write it whole, or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, msgspec.json.encode(self))

    @classmethod
    def read(cls, path: Path) -> Manifest:
        """Read it back.

        Raises:
            SourceProblem: where it is not there or of another version, or a file has changed since.
        """
        try:
            manifest = msgspec.json.decode(path.read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as problem:
            raise SourceProblem(
                f"{path}: expected the list of chunks of the run to go on with: {problem}"
            ) from problem
        if manifest.version != 1:
            raise SourceProblem(f"{path}: expected version 1, got {manifest.version}")
        for file in manifest.files:
            expect_unchanged(file)
        return manifest


def cut(
    pattern: str, format: Format, chunk_bytes: int, progress: Callable[[str, int, int], None] | None = None
) -> Manifest:
    """Cut all files of a pattern, in the order of their names.

    Args:
        pattern: a path or glob; `**` goes into folders. Files whose names end in `.gz` are unpacked.
        format: how records are to be told apart; CSV headers are read and taken out.
        chunk_bytes: how many bytes a chunk has at most, unless one record is longer.
        progress: called with a file's name, the bytes done and the bytes there are.

    Raises:
        SourceProblem: where there is no such file, one cannot be read, or headers differ.
    """
    paths = sorted(path for path in glob(pattern, recursive=True) if os.path.isfile(path))
    if not paths:
        raise SourceProblem(f"source.path: no file matches {pattern!r}")
    files, chunks, columns = [], [], None
    for number, path in enumerate(paths):
        try:
            files.append(_as_found(path))
            with open_file(path) as file:
                start, line = len(_BOM) if file.read(len(_BOM)) == _BOM else 0, 1
                file.seek(start)
                if isinstance(format, CsvFormat) and format.has_header:
                    found, length, line = _header(file, format, path)
                    start += length
                    if columns not in (None, found):
                        raise SourceProblem(
                            f"{path}: expected the header of the files before it, {columns}, got {found}"
                        )
                    columns = found
                file.seek(start)
                for data, lines in whole_records(file, format, chunk_bytes, line):
                    chunks.append(Chunk(number, start, len(data), line))
                    start, line = start + len(data), line + lines
                    if progress is not None:
                        progress(path, start, files[-1].size)
        except RecordTooLong as problem:
            raise SourceProblem(f"{path}, {problem}") from problem
        except (OSError, EOFError, gzip.zlib.error, UnicodeDecodeError) as problem:
            raise SourceProblem(f"{path}: cannot be read: {problem}") from problem
    return Manifest(files, chunks, columns)


def open_file(path: str) -> BinaryIO:
    """Open a file for reading unpacked bytes."""
    return gzip.open(path, "rb") if path.endswith(".gz") else open(path, "rb")


def expect_unchanged(file: File) -> None:
    """Make sure that a file is as it was when it was cut.

    Raises:
        SourceProblem: where it is not.
    """
    if not os.path.exists(file.path) or _as_found(file.path) != file:
        raise SourceProblem(f"{file.path}: changed or gone since the run began; start a new run")


def _as_found(path: str) -> File:
    found = os.stat(path)
    return File(os.path.abspath(path), found.st_size, found.st_mtime_ns)


def _header(file: BinaryIO, format: CsvFormat, path: str) -> tuple[list[str], int, int]:
    """Return the columns, how many bytes the header has, and the line after it."""
    header, lines = first_record(file, format)
    if not header.strip():
        raise SourceProblem(f"{path}: expected a header line that names the columns, got an empty line")
    try:
        columns = header_columns(header.rstrip(b"\r\n"), format)
        format.with_columns(columns)
    except ValueError as problem:
        raise SourceProblem(f"{path}: header: {told_plainly(problem)}") from problem
    return columns, len(header), 1 + lines
