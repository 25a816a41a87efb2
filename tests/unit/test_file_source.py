"""Files as a source: what a run that is gone on with makes of them, and what is told when they fail it."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from flink_job.sources.file_source import FileSource, FileSourceSpec
from flink_job.sources.manifest import Manifest
from flink_job.sources.source import SourceProblem

LINES = b"".join(b'{"a":%d}\n' % number for number in range(100))


def source(folder: Path, go_on: bool = False, path: str = "e.json", format: object = "json") -> FileSource:
    spec = FileSourceSpec(type="file", path=str(folder / path), format=format, chunk_bytes=100)
    return FileSource(spec, folder / "source.json", go_on)


def payloads(source: FileSource, numbers: list[int]) -> list[bytes]:
    return [
        batch.payloads.payload(row)
        for _, batch in source.reader.read(pd.Series(numbers))
        for row in range(len(batch.payloads))
    ]


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    (tmp_path / "e.json").write_bytes(LINES)
    return tmp_path


def test_a_run_that_is_gone_on_with_has_the_chunks_of_its_beginning(folder: Path) -> None:
    first = source(folder)
    assert payloads(source(folder, go_on=True), [1, 2]) == payloads(first, [1, 2])
    assert first.bounded and not first.check_clock and first.rows_per_batch == 1


def test_chunks_are_read_again_in_any_order(folder: Path) -> None:
    first = source(folder)
    in_order = payloads(first, list(range(9)))
    assert payloads(first, [5]) + payloads(first, [2]) == payloads(source(folder), [5, 2])
    assert in_order == LINES.splitlines()[: len(in_order)]


CHANGES: dict[str, Callable[[Path], object]] = {
    "longer": lambda path: path.write_bytes(LINES + b"{}\n"),
    "touched": lambda path: os.utime(path, ns=(1, 1)),
    "gone": lambda path: path.unlink(),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_file_that_changed_since_the_run_began_is_refused(change: Callable, folder: Path) -> None:
    first = source(folder)
    change(folder / "e.json")
    with pytest.raises(SourceProblem, match=r"e\.json: changed or gone since the run began; start a new run"):
        source(folder, go_on=True)
    with pytest.raises(SourceProblem, match="changed or gone"):
        payloads(first, [0])


def test_a_file_that_changes_while_it_is_read_is_told_though_parts_of_it_are_in_memory(folder: Path) -> None:
    first = source(folder)
    payloads(first, [0])
    (folder / "e.json").write_bytes(b"x")
    with pytest.raises(SourceProblem, match="changed or gone since the run began"):
        payloads(first, [5])


def test_going_on_without_a_beginning_is_refused(folder: Path) -> None:
    with pytest.raises(SourceProblem, match=r"source\.json: expected the list of chunks"):
        source(folder, go_on=True)


@pytest.mark.parametrize(
    ("written", "told"), [("{", "expected the list of chunks"), ("version", "expected version 1, got 9")]
)
def test_a_list_of_chunks_that_is_damaged_or_of_a_newer_version_is_refused(
    written: str, told: str, folder: Path
) -> None:
    source(folder)
    path = folder / "source.json"
    if written == "version":
        written = json.dumps(json.loads(path.read_text()) | {"version": 9})
    path.write_text(written)
    with pytest.raises(SourceProblem, match=told):
        Manifest.read(path)


def test_a_file_without_permission_is_told_and_not_traced(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: str) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", path)

    monkeypatch.setattr("flink_job.sources.manifest.open_file", refuse)
    with pytest.raises(SourceProblem, match=r"e\.json: cannot be read: .*Permission denied"):
        source(folder)


def test_the_header_names_the_columns_of_the_format(folder: Path) -> None:
    (folder / "e.csv").write_bytes(b"first,second\n1,2\n")
    opened = source(folder, path="e.csv", format={"type": "csv", "header": True})
    assert opened.format.columns == ("first", "second")
    again = source(folder, go_on=True, path="e.csv", format={"type": "csv", "header": True})
    assert again.format == opened.format


def test_a_run_that_is_gone_on_with_may_ask_for_no_column_that_the_header_lacks(folder: Path) -> None:
    (folder / "e.csv").write_bytes(b"first,second\n1,2\n")
    source(folder, path="e.csv", format="csv")
    spec = FileSourceSpec(type="file", path=str(folder / "e.csv"), format="csv")
    with pytest.raises(
        SourceProblem, match=r"^fields\.a: the header has no column frist \(did you mean first"
    ):
        FileSource(spec, folder / "source.json", True, wanted={"fields.a": "frist"})
