"""CSV records, and the format key of the pipeline file."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from operators.parsing import CsvFormat, FormatSpec, Parsed, make_parser
from operators.parsing.csv_header import read_header
from operators.parsing.payloads import Payloads

FIELDS = {"x": ("x", "double"), "id": ("id", "string"), "n": ("n", "long"), "ok": ("ok", "bool")}


class Source(BaseModel):
    format: FormatSpec


def parse(*records: bytes | None, **options: Any) -> Parsed:
    spec = CsvFormat(columns=("id", "n", "x", "ok"), **options)
    return make_parser(spec, FIELDS).parse(Payloads.from_messages(list(records)))


def test_declared_columns_come_in_the_order_of_the_fields_with_their_types() -> None:
    parsed = parse(b"a,1,2.5,true", b'"b,""c""\nd", 2.0 ,1e3,FALSE', b",,,")
    assert parsed.frame.rows() == [(2.5, "a", 1, True), (1000.0, 'b,"c"\nd', 2, False), (None,) * 4]
    assert parsed.row.tolist() == [0, 1, 2] and parsed.index is None and parsed.rejects == []


def test_too_few_fields_are_rejected_and_extra_ones_only_if_they_are_not_empty() -> None:
    parsed = parse(b"a,1,2", b'"a",1', b"a,1,2,1,,", b"a,1,2,1,,z", b'"a",1,2,0,"z"', b"a")
    assert [(one.row, one.reason, one.detail) for one in parsed.rejects] == [
        (0, "too_few_fields", "expected 4, got 3"),
        (1, "too_few_fields", "expected 4, got 2"),
        (3, "too_many_fields", "expected 4, got 6"),
        (4, "too_many_fields", "expected 4, got 5"),
        (5, "too_few_fields", "expected 4, got 1"),
    ]
    assert parsed.frame.rows() == [(2.0, "a", 1, True)]


@pytest.mark.parametrize(
    ("record", "detail"),
    [
        (b"a,1.5,,", "field n: expected long, got '1.5'"),
        (b"a,1_0,,", "field n: expected long, got '1_0'"),
        (b"a,9223372036854775808,,", "field n: expected long, got '9223372036854775808'"),
        (b"a,,nan,", "field x: expected double, got 'nan'"),
        (b"a,,1e400,", "field x: expected double, got '1e400'"),
        (b"a,,,yes", "field ok: expected bool, got 'yes'"),
    ],
)
def test_a_field_that_cannot_be_read_as_its_type_is_rejected(record: bytes, detail: str) -> None:
    parsed = parse(b"a,1,1,1", record, b'"b",2,2,0')
    assert [(one.row, one.reason, one.detail) for one in parsed.rejects] == [(1, "wrong_type", detail)]
    assert parsed.frame["id"].to_list() == ["a", "b"]


def test_records_that_are_no_csv_are_rejected_without_touching_their_neighbours() -> None:
    parsed = parse(
        b'"open,1,1,1', b"a,1,1,1", b'"a"x,1,1,1', b"\xff,1,1,1", None, b"a,1,1,1\nb,1,1,1", b"a\nb,1,1,1"
    )
    assert [(one.row, one.reason) for one in parsed.rejects] == [
        (0, "malformed_csv"),
        (2, "malformed_csv"),
        (3, "malformed_csv"),
        (4, "empty_payload"),
        (5, "malformed_csv"),
        (6, "malformed_csv"),
    ]
    assert parsed.row.tolist() == [1]


def test_null_values_are_compared_exactly_and_may_leave_the_empty_text_a_text() -> None:
    parsed = parse(b"NA,NA,NA,NA", b",1,1,1", b"na,1,1,1", null_values=("NA",))
    assert parsed.frame.rows() == [(None,) * 4, (1.0, "", 1, True), (1.0, "na", 1, True)]


def test_delimiter_and_quote_can_be_chosen() -> None:
    assert parse(b"'a\tb'\t1\t2\t0", delimiter="\t", quote="'").frame.rows() == [(2.0, "a\tb", 1, False)]


def test_messages_are_split_into_lines_only_where_csv_splits_them() -> None:
    message = b'two,1,2,"1"\r\n'
    texts = [
        message.replace(b"two", f"a{character}b".encode()) for character in "\u2028\u2029\x85\x0b\x0c\x1c\x1e"
    ]
    assert parse(*texts).frame["id"].to_list() == [
        next(csv.reader(io.StringIO(text.decode(), newline="")))[0] for text in texts
    ]
    assert parse(b"\x0c,1,2,1", b'20" x,1,2,1', b'"in\rside",1,2,1').frame["id"].to_list() == [
        "\x0c", '20" x', "in\rside",
    ]  # fmt: skip


def test_without_a_quote_nothing_is_quoted() -> None:
    assert parse(b'"a,1,2,1', b'b"",1,2,1', '"é",1,2,1'.encode(), quote=None).frame["id"].to_list() == [
        '"a', 'b""', '"é"',
    ]  # fmt: skip
    spec = CsvFormat(quote=None)
    assert read_header(io.BytesIO(b'a,"b'), spec).names == ("a", '"b')
    parser = make_parser(spec.with_columns(["a", "b"]), {"a": ("a", "string")})
    assert not parser.parse(Payloads.from_messages([b'"x,1'])).rejects


def test_a_header_line_gives_the_columns() -> None:
    spec = CsvFormat(delimiter=";")
    assert spec.has_header
    header = read_header(io.BytesIO(b'\xef\xbb\xbfid; n;"x;y"\n1;2;3\n'), spec)
    assert header.columns(None) == ("id", "n", "x;y") and (header.size, header.lines) == (15, 1)


@pytest.mark.parametrize(
    "text",
    [
        b'"ts","user id"\r\n"a","b"\r\n', b'"ts","user\nid"\na,b\n', b"\n\nts,user id\na,b\n", b"ts\na\n",
        b'\r\n  \r\n"a ""b""",,c\n1,2,3\n', b"a\xc3\xa9\xe2\x80\xa8x,b\n", b"a,b", b'20" screen,b\n',
        b"# exported 2024\nts,user id\n",
    ],
)  # fmt: skip
@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_the_header_is_the_first_record_that_the_csv_module_reads(bom: bytes, text: bytes) -> None:
    rows = csv.reader(io.StringIO(text.decode(), newline=""))
    expected = next([name.strip() for name in row] for row in rows if any(name.strip() for name in row))
    header = read_header(io.BytesIO(bom + text), CsvFormat())
    assert header.names == tuple(expected)
    rest = csv.reader(io.StringIO((bom + text)[header.size :].decode(), newline=""))
    assert list(rest) == list(rows)


