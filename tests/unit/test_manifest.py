"""Cutting files into chunks of whole records: whatever the chunks, records and lines are the same."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import pytest

from flink_job.sources.file_source import FileReader, FileSource, FileSourceSpec
from flink_job.sources.manifest import Manifest, cut
from flink_job.sources.source import SourceProblem
from operators.parsing import CsvFormat

CHUNKS = (1, 2, 3, 7, 20, 64, 10_000)
CSV = CsvFormat(type="csv", header=True)


def records(pattern: str, format: object, chunk_bytes: int, folder: Path) -> list[tuple[str, int, bytes]]:
    """Return file name, line and payload of every record, as a worker reads them."""
    import pandas as pd

    source = FileSource(
        FileSourceSpec(type="file", path=pattern, format=format, chunk_bytes=chunk_bytes),
        folder / "source.json",
        go_on=False,
    )
    read = []
    for _, batch in source.reader.read(pd.Series(range(max(source._chunks, 1)))):
        for row in range(len(batch.payloads)):
            position = batch.position(row)
            read.append((Path(position["file"]).name, position["line"], batch.payloads.payload(row)))
    return read


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
def test_lines_are_numbered_over_all_chunks_and_blank_ones_are_no_records(
    chunk_bytes: int, tmp_path: Path
) -> None:
    (tmp_path / "e.json").write_bytes(b'{"a":1}\n\n{"a":2}\r\n\xc3\xa9\n{"a":3}')
    assert records(str(tmp_path / "e.json"), "json", chunk_bytes, tmp_path) == [
        ("e.json", 1, b'{"a":1}'), ("e.json", 3, b'{"a":2}'),
        ("e.json", 4, b"\xc3\xa9"), ("e.json", 5, b'{"a":3}'),
    ]  # fmt: skip


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
def test_a_packed_file_with_a_byte_order_mark_reads_as_the_plain_one(
    chunk_bytes: int, tmp_path: Path
) -> None:
    data = b"".join(b'{"a":%d}\n' % number for number in range(50))
    (tmp_path / "plain.json").write_bytes(data)
    with gzip.open(tmp_path / "packed.json.gz", "wb") as file:
        file.write(b"\xef\xbb\xbf" + data)
    plain = records(str(tmp_path / "plain.json"), "json", chunk_bytes, tmp_path)
    packed = records(str(tmp_path / "packed.json.gz"), "json", chunk_bytes, tmp_path)
    assert len(plain) == 50 and [r[1:] for r in plain] == [r[1:] for r in packed]


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
def test_a_newline_between_quotes_ends_no_record_even_over_a_chunk_border(
    chunk_bytes: int, tmp_path: Path
) -> None:
    (tmp_path / "e.csv").write_bytes(b'a,b\r\n1,"two\nlines"\r\n2,"with ""quotes""\n\n,and three"\r\n3,x')
    assert records(str(tmp_path / "e.csv"), CSV, chunk_bytes, tmp_path) == [
        ("e.csv", 2, b'1,"two\nlines"'),
        ("e.csv", 4, b'2,"with ""quotes""\n\n,and three"'),
        ("e.csv", 7, b"3,x"),
    ]


def test_without_a_format_that_quotes_a_quote_is_a_character(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_bytes(b'"\n"\n')
    assert [r[2] for r in records(str(tmp_path / "e.json"), "json", 64, tmp_path)] == [b'"', b'"']


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
def test_the_files_of_a_glob_come_in_the_order_of_their_names_each_without_its_header(
    chunk_bytes: int, tmp_path: Path
) -> None:
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "b.csv").write_bytes(b"\xef\xbb\xbfa,b\n3,4\n")
    (tmp_path / "in" / "a.csv").write_bytes(b"a,b\n1,2")
    (tmp_path / "in" / "empty.csv").write_bytes(b"a,b\n")
    with gzip.open(tmp_path / "in" / "deep" / "c.csv.gz", "wb") as file:
        file.write(b"a,b\r\n5,6\r\n")
    read = records(str(tmp_path / "in" / "**" / "*.csv*"), CSV, chunk_bytes, tmp_path)
    assert read == [("a.csv", 2, b"1,2"), ("b.csv", 2, b"3,4"), ("c.csv.gz", 2, b"5,6")]


def test_an_empty_file_has_no_chunks(tmp_path: Path) -> None:
    (tmp_path / "e.json").touch()
    assert cut(str(tmp_path / "e.json"), "json", 100).chunks == []
    assert records(str(tmp_path / "e.json"), "json", 100, tmp_path) == []


def test_a_chunk_is_as_long_as_asked_for_unless_one_record_is_longer(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_bytes(b"x" * 500 + b"\n" + b"y\n" * 500)
    lengths = [chunk.length for chunk in cut(str(tmp_path / "e.json"), "json", 100).chunks]
    assert lengths[0] >= 501 and max(lengths[1:]) <= 200 and sum(lengths) == 1501


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("cut.json.gz", gzip.compress(os.urandom(5000))[:-100], "cut.json.gz: cannot be read"),
        ("bad.json.gz", b"this is no gzip", "bad.json.gz: cannot be read"),
        ("none.csv", b"", "header line"),
        ("blank.csv", b"\n\r\n", "the file is empty"),
        ("wide.csv", "a,b\n".encode("utf-16"), "expected UTF-8, got the byte 0xff, which UTF-16 begins with"),
        ("open.csv", b'a,"b\n1,2\n', "expected a line of CSV: unexpected end of data"),
        ("latin.csv", b"caf\xe9,b\n1,2\n", "latin.csv: header: expected UTF-8, got the byte 0xe9"),
    ],
)
def test_a_file_that_cannot_be_cut_is_told_by_name(
    name: str, content: bytes, told: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(SourceProblem, match=told):
        cut(str(tmp_path / name), CSV if ".csv" in name else "json", 100)


def test_files_with_different_headers_are_refused(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_bytes(b"a,b\n1,2\n")
    (tmp_path / "2.csv").write_bytes(b"b,a\n1,2\n")
    with pytest.raises(
        SourceProblem, match=r"2\.csv: expected the header of .*1\.csv, whose column 1 is a; here it is b"
    ):
        cut(str(tmp_path / "*.csv"), CSV, 100)


def test_empty_files_of_a_glob_add_nothing(tmp_path: Path) -> None:
    for name, content in {"1": b"a,b\n1,2\n", "2": b"", "3": b"\r\n\n", "4": b"\n\na,b\n3,4\n"}.items():
        (tmp_path / f"{name}.csv").write_bytes(content)
    read = records(str(tmp_path / "*.csv"), CSV, 100, tmp_path)
    assert read == [("1.csv", 2, b"1,2"), ("4.csv", 4, b"3,4")]


def test_names_given_in_the_pipeline_win_over_those_of_the_header(tmp_path: Path) -> None:
    (tmp_path / "d.csv").write_bytes(b"Event time (UTC),User\nx,a\n")
    given = CsvFormat(columns=("ts", "user"), header=True)
    assert cut(str(tmp_path / "d.csv"), given, 100).columns == ["ts", "user"]
    assert records(str(tmp_path / "d.csv"), given, 100, tmp_path) == [("d.csv", 2, b"x,a")]
    with pytest.raises(SourceProblem, match=r"d\.csv: columns: expected 2 names, as the header has; got 1"):
        cut(str(tmp_path / "d.csv"), CsvFormat(columns=("ts",), header=True), 100)


def test_a_pattern_without_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.json").mkdir()
    for pattern in ("nothing.json", "*.json"):
        with pytest.raises(SourceProblem, match="no file matches"):
            cut(str(tmp_path / pattern), "json", 100)


def test_progress_is_told_in_unpacked_bytes(tmp_path: Path) -> None:
    (tmp_path / "e.json").write_bytes(b"{}\n" * 100)
    told: list[tuple[str, int, int]] = []
    cut(str(tmp_path / "e.json"), "json", 100, lambda *args: told.append(args))
    assert told[-1] == (str(tmp_path / "e.json"), 300, 300) and len(told) > 2


def test_a_manifest_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    (tmp_path / "e.csv").write_bytes(b"a,b\n1,2\n3,4\n")
    manifest = cut(str(tmp_path / "e.csv"), CSV, 4)
    manifest.write(tmp_path / "deep" / "source.json")
    assert Manifest.read(tmp_path / "deep" / "source.json") == manifest
    assert manifest.columns == ["a", "b"] and len(manifest.chunks) == 2


def test_a_reader_with_a_chunk_number_beyond_the_last_reads_nothing(tmp_path: Path) -> None:
    import pandas as pd

    (tmp_path / "e.json").touch()
    cut(str(tmp_path / "e.json"), "json", 100).write(tmp_path / "source.json")
    assert list(FileReader(str(tmp_path / "source.json"), "json").read(pd.Series([0]))) == []
