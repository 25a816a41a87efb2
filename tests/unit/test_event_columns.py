from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl
import pytest

from operators.events.event import EventSpec
from operators.events.event_columns import EventColumns, Prepared

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
SCHEMA = {"user_id": pl.String, "value": pl.Float64, "quantity": pl.Int64, "text": pl.String, "ts": pl.Int64}
FIELDS = {"user_id": "string", "value": "double", "quantity": "long", "text": "string", "ts": "long"}


def prepare(rows: list[dict[str, Any]], flags: tuple[bool, bool] = (True, True), **keys: Any) -> Prepared:
    """Prepares rows; a row has a good time unless it says otherwise."""
    spec = EventSpec.model_validate({"fields": FIELDS, "time": {"field": "ts", "unit": "ms"}, **keys})
    frame = pl.DataFrame([{"ts": NOW_MS, **row} for row in rows], schema=SCHEMA)
    return EventColumns(spec).prepare(frame, None, NOW_MS, *flags)


def test_a_clean_batch_comes_back_whole() -> None:
    out = prepare([{"user_id": "a"}, {"user_id": "b"}], require=["user_id"])
    assert out.frame["user_id"].to_list() == ["a", "b"]
    assert (out.time_ms.tolist(), out.keep.tolist(), out.rejected) == ([NOW_MS, NOW_MS], [0, 1], [])
    assert (out.time_ms.dtype, out.keep.dtype) == (np.int64, np.int64)


def test_each_reject_has_its_reason_and_the_accepted_keep_their_rows() -> None:
    rows: list[dict[str, Any]] = [
        {"user_id": "a", "value": 1.0},
        {"user_id": None, "value": 1.0},
        {"user_id": "b", "value": -1.0},
        {"user_id": "c", "ts": None},
        {"user_id": "d", "ts": -1},
        {"user_id": "e", "ts": NOW_MS + HOUR_MS + 1},
        {"user_id": "f", "value": None, "ts": NOW_MS + HOUR_MS},
        {"user_id": "g", "ts": 2**62},
        {"user_id": "h", "ts": 0},
    ]
    out = prepare(rows, require=["user_id"], checks=["value >= 0"])
    assert [tuple(refused) for refused in out.rejected] == [
        (1, "missing_field", "user_id"),
        (2, "failed_check", "value >= 0 is false"),
        (3, "bad_time", "ts is null"),
        (4, "too_old", "ts is before 1970-01-01T00:00:00Z"),
        (5, "too_far_in_future", "ts is more than 1h ahead of the wall clock"),
        (7, "bad_time", "ts is no time as ms"),
    ]
    assert out.keep.tolist() == [0, 6, 8]
    assert out.frame["user_id"].to_list() == ["a", "f", "h"]
    assert out.time_ms.tolist() == [NOW_MS, NOW_MS + HOUR_MS, 0]


def test_an_event_has_one_reject_with_the_first_reason() -> None:
    rows = [{"user_id": None, "value": -1.0, "ts": -1}, {"user_id": "a", "value": -1.0, "ts": -1}]
    out = prepare(rows, require=["user_id", "text"], checks=["value >= 0", "quantity > 0"])
    assert [(refused.row, refused.detail) for refused in out.rejected] == [(0, "user_id"), (1, "text")]
    out = prepare(rows, checks=["value >= 0"])
    assert [refused.reason for refused in out.rejected] == ["too_old", "too_old"]
    out = prepare([{"value": -1.0, "quantity": -1}], checks=["value >= 0", "quantity > 0"])
    assert [refused.detail for refused in out.rejected] == ["value >= 0 is false"]


def test_a_check_that_is_null_passes_as_in_sql() -> None:
    assert prepare([{"value": None}], checks=["value >= 0"]).rejected == []
    assert len(prepare([{"value": None}], checks=["value is not null"]).rejected) == 1


def test_a_check_may_be_the_bare_name_of_a_column_and_be_given_twice() -> None:
    checks = ["big", "big", "value + 1 > null"]
    out = prepare([{"value": 1.0}, {"value": 9.0}], derive={"big": {"expr": "value > 5"}}, checks=checks)
    assert [tuple(refused) for refused in out.rejected] == [(0, "failed_check", "big is false")]
    assert out.frame["big"].to_list() == [True]


def test_the_bounds_of_time_can_be_switched_off_in_the_spec_and_by_the_caller() -> None:
    rows = [{"ts": -1}, {"ts": NOW_MS + 2 * HOUR_MS}]
    assert prepare(rows, min_time="off", max_future="off").rejected == []
    assert prepare(rows, flags=(False, False)).rejected == []
    assert [refused.reason for refused in prepare(rows, flags=(False, True)).rejected] == ["too_old"]
    assert [refused.reason for refused in prepare(rows, flags=(True, False)).rejected] == [
        "too_far_in_future"
    ]


