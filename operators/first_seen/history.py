"""Values that were seen before the first event, read from files by each worker."""

from __future__ import annotations

import gzip
from glob import glob
from pathlib import Path

import numpy as np

from operators.batch.event_batch import Column
from operators.first_seen.remembering import History
from operators.parsing import make_parser
from operators.parsing.formats import CsvFormat, header_columns
from operators.parsing.payloads import Payloads

_PIECE_BYTES = 8 << 20


class HistoryProblem(ValueError):
    """A history that cannot be read; says which file, which line, and what is wrong."""


def history_paths(history: History) -> list[Path]:
    """Return the files of a history by name.

    Raises:
        HistoryProblem: there is none.
    """
    paths = sorted(Path(path) for path in glob(history.path, recursive=True) if Path(path).is_file())
    if not paths:
        raise HistoryProblem(f"history.path: no file matches {history.path!r}")
    return paths


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
    found = [np.empty((0, 2), np.uint64)]
    for path in history_paths(history):
        found += _hashes_of(path, history, column, type_)
    return np.unique(np.concatenate(found), axis=0)


def _hashes_of(path: Path, history: History, column: str, type_: str) -> list[np.ndarray]:
    """Return the hashes of a file's values, piece by piece."""
    found, left, lines = [], b"", 0
    field = history.field or column
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            format_ = history.format
            if isinstance(format_, CsvFormat) and format_.has_header:
                names, lines = header_columns(file.readline().rstrip(b"\r\n"), format_), 1
                format_ = format_ if format_.columns else format_.with_columns(names)
            parser = make_parser(format_, {column: (field, type_)})
            while piece := file.read(_PIECE_BYTES):
                whole, newline, rest = (left + piece).rpartition(b"\n")
                left = rest
                found.append(_parsed(parser, whole + newline, path, lines, column))
                lines += whole.count(b"\n") + len(newline)
            found.append(_parsed(parser, left, path, lines, column))
    except HistoryProblem:
        raise
    except (OSError, EOFError, ValueError) as problem:
        raise HistoryProblem(f"history.path: {path} cannot be read: {problem}") from problem
    return found


def _parsed(parser: object, data: bytes, path: Path, lines: int, column: str) -> np.ndarray:
    payloads = Payloads.from_lines(data)
    parsed = parser.parse(payloads)
    if parsed.rejects:
        reject = parsed.rejects[0]
        line = lines + int(payloads.lines[reject.row]) + 1
        raise HistoryProblem(f"history.path: {path}, line {line}: {reject.reason}: {reject.detail}")
    return Column(parsed.frame[column]).distinct_hashes