def test_names_that_are_empty_or_not_alone_are_told_apart_by_their_number() -> None:
    header = read_header(io.BytesIO(b"id,value,value,\n"), CsvFormat())
    assert header.columns(None) == ("id", "value (column 2)", "value (column 3)", "(column 4)")
    assert header.columns(("a", "b", "c")) == ("a", "b", "c")
    for given in (("a", "b"), tuple("abcde")):
        with pytest.raises(
            ValueError, match=rf"columns: expected 4 names, as the header has; got {len(given)}"
        ):
            header.columns(given)


def test_fields_must_be_columns_and_columns_must_be_known() -> None:
    with pytest.raises(ValueError, match="field x: expected a column of id, n; got 'x'"):
        make_parser(CsvFormat(columns=("id", "n")), FIELDS)
    with pytest.raises(ValueError, match="expected columns"):
        make_parser(CsvFormat(), FIELDS)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("json", "json"),
        ("ndjson", "ndjson"),
        ({"type": "json"}, "json"),
        ("csv", CsvFormat()),
        ({"type": "csv", "columns": ["a"], "delimiter": "\t"}, CsvFormat(columns=("a",), delimiter="\t")),
        ({"type": "csv", "quote": None}, CsvFormat(quote=None)),
    ],
)
def test_formats_are_read_from_names_and_mappings(given: Any, expected: Any) -> None:
    assert Source(format=given).format == expected
    assert Source.model_validate_json(Source(format=given).model_dump_json()).format == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("xml", "expected json, ndjson, csv or {type: csv"),
        ({"csv": {}}, "expected json, ndjson, csv or {type: csv"),
        ({"type": "json", "columns": []}, "json takes no options, got 'columns'"),
        ({"type": "csv", "colums": ["a"]}, "colums"),
        ({"type": "csv", "header": False}, "expected a list of names, since header is false"),
        ({"type": "csv", "delimiter": ",,"}, "expected one ASCII character"),
        ({"type": "csv", "delimiter": '"'}, "expected two different characters"),
        ({"type": "csv", "quote": ""}, "expected one ASCII character"),
        (5, "format"),
    ],
)
def test_formats_that_mean_nothing_are_refused_with_what_is_allowed(given: Any, message: str) -> None:
    with pytest.raises(ValidationError) as caught:
        Source(format=given)
    assert message in str(caught.value)


def test_the_format_key_has_a_json_schema() -> None:
    assert "ndjson" in str(Source.model_json_schema())
