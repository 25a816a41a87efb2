from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from pydantic import ValidationError

from operators.events.event import EventSpec

FIELDS = {
    "user_id": "string",
    "value": "double",
    "quantity": "long",
    "ok": "bool",
    "ts": "long",
    "url": "string",
}


def section(**keys: Any) -> dict[str, Any]:
    """A valid section with some keys changed."""
    return {"fields": FIELDS, "time": {"field": "ts", "unit": "ms"}, **keys}


def test_what_is_left_out_takes_its_default() -> None:
    spec = EventSpec.model_validate(section())
    assert (spec.out_of_orderness, spec.idle_timeout, spec.on_idle) == (5_000, 30_000, "wait")
    assert (spec.min_time, spec.max_future) == (0, 3_600_000)
    assert (spec.require, spec.checks, spec.derive) == ((), (), {})


def test_a_field_is_a_type_or_a_path_and_a_type() -> None:
    spec = EventSpec.model_validate(
        section(fields={"ts": "long", "city": {"path": "geo.city", "type": "string"}})
    )
    assert [(field.path, field.type) for field in spec.fields.values()] == [
        ("ts", "long"),
        ("geo.city", "string"),
    ]


def test_columns_are_fields_and_then_derived_ones_with_their_types() -> None:
    derive = {
        "amount": {"expr": "value * quantity"},
        "big": {"expr": "amount > 100 and ok"},
        "product": {"from": "url", "extract": r"^/product/(\d+)"},
        "slug": {"from": "product", "extract": r"\d"},
        "tags": {"from": "url", "extract": r"#(\w+)", "all": True},
        "tagged": {"expr": "tags is not null"},
    }
    spec = EventSpec.model_validate(section(derive=derive, require=["product"], checks=["amount > 0"]))
    made = {
        "amount": "double",
        "big": "bool",
        "product": "string",
        "slug": "string",
        "tags": "list",
        "tagged": "bool",
    }
    assert list(spec.column_types().items()) == [*FIELDS.items(), *made.items()]


def test_a_section_that_was_written_out_is_read_as_the_same() -> None:
    keys = section(
        derive={"tags": {"from": "url", "extract": "#(a)", "all": True}, "n": {"expr": "quantity + 1"}},
        max_future="off",
        min_time="2010-12-01T08:26:00.5Z",
        idle_timeout="90s",
        checks=["value >= 0"],
    )
    spec = EventSpec.model_validate(keys)
    assert EventSpec.model_validate(spec.model_dump()) == spec
    assert EventSpec.model_validate_json(spec.model_dump_json()) == spec
    assert spec.model_dump()["min_time"] == "2010-12-01T08:26:00.500Z"


@pytest.mark.parametrize(
    ("given", "time_ms"),
    [
        ("1970-01-01", 0),
        (dt.date(1970, 1, 2), 86_400_000),
        (dt.datetime(1970, 1, 1, 1), 3_600_000),
        ("1970-01-01T01:00:00+01:00", 0),
        ("1969-12-31T23:59:59Z", -1_000),
        (dt.datetime(1970, 1, 1, 1, tzinfo=dt.timezone.utc), 3_600_000),
        ("off", None),
        (False, None),
    ],
)
def test_min_time_is_a_date_or_off_also_as_yaml_reads_them(given: object, time_ms: int | None) -> None:
    assert EventSpec.model_validate(section(min_time=given)).min_time == time_ms


@pytest.mark.parametrize("given", [False, "off"])
def test_max_future_can_be_off(given: object) -> None:
    assert EventSpec.model_validate(section(max_future=given)).max_future is None


@pytest.mark.parametrize(
    "time",
    [
        {"field": "ts", "unit": "s"},
        {"field": "value", "unit": "us"},
        {"field": "url", "unit": "s"},
        {"field": "url", "unit": "iso8601", "zone": "Europe/London"},
        {"field": "url", "unit": "%d/%m/%Y %H:%M", "zone": "UTC"},
        {"field": "url", "unit": "%Y-%m-%dT%H:%M:%S%z"},
        {"field": "user_id", "unit": "%Y-%m-%d"},
        {"kafka_timestamp": True},
    ],
)
def test_each_way_of_event_time_is_accepted(time: dict[str, Any]) -> None:
    EventSpec.model_validate(section(time=time))