def test_a_missing_wall_clock_is_an_error_only_where_it_is_needed() -> None:
    spec = EventSpec.model_validate({"fields": FIELDS, "time": {"field": "ts", "unit": "ms"}})
    frame = pl.DataFrame([{"ts": 0}], schema=SCHEMA)
    with pytest.raises(ValueError, match="expected the wall clock"):
        EventColumns(spec).prepare(frame, None, None, True, True)
    assert EventColumns(spec).prepare(frame, None, None, False, True).time_ms.tolist() == [0]


def test_the_time_of_the_record_is_used_where_asked_for() -> None:
    spec = EventSpec.model_validate({"fields": FIELDS, "time": {"kafka_timestamp": True}})
    frame = pl.DataFrame([{"user_id": "a"}, {"user_id": "b"}], schema=SCHEMA)
    out = EventColumns(spec).prepare(frame, np.array([5, -1]), NOW_MS, True, True)
    assert (out.time_ms.tolist(), out.frame["user_id"].to_list()) == ([5], ["a"])
    assert [tuple(refused) for refused in out.rejected] == [(1, "bad_time", "the record has no timestamp")]
    with pytest.raises(ValueError, match="expected the timestamps of the records"):
        EventColumns(spec).prepare(frame, None, NOW_MS, True, True)


def test_derived_columns_follow_the_fields_and_may_build_on_each_other() -> None:
    derive = {
        "amount": {"expr": "value * quantity"},
        "product": {"from": "text", "extract": r"^/product/(\d+)"},
        "double_amount": {"expr": "amount * 2"},
        "digit": {"from": "product", "extract": r"\d"},
        "both": {"expr": "double_amount + value"},
        "known": {"expr": "digit is not null and double_amount > 0"},
    }
    rows = [
        {"value": 1.5, "quantity": 2, "text": "/product/42?x"},
        {"value": 1.0, "text": "/cart"},
        {"text": None},
    ]
    out = prepare(rows, derive=derive)
    assert out.frame.columns == [*FIELDS, *derive]
    assert out.frame["amount"].to_list() == [3.0, None, None]
    assert out.frame["product"].to_list() == ["42", None, None]
    assert out.frame["double_amount"].to_list() == [6.0, None, None]
    assert out.frame["digit"].to_list() == ["4", None, None]
    assert out.frame["both"].to_list() == [7.5, None, None]
    assert out.frame["known"].to_list() == [True, False, False]


def test_a_required_derived_column_that_is_null_is_a_reject() -> None:
    derive = {"product": {"from": "text", "extract": r"^/product/(\d+)"}}
    out = prepare([{"text": "/cart"}, {"text": "/product/1"}], derive=derive, require=["product"])
    assert [tuple(refused) for refused in out.rejected] == [(0, "missing_field", "product")]


@pytest.mark.parametrize(
    "pattern",
    [
        r"#\w+",  # no group
        r"#(\w+)",  # a plain prefix and a group
        r"#([a-z]+)",
        r"#(\w+)s",  # a group with something behind it
        r"(?:^|\s)#(\w+)",  # looks around itself
        r"#(\w+)\b",
        r"(\w+)\B",
        r"#(\w*)",  # may be empty
        r"a|#(b)",  # may take no part
        r"##?(x|y\w)",
    ],
)
def test_all_matches_are_those_that_python_finds(pattern: str) -> None:
    texts = [
        "#one two #three", "#a#b x#c", "none", "", None, "# #s #ss", "#日本 #é", "##x #yz a #b", "abcd ab",
        "\ufdd0#q",
    ]  # fmt: skip
    out = prepare(
        [{"text": text} for text in texts], derive={"tags": {"from": "text", "extract": pattern, "all": True}}
    )
    truth = [
        None if text is None else [value for value in re.findall(pattern, text) if value] for text in texts
    ]
    assert out.frame["tags"].to_list() == truth
    assert out.frame.schema["tags"] == pl.List(pl.String)


def test_a_batch_without_rows_has_every_column() -> None:
    derive = {"tags": {"from": "text", "extract": "#(a)", "all": True}, "n": {"expr": "quantity + 1"}}
    out = prepare([], derive=derive, checks=["n > 0"], require=["user_id"])
    assert out.frame.schema == {**SCHEMA, "tags": pl.List(pl.String), "n": pl.Int64}
    assert (len(out.time_ms), len(out.keep), out.rejected) == (0, 0, [])


def test_a_batch_of_rejects_only_leaves_no_rows() -> None:
    out = prepare([{"ts": None}] * 3)
    assert (out.frame.height, out.time_ms.tolist(), len(out.rejected)) == (0, [], 3)


def test_a_local_time_that_a_clock_change_skips_is_a_reject() -> None:
    time = {"field": "text", "unit": "iso8601", "zone": "Europe/London"}
    out = prepare([{"text": "2022-03-27 01:30:00"}, {"text": "2022-03-27 02:30:00"}], time=time)
    assert [tuple(refused) for refused in out.rejected] == [
        (0, "bad_time", "text is no time as iso8601 in Europe/London")
    ]
    assert out.time_ms.tolist() == [1_648_344_600_000]
