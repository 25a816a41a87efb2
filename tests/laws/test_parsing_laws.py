"""Laws of parsing: the array path equals the strict path, and both equal Python's own json module."""

from __future__ import annotations

import csv
import io
import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from operators.parsing import CsvFormat, make_parser
from operators.parsing.json_parser import JsonParser
from operators.parsing.payloads import Payloads

FIELDS = {
    "user": ("user", "string"),
    "n": ("n", "long"),
    "value": ("value", "double"),
    "ok": ("ok", "bool"),
    "city": ("geo.city", "string"),
    "lat": ("geo.at.lat", "double"),
}
MISSING = object()
NEVER = 10**9


def oracle(payload: bytes) -> list[Any] | str:
    """Reads one event with the standard library: the values of FIELDS, or the reason of a reject."""
    try:
        text = payload.decode()
        if not text.strip(" \t\r\n\x0b\x0c"):
            return "empty_payload"
        document = json.loads(text, parse_float=Number, parse_int=Number, parse_constant=refuse_constant)
        json.dumps(strings_of(document), ensure_ascii=False).encode()
    except ValueError:
        return "malformed_json"
    if not isinstance(document, dict):
        return "malformed_json"
    values = []
    for path, kind in FIELDS.values():
        value = document
        for key in path.split("."):
            if value is None or value is MISSING:
                value = MISSING
            elif isinstance(value, dict):
                value = value.get(key, MISSING)
            else:
                return "wrong_type"
        try:
            values.append(None if value is MISSING or value is None else typed(value, kind))
        except TypeError:
            return "wrong_type"
    return values


class Number(str):
    """The text of a number."""


def refuse_constant(text: str) -> None:
    raise ValueError("not JSON")


def strings_of(document: Any) -> Any:
    if isinstance(document, dict):
        return [[key, strings_of(value)] for key, value in document.items()]
    if isinstance(document, list):
        return [strings_of(value) for value in document]
    return document if isinstance(document, str) else None


def typed(value: Any, kind: str) -> Any:
    number = isinstance(value, Number)
    if kind == "string" and isinstance(value, str) and not number:
        return str(value)
    if kind == "bool" and isinstance(value, bool):
        return value
    if kind == "double" and number and math.isfinite(float(value)):
        return float(value)
    if kind == "long" and number:
        exact = Fraction(value)
        if exact.denominator == 1 and -(2**63) <= exact < 2**63:
            return int(exact)
    raise TypeError(kind)


def check(payloads: list[bytes]) -> None:
    """Compares the array path, the strict path and the oracle on one batch, values bit by bit."""
    expected = [oracle(payload) for payload in payloads]
    accepted = [row for row, values in enumerate(expected) if isinstance(values, list)]
    for fewest in (1, NEVER):
        parser = JsonParser(FIELDS, many=False, fewest_to_scan=fewest)
        for _ in range(2):  # the second time with the templates that the first has learned
            parsed = parser.parse(Payloads.from_messages(payloads))
            assert parsed.row.tolist() == accepted
            assert {(one.row, one.reason) for one in parsed.rejects} == {
                (row, reason) for row, reason in enumerate(expected) if isinstance(reason, str)
            }
            for got, row in zip(parsed.frame.iter_rows(), accepted, strict=True):
                assert list(map(bits, got)) == list(map(bits, expected[row])), payloads[row]


def bits(value: Any) -> Any:
    """Tells 0.0 from -0.0 in nothing but its sign; -0 written as an integer has none."""
    return (value, str(value)) if isinstance(value, float) and value != 0 else value


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=80) | st.text(
    'ab"\\/\n é😀{}[]:,', max_size=12
)
longs = (
    st.integers(-(2**64), 2**64)
    | st.integers(-100, 100)
    | st.sampled_from([2**63 - 1, -(2**63), 2**63, 10**18])
)
doubles = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.integers(-(10**20), 10**20)
    | st.decimals(-1000, 1000, places=2, allow_nan=False).map(float)
)
anything = st.none() | st.booleans() | longs | doubles | texts
objects = st.fixed_dictionaries(
    {},
    optional={
        "user": texts | st.none(),
        "n": longs | st.none(),
        "value": doubles | st.none(),
        "ok": st.booleans() | st.none(),
        "geo": st.none()
        | st.fixed_dictionaries({}, optional={"city": texts, "at": st.fixed_dictionaries({"lat": doubles})}),
        "extra": anything | st.lists(anything, max_size=3) | st.dictionaries(texts, anything, max_size=2),
    },
)
styles = st.sampled_from(
    [{}, {"separators": (",", ":")}, {"ensure_ascii": False, "separators": (",", ":")}, {"indent": 1}]
)


@st.composite
def mutated(draw: st.DrawFn, payload: bytes) -> bytes:
    """A payload with up to three bytes changed, inserted, dropped, or its end cut off."""
    changed = bytearray(payload)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, max(len(changed) - 1, 0)))
        way = draw(st.sampled_from(["set", "insert", "drop", "cut"]))
        byte = draw(
            st.sampled_from(b'"\\{}[]:,.-+eE0123456789 tfn\n\r\t\x00\x1f\x7f\x80\xc3\xff')
            | st.integers(0, 255)
        )
        if way == "set" and changed:
            changed[at] = byte
        elif way == "insert":
            changed.insert(at, byte)
        elif way == "drop" and changed:
            del changed[at]
        elif way == "cut":
            del changed[at:]
    return bytes(changed)


