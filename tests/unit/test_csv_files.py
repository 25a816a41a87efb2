"""Files of CSV from the source to rejects: what quotes, line ends and separators of Unicode are taken for."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from flink_job.sources.file_source import FileSource, FileSourceSpec
from flink_job.sources.manifest import cut
from flink_job.sources.source import SourceProblem
from operators.first_seen.history import HistoryProblem, history_frames
from operators.ingest.ingest import Ingest
from operators.parsing import CsvFormat, csv_quotes, make_parser, whole_records
from operators.parsing.parsed import Parsed
from operators.plan import Plan
from operators.records import decode_reason

CHUNKS = (1, 64, 10_000)
FIELDS = {"ts": "string", "item": "string", "qty": "long"}
PLAN = {
    "name": "p",
    "event": {"fields": FIELDS, "time": {"field": "ts", "unit": "iso8601"}},
    "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1h"}]}],
}


def opened(path: Path, chunk_bytes: int = 10_000, format_: Any = "csv") -> FileSource:
    spec = FileSourceSpec(type="file", path=str(path), format=format_, chunk_bytes=chunk_bytes)
    return FileSource(spec, path.parent / "source.json", go_on=False)


def read(path: Path, chunk_bytes: int = 10_000, format_: Any = "csv") -> tuple[int, list[dict[str, Any]]]:
    """Return the number of good events and the rejects of a file, as a worker makes them."""
    source = opened(path, chunk_bytes, format_)
    ingest = Ingest(Plan.model_validate(PLAN), source.format, False, True, False)
    good, rejects = 0, []
    for _, batch in source.reader.read(pd.Series(range(max(source._chunks, 1)))):
        _, envelope = ingest.take(batch, 0)
        rejects += map(json.loads, envelope.rejects)
        good += envelope.events - len(envelope.rejects)
    return good, rejects


def rows(path: Path, format_: Any = "csv", names: tuple[str, ...] = ("a", "b")) -> list[tuple[Any, ...]]:
    """Return the fields of every record, which all must be good."""
    source = opened(path, format_=format_)
    parser = make_parser(source.format, {name: (name, "string") for name in names})
    parsed: list[Parsed] = [
        parser.parse(batch.payloads) for _, batch in source.reader.read(pd.Series(range(source._chunks)))
    ]
    assert not any(one.rejects for one in parsed)
    return [row for one in parsed for row in one.frame.rows()]


def table(count: int, at: int, line: str) -> bytes:
    """Write a header and rows, one of them as given."""
    written = [f"2024-03-01T10:{n // 60:02}:{n % 60:02}Z,item{n % 7},1" for n in range(count)]
    written[at] = line
    return ("ts,item,qty\n" + "\n".join(written) + "\n").encode()


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"], ids=["newline", "both", "return"])
def test_a_quote_within_an_unquoted_field_is_a_character(
    chunk_bytes: int, end: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes(table(30, 10, '2024-03-01T10:00:10Z,20" monitor,1').replace(b"\n", end))
    with path.open(newline="", encoding="utf-8") as file:
        assert len(list(csv.reader(file, strict=True))) == 31
    assert read(path, chunk_bytes) == (30, [])


BROKEN = {
    "never closed": '2024-03-01T10:00:10Z,"20 inch monitor,1',
    "text behind the closing quote": '2024-03-01T10:00:10Z,"20" monitor,1',
    "alone": '2024-03-01T10:00:10Z,item,"',
}


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN)
def test_a_broken_record_is_one_reject_with_its_line_and_the_lines_behind_it_are_read(
    line: str, chunk_bytes: int, tmp_path: Path
) -> None:
    path = tmp_path / "items.csv.gz"
    path.write_bytes(gzip.compress(table(30, 10, line)))
    good, rejects = read(path, chunk_bytes)
    assert (good, [(one["reason"], one["line"], one["payload"]) for one in rejects]) == (
        29, [("malformed_csv", 12, line)],
    )  # fmt: skip
    assert "lines" not in rejects[0]


def test_a_quote_that_another_stray_quote_seems_to_close_loses_no_line_between_them(tmp_path: Path) -> None:
    data = table(30, 10, '2024-03-01T10:00:10Z,"never closed,1').replace(b"Z,item3,1", b'Z,"item3",1')
    (tmp_path / "items.csv").write_bytes(data)
    good, rejects = read(tmp_path / "items.csv")
    assert (good, [one["line"] for one in rejects]) == (29, [12])


@pytest.mark.parametrize("chunk_bytes", CHUNKS)
def test_a_reject_says_how_many_lines_it_took(chunk_bytes: int, tmp_path: Path) -> None:
    path = tmp_path / "items.csv"
    path.write_bytes(table(5, 1, '2024-03-01T10:00:01Z,"two\r\nlines\n","not a\nnumber"'))
    good, (reject,) = read(path, chunk_bytes)
    assert (good, reject["reason"], reject["line"], reject["lines"]) == (4, "wrong_type", 3, 4)
    assert decode_reason(json.dumps(reject)).lines == 4


@pytest.mark.parametrize("far", [b"Z,item1", b'Z,17"'], ids=["never", "a stray quote"])
@pytest.mark.parametrize("chunk_bytes", [64, 10_000])
def test_a_field_that_is_closed_too_far_away_is_broken_and_its_lines_are_read(
    chunk_bytes: int, far: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(csv_quotes, "MAX_SPANNING_BYTES", 500)
    monkeypatch.setattr(whole_records, "MAX_RECORD_BYTES", 2000)
    path = tmp_path / "items.csv"
    data = table(200, 10, '2024-03-01T10:00:10Z,"not closed,1')
    path.write_bytes(data.replace(b"03:10Z,item1", b"03:10" + far))
    good, rejects = read(path, chunk_bytes)
    assert (good, [one["line"] for one in rejects]) == (199, [12])
    assert max(chunk.length for chunk in cut(str(path), CsvFormat(), 64).chunks) <= 64


def test_a_line_that_does_not_fit_in_memory_is_told_with_its_number(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(whole_records, "MAX_RECORD_BYTES", 2000)
    path = tmp_path / "items.csv"
    path.write_bytes(table(100, 50, "x" * 5000))
    with pytest.raises(SourceProblem, match=r"items\.csv, line 52: expected records of at most 2000 bytes"):
        cut(str(path), CsvFormat(), 64)


UNICODE = (
    "plain\u2028sep",
    "par\u2029sep",
    "ne\x85xt",
    "form\x0cfeed",
    "tab\x0bdown",
    "file\x1csep",
    "r\x1es",
)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_only_newlines_and_returns_end_a_line(end: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.csv"
    written = [f'{place},"two\nlines {place}"' for place in UNICODE] + ['x,"cr\rinside"']
    path.write_bytes(end.join(["a,b", *written]).encode())
    with path.open(newline="", encoding="utf-8") as file:
        expected = list(map(tuple, csv.reader(file, strict=True)))[1:]
    assert rows(path) == expected and len(expected) == len(UNICODE) + 1


def test_without_quoting_every_quote_is_a_character(tmp_path: Path) -> None:
    path = tmp_path / "plain.csv"
    path.write_bytes(b'a,"b"\n"1,"x"\n2",""\n')
    expected = list(map(tuple, csv.reader(io.StringIO(path.read_text()), quoting=csv.QUOTE_NONE)))
    read_rows = rows(path, {"type": "csv", "quote": None}, ("a", '"b"'))
    assert read_rows == expected[1:] == [('"1', '"x"'), ('2"', '""')]


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_a_header_may_have_quotes_and_a_quoted_newline(bom: bytes, tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(bom + b'"long\nname, ""a""","b"\n1,2\n')
    assert rows(path, names=('long\nname, "a"', "b")) == [("1", "2")]
    (chunk,) = cut(str(path), CsvFormat(), 100).chunks
    assert chunk.first_line == 3


