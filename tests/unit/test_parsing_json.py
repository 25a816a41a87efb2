"""JSON and ndjson: strict types, rejects with their reasons, the same on both paths."""

from __future__ import annotations

import json
import random
from typing import Any

import polars as pl
import pytest

from operators.parsing import Parsed, make_parser
from operators.parsing.json_parser import JsonParser
from operators.parsing.json_template import learn_template
from operators.parsing.payloads import Payloads
from operators.parsing.strict_json import plan_leaves

FIELDS = {
    "user": ("user_id", "string"),
    "n": ("n", "long"),
    "value": ("value", "double"),
    "ok": ("ok", "bool"),
    "city": ("geo.city", "string"),
}
GOOD = b'{"user_id":"u1","n":1,"value":2.5,"ok":true,"geo":{"city":"Bern"}}'


def parse(*payloads: bytes | None, kind: str = "json") -> Parsed:
    return make_parser(kind, FIELDS).parse(Payloads.from_messages(list(payloads)))


def one_reject(payload: bytes | None) -> tuple[str, str]:
    """The reject of a payload between good ones, alone and in a batch that is large enough for arrays."""
    found = set()
    for around in (1, 1000):
        parsed = parse(*[GOOD] * around, payload, *[GOOD] * around)
        assert parsed.row.tolist() == [i for i in range(2 * around + 1) if i != around]
        (reject,) = parsed.rejects
        assert (reject.row, reject.index) == (around, None)
        found.add((reject.reason, reject.detail))
    (answer,) = found
    return answer


def test_the_frame_has_the_declared_fields_in_their_order_and_types() -> None:
    frame = parse(GOOD).frame
    assert frame.schema == {
        "user": pl.String,
        "n": pl.Int64,
        "value": pl.Float64,
        "ok": pl.Boolean,
        "city": pl.String,
    }
    assert frame.rows() == [("u1", 1, 2.5, True, "Bern")]
    assert parse().frame.schema == frame.schema


@pytest.mark.parametrize(
    ("payload", "detail"),
    [
        (b'{"value":"2.5"}', "field value: expected double, got string"),
        (b'{"value":true}', "field value: expected double, got bool"),
        (b'{"value":1e400}', "field value: expected double, got a number out of range"),
        (b'{"n":1.5}', "field n: expected long, got a number with a fraction or out of range"),
        (
            b'{"n":9223372036854775808}',
            "field n: expected long, got a number with a fraction or out of range",
        ),
        (b'{"n":[1]}', "field n: expected long, got array"),
        (b'{"ok":1}', "field ok: expected bool, got number"),
        (b'{"user_id":5}', "field user: expected string, got number"),
        (b'{"user_id":{"a":1}}', "field user: expected string, got object"),
        (b'{"geo":"Bern"}', "field city: expected an object at geo, got string"),
    ],
)
def test_a_value_of_another_type_is_rejected_with_both_types_named(payload: bytes, detail: str) -> None:
    assert one_reject(payload) == ("wrong_type", detail)


