"""Laws of CSV: records are those of a plain scan, whatever the pieces; fields those of csv and DuckDB."""

from __future__ import annotations

import csv
import io
import re

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from operators.parsing import CsvFormat, Parsed, csv_quotes, make_parser
from operators.parsing.payloads import Payloads
from operators.parsing.whole_records import whole_records

FORMAT = CsvFormat(columns=("a", "b", "c"), null_values=())
FIELDS = {name: (name, "string") for name in "abc"}
LINES = re.compile(r"[^\r\n]*(?:\r\n|\n|\r)|[^\r\n]+")
NEVER = 10**9
SEPARATORS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e"

Record = tuple[int, int, str]
"""Number of its first line, how many lines, its text without the line end."""


def scanned(text: str, delimiter: str = ",", quote: str = '"', longest: int = NEVER) -> list[Record]:
    """Read records one character after another, with the rules that the README states."""
    lines = LINES.findall(text)
    records, first = [], 0
    while first < len(lines):
        rest = "".join(lines[first:])
        count = len(LINES.findall(rest[: max(end_of_record(rest, delimiter, quote, longest), 1)]))
        record = "".join(lines[first : first + count])
        record = record.removesuffix("\r\n") if record.endswith("\r\n") else re.sub("[\r\n]$", "", record)
        if record:
            records.append((first, count, record))
        first += count
    return records


def end_of_record(text: str, delimiter: str, quote: str, longest: int) -> int:
    """Return a position in the last line of the first record."""
    at = 0
    while True:
        if text.startswith(quote, at):
            opened, at = at, at + 1
            while text.startswith(quote * 2, at) or (at < len(text) and text[at] != quote):
                at += 2 if text[at] == quote else 1
            spans = re.search("[\r\n]", text[opened:at]) is not None
            if text[at + 1 : at + 2] not in ("", delimiter, "\r", "\n") or at >= len(text):
                return opened + 1
            if spans and at > longest:
                return opened + 1
            at += 1
        while at < len(text) and text[at] not in (delimiter, "\r", "\n"):
            at += 1
        if at == len(text) or text[at] != delimiter:
            return at
        at += 1


def cut(data: bytes, format_: CsvFormat, piece_bytes: int) -> list[Record]:
    """Read the records of a file in pieces as the source does."""
    records, line = [], 0
    for piece, lines in whole_records(io.BytesIO(data), format_, piece_bytes):
        payloads = Payloads.from_lines(piece, format_)
        for row in range(len(payloads)):
            count = 1 if payloads.line_counts is None else int(payloads.line_counts[row])
            records.append((line + int(payloads.lines[row]), count, payloads.payload(row).decode()))
        line += lines
    return records


def parse(data: bytes, format_: CsvFormat = FORMAT) -> Parsed:
    return make_parser(format_, FIELDS).parse(Payloads.from_lines(data, format_))


PIECES = st.sampled_from([1, 2, 3, 5, 8, 13, 40, 1000])
ANYTHING = st.text('ab,"\n\r', max_size=60) | st.lists(
    st.sampled_from(['"', '""', '","', ",", "\n", "\r\n", "\r", 'x"', '"x', "x", '"a\nb"', '"a""b"']),
    max_size=30,
).map("".join)


@given(ANYTHING, PIECES, st.sampled_from([3, 9, 20, NEVER]))
@example('1,"open\n2,b\n3,c', 4, NEVER)
@example('1,"ok\nok","open\n2,b\n3,"c"\n', 1, NEVER)
@example('"a\n' + "x\n" * 20 + '"\n', 2, 9)
@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
def test_records_of_any_text_are_those_of_a_plain_scan_whatever_the_pieces(
    text: str, piece_bytes: int, longest: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_quotes, "MAX_SPANNING_BYTES", longest)
        assert cut(text.encode(), FORMAT, piece_bytes) == scanned(text, longest=longest)


@given(ANYTHING)
@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
def test_whatever_csv_reads_without_complaint_is_read_as_csv_reads_it(text: str) -> None:
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if row]
    except csv.Error:
        return
    parsed = parse(text.encode())
    assert parsed.frame.rows() == [tuple(row[:3]) for row in rows if len(row) >= 3 and not any(row[3:])]
    assert len(parsed.frame) + len(parsed.rejects) == len(rows)


TEXT = st.text('ab é"\n😀' + SEPARATORS, max_size=8)
PLAIN = st.from_regex(f'[a-z0-9][a-z0-9" {SEPARATORS}]{{0,8}}', fullmatch=True)
"""A field without quotes around it, in which quotes are characters."""


@st.composite
def tables(draw: st.DrawFn) -> tuple[str, list[tuple[str, ...]]]:
    """Draw the text of a table, and its rows: some fields in quotes, others with quotes somewhere in them."""
    written, rows = [], []
    for _ in range(draw(st.integers(1, 12))):
        row = [draw(TEXT | PLAIN) for _ in range(3)]
        plain = [re.fullmatch(f'[a-z0-9][a-z0-9" {SEPARATORS}]*', field) is not None for field in row]
        written.append(
            ",".join(
                field if bare and draw(st.booleans()) else '"' + field.replace('"', '""') + '"'
                for field, bare in zip(row, plain, strict=True)
            )
        )
        rows.append(tuple(row))
    return "\n".join(written) + draw(st.sampled_from(["", "\n"])), rows


@given(tables(), PIECES)
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
def test_tables_with_quotes_newlines_and_separators_of_unicode_are_read_as_csv_and_duckdb_read_them(
    tmp_path_factory: pytest.TempPathFactory, table: tuple[str, list[tuple[str, ...]]], piece_bytes: int
) -> None:
    text, rows = table
    path = tmp_path_factory.getbasetemp() / "table.csv"
    path.write_bytes(text.encode())
    with path.open(newline="", encoding="utf-8") as file:
        assert list(map(tuple, csv.reader(file, strict=True))) == rows
    options = (
        "delim=',', quote='\"', escape='\"', header=false, auto_detect=false, new_line='\\n', nullstr='\x01'"
    )
    columns = "columns={a: 'VARCHAR', b: 'VARCHAR', c: 'VARCHAR'}"
    assert duckdb.sql(f"from read_csv('{path}', {options}, {columns})").fetchall() == rows
    read = [parse(piece) for piece, _ in whole_records(io.BytesIO(text.encode()), FORMAT, piece_bytes)]
    assert [row for parsed in read for row in parsed.frame.rows()] == rows
    assert not any(parsed.rejects for parsed in read)


BROKEN = st.sampled_from(['x,"never closed', '"behind" the quote,x,x', '"x,x,x', 'x,"a""b,x'])


@given(st.lists(st.booleans(), min_size=1, max_size=30), st.data(), PIECES)
@settings(max_examples=80, deadline=None)
def test_no_good_line_is_lost_beside_broken_ones(good: list[bool], data: st.DataObject, piece: int) -> None:
    lines = [f'{n},20" monitor,it""em' if one else data.draw(BROKEN) for n, one in enumerate(good)]
    text = "\n".join(lines).encode()
    accepted, rejected = [], []
    for records, _ in whole_records(io.BytesIO(text), FORMAT, piece):
        parsed = parse(records)
        accepted += parsed.frame["a"].to_list()
        rejected += [reject.reason for reject in parsed.rejects]
    expected = [str(n) for n, one in enumerate(good) if one]
    assert accepted == expected
    assert rejected == ["malformed_csv"] * (len(good) - len(expected))