def test_a_row_of_empty_fields_between_tabs_is_a_row(tmp_path: Path) -> None:
    path = tmp_path / "e.tsv"
    path.write_bytes(b"a\tb\n\t\n1\t\n")
    assert rows(path, {"type": "csv", "delimiter": "\t"}) == [(None, None), ("1", None)]


def test_a_blank_before_a_quote_makes_it_a_character(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(b'a,b\n1, "x"\n2, "\n3,y\n')
    assert rows(path) == [("1", ' "x"'), ("2", ' "'), ("3", "y")]


def test_fields_longer_than_the_limit_of_the_csv_module_are_read(tmp_path: Path) -> None:
    path = tmp_path / "e.csv"
    path.write_bytes(b'a,b\n1,"' + b"x\n" * 200_000 + b'"\n2,y\n')
    assert rows(path) == [("1", "x\n" * 200_000), ("2", "y")]


def test_history_is_told_apart_as_the_source_does_it(tmp_path: Path) -> None:
    path = tmp_path / "past.csv"
    path.write_bytes('a,b\n1,"two\nlines"\n2,20" monitor\u2028x\r\n'.encode())
    frames = list(history_frames(str(path), CsvFormat(), {"b": ("b", "string")}))
    assert [row for frame in frames for row in frame.rows()] == [("two\nlines",), ('20" monitor\u2028x',)]
    path.write_bytes(b'a,b\n1,"two\nlines"\n2,"open\n3,c\n')
    with pytest.raises(HistoryProblem, match=r"past\.csv, line 4: malformed_csv: expected a quote"):
        list(history_frames(str(path), CsvFormat(), {"b": ("b", "string")}))
