"""What was before the first event, read from files by each worker."""

from __future__ import annotations

import gzip
from collections.abc import Iterator, Mapping
from glob import glob
from pathlib import Path

import numpy as np
import polars as pl

from operators.batch.event_batch import Column
from operators.first_seen.remembering import History
from operators.own_words import plain_message
from operators.parsing import CsvFormat, Format, Parser, make_parser
from operators.parsing.csv_header import read_header
from operators.parsing.payloads import Payloads
from operators.parsing.whole_records import whole_records

_PIECE_BYTES = 8 << 20


class HistoryProblem(ValueError):
    """A history that cannot be read; says which file, which line, and what is wrong."""


def history_hashes(history: History, column: str, type_: str) -> np.ndarray:
    """Read the values of a history.

    Args:
        history: the files.
        column: the column that the values are of.
        type_: its type: string, long, double or bool.

    Returns:
        The hashes of its different values, `(n, 2) uint64`; nulls are left out.

    Raises:
        HistoryProblem: a file cannot be read, or a line of it has no such value.
    """
    frames = history_frames(history.path, history.format, {column: (history.field or column, type_)})
    found = [Column(frame[column]).distinct_hashes for frame in frames]
    return np.unique(np.concatenate([np.empty((0, 2), np.uint64), *found]), axis=0)


def history_frames(
    pattern: str, format_: Format, fields: Mapping[str, tuple[str, str]]
) -> Iterator[pl.DataFrame]:
    """Read files of history, by name, piece by piece.

    Args:
        pattern: a path or glob; `.gz` is unpacked.
        format_: how lines are read.
        fields: the key in a line and the type of each column that is wanted.

    Raises:
        HistoryProblem: there is no file, one cannot be read, or a line of it has no such fields.
    """
    for path in history_paths(pattern):
        try:
            yield from _frames_of(path, format_, fields)
        except HistoryProblem:
            raise
        except (OSError, EOFError, ValueError) as problem:
            raise HistoryProblem(
                f"history.path: {path} cannot be read: {plain_message(problem)}"
            ) from problem


def history_paths(pattern: str) -> list[Path]:
    """Return the files that match a history's path, sorted by name.

    Raises:
        HistoryProblem: no file matches.
    """
    paths = sorted(Path(path) for path in glob(pattern, recursive=True) if Path(path).is_file())
    if not paths:
        raise HistoryProblem(f"history.path: no file matches {pattern!r}")
    return paths


def _frames_of(path: Path, format_: Format, fields: Mapping[str, tuple[str, str]]) -> Iterator[pl.DataFrame]:
    lines = 0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
        if isinstance(format_, CsvFormat) and format_.has_header:
            header = read_header(file, format_)
            if not header.names:
                return
            file.seek(header.size)
            format_, lines = format_.with_columns(header.columns(format_.columns)), header.lines
        parser = make_parser(format_, dict(fields))
        for data, more in whole_records(file, format_, _PIECE_BYTES, lines + 1):
            yield _parsed(parser, Payloads.from_lines(data, format_), path, lines)
            lines += more


def _parsed(parser: Parser, payloads: Payloads, path: Path, lines: int) -> pl.DataFrame:
    parsed = parser.parse(payloads)
    if parsed.rejects:
        reject = parsed.rejects[0]
        line = lines + int(payloads.lines[reject.row]) + 1
        raise HistoryProblem(f"history.path: {path}, line {line}: {reject.reason}: {reject.detail}")
    return parsed.frame