@pytest.mark.parametrize(
    ("payload", "cause"),
    [
        (GOOD[:-1], "truncated"),
        (GOOD + GOOD, "trailing characters"),
        (b"[1]", "expected an object, got array"),
        (b'"text"', "expected an object, got string"),
        (b"null", "expected an object, got null"),
        (b'{"value":NaN}', "invalid character"),
        (b'{"value":01}', "invalid number"),
        (b'{"other":"a\tb"}', "invalid character"),
        (b'{"other":"\\ud800"}', ""),
        (b'{"other":"\xff"}', "invalid UTF-8 (byte 10)"),
        (b'{"other":"\xed\xa0\x80"}', "invalid UTF-8"),
        (b"\xef\xbb\xbf{}", "invalid character"),
        (b'{"other":' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ],
)
def test_what_is_not_one_json_object_is_rejected_with_a_short_cause(payload: bytes, cause: str) -> None:
    reason, detail = one_reject(payload)
    assert reason == "malformed_json"
    assert cause in detail and len(detail) < 100


def test_tombstones_and_blank_payloads_are_rejected_as_empty() -> None:
    assert one_reject(None) == ("empty_payload", "expected an event, the payload is null (a tombstone)")
    assert one_reject(b" \r\n") == ("empty_payload", "expected an event, the payload is blank")
    assert one_reject(b"")[0] == "empty_payload"


def test_an_integral_number_is_a_long_however_it_is_written() -> None:
    parsed = parse(b'{"n":5.0}', b'{"n":1e3}', b'{"n":9007199254740993.0}', b'{"n":-9223372036854775808}')
    assert parsed.frame["n"].to_list() == [5, 1000, 9007199254740993, -(2**63)]


def test_absent_and_null_are_null_and_undeclared_fields_are_passed_over() -> None:
    parsed = parse(
        b"{}", b'{"user_id":null,"geo":null,"x":[{"user_id":1}]}', b'{"geo":{"city":null,"n":"x"}}'
    )
    assert parsed.frame.rows() == [(None,) * 5] * 3


def test_the_last_of_equal_keys_wins_even_over_one_of_another_type() -> None:
    parsed = parse(b'{"user_id":1,"user_id":"b"}', b'{"geo":{"city":"x"},"geo":{}}', b'{"n":1,"n":"x"}')
    assert parsed.frame.select("user", "city").rows() == [("b", None), (None, None)]
    assert [one.row for one in parsed.rejects] == [2]


def test_a_pretty_printed_event_is_one_event() -> None:
    event = {"user_id": 'é "quoted" \n 😀', "geo": {"city": ""}}
    parsed = parse(*[json.dumps(event, indent=2).encode()] * 1200)
    assert parsed.frame.select("user", "city").rows() == [(event["user_id"], "")] * 1200


def test_ndjson_rejects_one_line_and_keeps_the_others_of_its_message() -> None:
    parsed = parse(GOOD + b"\n\n{bad\r\n" + GOOD + b"\r\n", None, b"\n", GOOD, kind="ndjson")
    assert parsed.row.tolist() == [0, 0, 3]
    assert parsed.index.tolist() == [0, 2, 0]
    assert [(one.reason, one.row, one.index) for one in parsed.rejects] == [
        ("malformed_json", 0, 1),
        ("empty_payload", 1, None),
        ("empty_payload", 2, None),
    ]


def mixed_events(count: int) -> list[dict[str, Any]]:
    chance = random.Random(5)
    events = []
    for i in range(count):
        event: dict[str, Any] = {
            "user_id": "u" * chance.randrange(90),
            "n": chance.randrange(-(2**63), 2**63) >> chance.randrange(64),
            "value": chance.choice([chance.random(), round(chance.random() * 100, 2), -1e-7, 5, None]),
            "ok": chance.choice([True, False, None]),
            "geo": {"city": chance.choice(["Zürich", "", "東京", None, 'a"b'])},
        }
        if i % 3 == 0:
            event = dict(reversed(event.items()))
        if i % 7 == 0:
            del event["n"]
        events.append(event)
    return events


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_large_batches_of_mixed_layouts_read_every_value_exactly(separators: tuple[str, str]) -> None:
    events = mixed_events(30_000)
    lines = [json.dumps(event, separators=separators, ensure_ascii=False).encode() for event in events]
    parser = make_parser("json", FIELDS)
    for _ in range(2):
        parsed = parser.parse(Payloads.from_messages(lines))
        assert parsed.frame.rows() == [
            (event["user_id"], event.get("n"), event["value"], event["ok"], event["geo"]["city"])
            for event in events
        ]


def test_lines_of_a_file_read_like_messages_whatever_ends_them() -> None:
    lines = [b'{"user_id":"u%d","n":%d}' % (i, i) for i in range(5000)]
    expected = parse(*lines).frame
    for end in (b"\n", b"\r\n", b"\n\n"):
        parsed = make_parser("json", FIELDS).parse(Payloads.from_lines(end.join(lines)))
        assert parsed.frame.equals(expected)


def test_a_buffer_without_margins_reads_the_same() -> None:
    built = Payloads.from_lines(b"\n".join([GOOD] * 2000))
    first = int(built.starts[0])
    bare = Payloads(built.data[first : int(built.ends[-1])], built.starts - first, built.ends - first)
    assert (
        make_parser("json", FIELDS).parse(bare).frame.equals(make_parser("json", FIELDS).parse(built).frame)
    )


def test_lines_of_one_layout_never_reach_the_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    parser = JsonParser(FIELDS, many=False)
    decoded = []
    decode = parser._strict.decode
    monkeypatch.setattr(parser._strict, "decode", lambda raw: (decoded.append(raw), decode(raw))[1])
    lines = [
        b'{"user_id":"%d","n":%d,"value":%d.5,"x":[1,{"y":"z"}],"ok":true}' % (i, i, i) for i in range(3000)
    ]
    assert len(parser.parse(Payloads.from_messages(lines)).frame) == 3000
    assert len(decoded) == 1  # the line that the layout was learned from


def test_a_value_in_the_place_of_a_null_object_is_rejected_among_lines_of_that_layout() -> None:
    parsed = parse(*[b'{"n":1,"geo":null}'] * 2000, b'{"n":1,"geo":5}', *[b'{"n":1,"geo":null}'] * 2000)
    assert [(one.row, one.reason) for one in parsed.rejects] == [(2000, "wrong_type")]


def test_a_line_with_a_key_twice_is_no_template() -> None:
    leaves, _ = plan_leaves(FIELDS)
    assert learn_template(b'{"n":1,"n":2}', leaves) is None
    assert learn_template(b'{"n":1,"a":{"n":2}}', leaves) is not None


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "expected at least one field"),
        ({"a": ("a", "text")}, "field a: expected one of string, long, double, bool, got 'text'"),
        ({"a": ("a..b", "long")}, "field a: expected a path"),
        (
            {"a": ("x", "long"), "b": ("x", "double")},
            "fields a and b: expected one type for x, got long and double",
        ),
        ({"a": ("x", "long"), "b": ("x.y", "long")}, "x cannot be both a value and an object"),
    ],
)
def test_fields_that_cannot_be_read_are_refused(fields: dict[str, tuple[str, str]], message: str) -> None:
    with pytest.raises(ValueError, match=message.replace("(", r"\(")):
        make_parser("json", fields)


def test_two_fields_may_read_one_path() -> None:
    fields = {"a": ("x", "long"), "b": ("x", "long")}
    parsed = make_parser("json", fields).parse(Payloads.from_messages([b'{"x":1}']))
    assert parsed.frame.rows() == [(1, 1)]
