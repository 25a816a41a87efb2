"""Files as a source: a glob, packed or not, read chunk by chunk in the Python workers."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Literal

from pydantic import ConfigDict, Field

from flink_job.sources.chunks import chunk_numbers
from flink_job.sources.csv_headers import expect_columns, open_file
from flink_job.sources.manifest import Manifest, cut, expect_unchanged
from flink_job.sources.source import SourceProblem
from operators.ingest.source_batch import Position, SourceBatch
from operators.parsing import CsvFormat, Format, FormatSpec
from operators.parsing.payloads import Payloads
from operators.section import Section

if TYPE_CHECKING:
    import pandas as pd
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment, Table

PARTITION = "file"


class FileSourceSpec(Section):
    """Options of `source: {type: file}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: Literal["file"]
    path: str = Field(min_length=1, description="A path or glob; ** goes into folders; .gz is unpacked.")
    format: FormatSpec = "json"
    chunk_bytes: int = Field(
        4 * 1024 * 1024, ge=1, le=64 * 1024 * 1024, description="How much is ingested at a time."
    )


class FileSource:
    """The files of a pattern, cut into chunks of whole records.

    All files together are one partition: an event is out of order if it is so in the order of the files.

    Args:
        spec: the options.
        manifest_path: where the list of chunks is kept.
        go_on: whether to use the list that is there instead of making one.
        progress: called with a file's name, the bytes done and the bytes there are, while files are cut.
        wanted: columns that CSV files must have, by the key of the pipeline file that requires them.

    Raises:
        SourceProblem: where a file is missing, cannot be read or lacks columns, or has changed since the run
            began.
    """

    check_clock = False
    bounded = True
    rows_per_batch = 1

    def __init__(
        self,
        spec: FileSourceSpec,
        manifest_path: Path,
        go_on: bool,
        progress: Callable[[str, int, int], None] | None = None,
        wanted: Mapping[str, str] | None = None,
    ) -> None:
        if go_on:
            manifest = Manifest.read(manifest_path)
        else:
            manifest = cut(spec.path, spec.format, spec.chunk_bytes, progress, wanted)
            manifest.write(manifest_path)
        self._chunks = len(manifest.chunks)
        self.format: Format = spec.format
        if isinstance(spec.format, CsvFormat):
            columns = spec.format.columns or manifest.columns or ()
            expect_columns(wanted or {}, columns, "columns" if spec.format.columns else "the header")
            self.format = spec.format.with_columns(columns)
        self.reader = FileReader(str(manifest_path), self.format)

    def readers(self, parallelism: int) -> int:
        """Return all: each takes what it is dealt."""
        return parallelism

    def table(self, env: StreamExecutionEnvironment, t_env: StreamTableEnvironment) -> Table:
        """Return the table of chunk numbers."""
        return chunk_numbers(env, t_env, self._chunks)


class FileReader:
    """Reads chunks in a worker.

    Args:
        manifest_path: where the list of chunks is kept.
        format: the format of records, which decides where they end.
    """

    def __init__(self, manifest_path: str, format: Format) -> None:
        self._manifest_path, self._format = manifest_path, format
        self._manifest: Manifest | None = None
        self._open: tuple[int, BinaryIO] | None = None

    def read(self, numbers: pd.Series) -> Iterator[tuple[int, SourceBatch]]:
        """Read the chunks of these numbers."""
        if self._manifest is None:
            self._manifest = Manifest.read(Path(self._manifest_path))
        for row, number in enumerate(numbers.tolist()):
            if number >= len(self._manifest.chunks):  # of an empty file
                continue
            chunk = self._manifest.chunks[number]
            path = self._manifest.files[chunk.file].path
            payloads = Payloads.from_lines(self._bytes(chunk.file, chunk.start, chunk.length), self._format)
            yield row, SourceBatch(payloads, _FilePosition(path, chunk.first_line, payloads), (PARTITION,))

    def _bytes(self, file: int, start: int, length: int) -> bytes:
        """Read a piece; packed files are read on from where the last piece ended where that is possible."""
        expect_unchanged(self._manifest.files[file])
        path = self._manifest.files[file].path
        if self._open is None or self._open[0] != file:
            if self._open is not None:
                self._open[1].close()
            self._open = (file, open_file(path))
        stream = self._open[1]
        stream.seek(start)
        data = stream.read(length)
        if len(data) != length:
            raise SourceProblem(f"{path}: expected {length} bytes from byte {start}, got {len(data)}")
        return data


class _FilePosition:
    def __init__(self, path: str, first_line: int, payloads: Payloads) -> None:
        self._path, self._first_line, self._payloads = path, first_line, payloads

    def __call__(self, row: int) -> Position:
        position: Position = {"file": self._path, "line": self._first_line + int(self._payloads.lines[row])}
        counts = self._payloads.line_counts
        return position if counts is None or counts[row] == 1 else position | {"lines": int(counts[row])}
