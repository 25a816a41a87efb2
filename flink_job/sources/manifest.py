"""Cuts files into chunks of whole records, once, before a run; kept so that a run can be gone on with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from glob import glob
from pathlib import Path

import msgspec

from flink_job.machine.private_folder import write_atomically
from flink_job.sources.csv_headers import FirstRecord, first_records, open_file, source_errors_named
from flink_job.sources.source import SourceProblem
from operators.parsing import Format
from operators.parsing.whole_records import whole_records


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
        write_atomically(path, msgspec.json.encode(self))

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
    pattern: str,
    format: Format,
    chunk_bytes: int,
    progress: Callable[[str, int, int], None] | None = None,
    wanted: Mapping[str, str] | None = None,
) -> Manifest:
    """Cut all files of a pattern, in the order of their names.

    Args:
        pattern: a path or glob; `**` goes into folders. Files whose names end in `.gz` are unpacked.
        format: the format of records; CSV headers are read and left out of the chunks.
        chunk_bytes: how many bytes a chunk has at most, unless one record is longer.
        progress: called with a file's name, the bytes done and the bytes there are.
        wanted: columns that CSV files must have, by the key of the pipeline file that requires them.

    Raises:
        SourceProblem: no file matches, one cannot be read, or headers differ or lack columns.
    """
    paths = matching_files(pattern)
    files = []
    for path in paths:
        with source_errors_named(path):
            files.append(_as_found(path))
    starts, columns = first_records(paths, format, wanted or {})
    chunks = []
    for number, path in enumerate(paths):
        for chunk in chunks_of(number, path, starts[number], format, chunk_bytes):
            chunks.append(chunk)
            if progress is not None:
                progress(path, chunk.start + chunk.length, files[number].size)
    return Manifest(files, chunks, None if columns is None else list(columns))


def matching_files(pattern: str) -> list[str]:
    """Return the files that match a glob pattern, sorted by name.

    Raises:
        SourceProblem: no file matches.
    """
    paths = sorted(path for path in glob(pattern, recursive=True) if os.path.isfile(path))
    if not paths:
        raise SourceProblem(f"source.path: no file matches {pattern!r}")
    return paths


def chunks_of(
    number: int, path: str, beginning: FirstRecord, format: Format, chunk_bytes: int
) -> Iterator[Chunk]:
    """Cut one file into chunks lazily: no more is read than the consumed chunks need.

    Raises:
        SourceProblem: the file cannot be read.
    """
    start, line = beginning
    with source_errors_named(path), open_file(path) as file:
        file.seek(start)
        for data, lines in whole_records(file, format, chunk_bytes, line):
            yield Chunk(number, start, len(data), line)
            start, line = start + len(data), line + lines


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