def test_time_may_be_a_derived_column() -> None:
    derive = {"when": {"from": "url", "extract": r"t=(\d+)"}}
    EventSpec.model_validate(section(derive=derive, time={"field": "when", "unit": "s"}))


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"fields": {}}, "fields"),
        ({"fields": {"ts": "int"}}, "'string', 'long', 'double' or 'bool'"),
        ({"fields": {"ts": "long", "a b": "long"}}, r"fields.a b: expected a name of letters, digits and _"),
        ({"fields": {"ts": "long", "1a": "long"}}, r"fields.1a: expected a name"),
        (
            {"time": {"field": "when", "unit": "ms"}},
            "time.field: expected one of user_id, value, .*, got 'when'",
        ),
        (
            {"time": {"field": "ok", "unit": "ms"}},
            "time.field: expected a column of type long or double or string",
        ),
        (
            {"time": {"field": "ts", "unit": "iso8601"}},
            "time.field: expected a column of type string for unit iso8601",
        ),
        ({"time": {"field": "ts", "unit": "%Y"}}, "unit: a date written with it cannot be read back"),
        ({"time": {"field": "url", "unit": "%H:%M"}}, "unit: a date written with it cannot be read back"),
        ({"time": {"field": "url", "unit": "%Q"}}, "unit: a date written with it cannot be read back"),
        ({"time": {"field": "url", "unit": "%Y-%m-%d %Z"}}, "%Z cannot be read"),
        (
            {"time": {"field": "ts", "unit": "min"}},
            "unit: expected s, ms, us, iso8601 or a strptime pattern, got 'min'",
        ),
        ({"time": {"field": "ts"}}, "expected {field: ..., unit: ...} or {kafka_timestamp: true}"),
        ({"time": {}}, "expected {field: ..., unit: ...} or {kafka_timestamp: true}"),
        ({"time": {"kafka_timestamp": True, "zone": "UTC"}}, "expected {field: ..., unit: ...}"),
        ({"time": {"kafka_timestamp": False}}, "kafka_timestamp"),
        (
            {"time": {"field": "ts", "unit": "ms", "zone": "UTC"}},
            "zone: expected with unit iso8601 or a strptime",
        ),
        (
            {"time": {"field": "url", "unit": "iso8601", "zone": "Europe/Londn"}},
            "zone: expected an IANA zone",
        ),
        (
            {"time": {"field": "url", "unit": "%Y-%m-%d %H:%M:%S%z", "zone": "UTC"}},
            "zone: expected no zone with a pattern",
        ),
        ({"derive": {"ts": {"expr": "value"}}}, "derive.ts: expected a name that no field has"),
        ({"derive": {"n": {"expr": "m + 1"}, "m": {"expr": "value"}}}, "derive.n.expr: unknown column 'm'"),
        ({"derive": {"n": {"expr": "value +"}}}, "derive.n.expr: expected a column"),
        ({"derive": {"n": {"expr": "1 + 1"}}}, "derive.n.expr: expected an expression over columns"),
        ({"derive": {"n": {"from": "nope", "extract": "a"}}}, "derive.n.from: expected one of"),
        (
            {"derive": {"n": {"from": "value", "extract": "a"}}},
            "derive.n.from: expected a column of type string",
        ),
        ({"derive": {"n": {"from": "url", "extract": "(a"}}}, "extract: expected a regular expression"),
        ({"derive": {"n": {"from": "url", "extract": "(?=a)b"}}}, "look-around"),
        (
            {"derive": {"n": {"from": "url", "extract": "(a)(b)"}}},
            "extract: expected one group or none, got 2",
        ),
        ({"derive": {"n": {"from": "url"}}}, "expected {expr: ...} or {from: ..., extract: ..."),
        (
            {"derive": {"n": {"expr": "value", "from": "url"}}},
            "expected {expr: ...} or {from: ..., extract: ...",
        ),
        (
            {"derive": {"n": {"expr": "value", "all": True}}},
            "expected {expr: ...} or {from: ..., extract: ...",
        ),
        ({"derive": {"n": {}}}, "expected {expr: ...} or {from: ..., extract: ..."),
        ({"require": ["user"]}, r"require: expected one of .*, got 'user' .did you mean user_id"),
        ({"checks": ["value"]}, r"checks\[0\]: expected an expression of type bool, got double"),
        ({"checks": ["ok", "valu > 0"]}, r"checks\[1\]: unknown column 'valu', did you mean value"),
        ({"checks": ["1 = 1"]}, r"checks\[0\]: expected an expression over columns"),
        ({"out_of_orderness": 5}, "out_of_orderness[^$]*expected a duration such as 500ms"),
        ({"idle_timeout": "0s"}, "idle_timeout[^$]*expected a duration above 0"),
        ({"on_idle": "stop"}, "'wait' or 'advance'"),
        ({"min_time": "yesterday"}, "min_time[^$]*expected a date such as 1970-01-01, a date-time, or off"),
        ({"min_time": 0}, "min_time[^$]*expected a date"),
        ({"max_future": 0}, "max_future[^$]*expected a duration such as 1h, or off"),
        ({"max_past": "1h"}, "max_past"),
    ],
)
def test_a_wrong_section_names_the_key_and_what_is_allowed(keys: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message.replace("{", r"\{").replace("...", r"\.\.\.")):
        EventSpec.model_validate(section(**keys))


def test_the_schema_allows_what_is_accepted() -> None:
    schema = EventSpec.model_json_schema(by_alias=True)
    assert schema["$defs"]["FieldSpec"]["anyOf"][0]["enum"] == ["string", "long", "double", "bool"]
    assert "from" in schema["$defs"]["DeriveSpec"]["properties"]
    assert schema["properties"]["out_of_orderness"]["default"] == "5s"