@given(st.data(), styles)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_batch_of_events_reads_as_the_standard_library_reads_it(
    data: st.DataObject, style: dict[str, Any]
) -> None:
    events = data.draw(st.lists(objects, min_size=1, max_size=12))
    check([json.dumps(event, **style).encode() for event in events])


LINE = (
    '{"user":"user_%s","n":%s,"value":%s,"ok":%s,"x":[1,"x",{"y":null}],"geo":{"city":"%s","at":{"lat":%s}}}'
)


@given(st.data())
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
def test_lines_of_one_layout_with_flipped_bytes_read_the_same_on_both_paths(data: st.DataObject) -> None:
    word = st.text("abcz09 é😀:,{}", max_size=20)
    number = st.decimals(-(10**9), 10**9, allow_nan=False, allow_infinity=False).map(str)
    whole = st.integers(-(2**63), 2**63 - 1).map(str)
    lines = []
    for _ in range(data.draw(st.integers(2, 12))):
        parts = (
            word,
            whole,
            number | st.just("null"),
            st.sampled_from(["true", "false", "null"]),
            word,
            number,
        )
        line = (LINE % tuple(data.draw(part) for part in parts)).encode()
        lines.append(data.draw(mutated(line)))
    check(lines)


NUMBERS = st.from_regex(r"-?[0-9]{0,26}(\.[0-9]{0,26})?([eE][+-]?[0-9]{1,3})?", fullmatch=True)


@given(st.lists(NUMBERS, min_size=1, max_size=30), st.sampled_from(["value", "n", "extra"]))
@example(
    ["9007199254740993", "9007199254740993.0", "0.1", "00", "-0", "-0.0", "1.", ".5", "-", "1e5", "1E400"],
    "value",
)
@example(
    ["9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809", "5.0"], "n"
)
@settings(max_examples=200, deadline=None)
def test_every_spelling_of_a_number_reads_as_the_standard_library_reads_it(
    numbers: list[str], key: str
) -> None:
    check(
        [b'{"%s":1}' % key.encode(), *(b'{"%s":%s}' % (key.encode(), number.encode()) for number in numbers)]
    )


def test_every_byte_at_every_place_of_a_line_reads_the_same_on_both_paths() -> None:
    line = '{"user":"aé","n":123456789,"value":-1.25,"ok":true,"x":12,"geo":null}'.encode()
    changed = [line[:at] + bytes([byte]) + line[at + 1 :] for at in range(len(line)) for byte in range(256)]
    check([line, *changed])


@given(st.lists(st.lists(objects, max_size=4), max_size=6), st.sampled_from(["\n", "\r\n", "\n\n", "\n \n"]))
@settings(max_examples=60, deadline=None)
def test_ndjson_is_json_line_by_line(messages: list[list[dict[str, Any]]], end: str) -> None:
    payloads = [end.join(map(json.dumps, events)).encode() for events in messages]
    many = JsonParser(FIELDS, many=True, fewest_to_scan=1).parse(Payloads.from_messages(payloads))
    lines = [json.dumps(event).encode() for events in messages for event in events]
    single = JsonParser(FIELDS, many=False, fewest_to_scan=NEVER).parse(Payloads.from_messages(lines))
    owners = [(row, i) for row, events in enumerate(messages) for i in range(len(events))]
    assert many.frame.equals(single.frame)
    assert list(zip(many.row.tolist(), many.index.tolist(), strict=True)) == [
        owners[i] for i in single.row.tolist()
    ]
    bad = [(one.row, one.index, one.reason) for one in many.rejects if one.reason != "empty_payload"]
    assert bad == [(*owners[one.row], one.reason) for one in single.rejects]


@given(st.lists(st.none() | st.binary(max_size=20), max_size=20))
def test_messages_come_back_as_they_went_in(messages: list[bytes | None]) -> None:
    payloads = Payloads.from_messages(messages)
    assert [payloads.payload(i) for i in range(len(payloads))] == messages


@given(st.text('ab\n\r";', max_size=60))
def test_lines_are_those_of_a_plain_scan(text: str) -> None:
    lines = [(i, line.removesuffix("\r")) for i, line in enumerate(text.split("\n"))]
    payloads = Payloads.from_lines(text.encode())
    got = [(int(payloads.lines[i]), payloads.payload(i).decode()) for i in range(len(payloads))]
    assert got == [(i, line) for i, line in lines if line]


@given(
    st.lists(
        st.tuples(
            st.text('ab,"\n é', max_size=8),
            st.integers(-(2**63), 2**63 - 1),
            st.floats(allow_nan=False, allow_infinity=False),
        ),
        max_size=20,
    )
)
@settings(max_examples=80, deadline=None)
def test_csv_reads_what_the_csv_module_wrote(rows: list[tuple[str, int, float]]) -> None:
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(rows)
    payloads = Payloads.from_lines(out.getvalue().encode(), CsvFormat())
    fields = {"text": ("text", "string"), "n": ("n", "long"), "x": ("x", "double")}
    parsed = make_parser(CsvFormat(columns=("text", "n", "x")), fields).parse(payloads)
    assert not parsed.rejects
    assert parsed.frame.rows() == [(text or None, n, x) for text, n, x in rows]
    assert np.array_equal(parsed.row, np.arange(len(rows)))
