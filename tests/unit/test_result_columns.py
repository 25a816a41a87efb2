"""What rules on results read of the results of every kind."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from engine import Engine
from rule_inputs import FIELDS

from operators.metrics import all_kinds
from operators.plan import Plan
from operators.rules.alarm import CLEAR, WHEN
from operators.rules.compiled_rule import COLUMNS_BEFORE, compile_rule
from operators.rules.conditions import flags_of
from operators.rules.result_columns import ResultRows, read_result, result_columns, window_of
from operators.rules.rule_spec import Rule

WINDOWS = [{"tumbling": "1m"}]
LONGS, DOUBLES = ("long",) * 3, ("double",) * 3
VALUE, COUNT = ("value", "lower", "upper"), ("count", "lower", "upper")
KINDS: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "count": ({}, dict(zip(VALUE, LONGS, strict=True))),
    "distinct": ({"of": "user"}, dict(zip(VALUE, DOUBLES, strict=True))),
    "sum": ({"of": "n"}, dict(zip(VALUE, LONGS, strict=True))),
    "last": ({"of": "item"}, dict.fromkeys(VALUE, "string")),
    "first_seen": ({"of": "user"}, dict.fromkeys((*VALUE, "new", "returning"), "long")),
    "ratio": (
        {"numerator": {"kind": "count", "where": "ok"}, "denominator": {"kind": "sum", "of": "amount"}},
        dict(zip(VALUE, DOUBLES, strict=True)),
    ),
    "stats": (
        {"of": "n"},
        {"count": "long", "min": "long", "max": "long", "mean": "double", "stddev": "double"},
    ),
    "quantiles": (
        {"of": "amount", "at": [0.5, 0.999, 1]},
        {p + bound: "double" for p in ("p50", "p99_9", "p100") for bound in ("", "_lower", "_upper")},
    ),
    "top_k": ({"of": "item", "weight": "n"}, {"item": "string"} | dict.fromkeys(COUNT, "long")),
    "frequency": ({"of": "n", "ask": [1, 2]}, {"item": "long"} | dict.fromkeys(COUNT, "long")),
    "trending": (
        {"of": "item", "against": "1m", "least": 1},
        {"item": "string", "against_ms": "long"}
        | dict.fromkeys(COUNT, "long")
        | {f + bound: "double" for f in ("before", "score") for bound in ("", "_lower", "_upper")},
    ),
    "top_pairs": (
        {"of": "item", "within": "user", "gap": "10s"},
        {"item": "string"} | dict.fromkeys((*COUNT, "orders", "oversized_orders"), "long"),
    ),
    "funnel": (
        {
            "of": "user",
            "within": "10s",
            "steps": [{"name": "in", "where": "ok"}, {"name": "out", "where": "not ok"}],
        },
        {"step": "string"}
        | dict.fromkeys(("users", "lower", "upper", "stopped", "stopped_lower", "stopped_upper"), "double"),
    ),
}
PYTHON = {"string": str, "long": int, "double": float, "bool": bool}


def plan_of(kind: str, **more: Any) -> dict[str, Any]:
    """A plan with a metric of the kind, by a bool."""
    metric = {"name": "m", "kind": kind, "by": ["ok"], "windows": WINDOWS} | KINDS[kind][0] | more
    return {
        "name": "shop",
        "event": {"fields": FIELDS, "time": {"field": "t", "unit": "ms"}},
        "metrics": [metric],
    }


def test_every_kind_is_here() -> None:
    assert all_kinds().keys() == KINDS.keys()


@pytest.mark.parametrize("kind", KINDS)
def test_the_columns_of_a_kind_are_in_its_results_and_of_their_types(kind: str) -> None:
    plan, chance = plan_of(kind), random.Random(3)
    (metric,) = Plan.model_validate(plan).resolved_metrics()
    types, own = result_columns(metric), KINDS[kind][1]
    common = {"ok": "bool", "events": "long", "window_start_ms": "long", "window_end_ms": "long"}
    before = {} if kind == "last" else COLUMNS_BEFORE
    assert types == common | own | before
    engine = Engine(plan)
    for _ in range(5):
        engine.send(
            *(
                {
                    "user": chance.choice("abc"),
                    "item": chance.choice(["x", "ü", None]),
                    "ok": chance.random() < 0.5,
                    "amount": chance.choice([None, 2.0, 3.5]),
                    "n": chance.choice([1, 2, None]),
                    "t": chance.randrange(180_000),
                }
                for _ in range(50)
            )
        )
    engine.end()
    rows = ResultRows(metric)
    seen = [
        row for r in engine.results for row in rows.rows(json.dumps(r).encode(), read_result(json.dumps(r)))
    ]
    assert len(seen) >= len(engine.results) >= 6
    for row in seen:
        assert row.values.keys() == types.keys() - before.keys()
        assert all(value is None or type(value) is PYTHON[types[name]] for name, value in row.values.items())
    has = {name for row in seen for name, value in row.values.items() if value is not None}
    assert has == types.keys() - before.keys()


def test_the_item_of_a_pair_is_text_and_a_part_of_the_key() -> None:
    plan = plan_of("top_pairs")
    (metric,) = Plan.model_validate(plan).resolved_metrics()
    engine = Engine(plan)
    engine.send(*({"user": "a", "item": item, "ok": True, "t": 1000} for item in "xy"))
    engine.end()
    (result,) = engine.results
    (row,) = ResultRows(metric).rows(json.dumps(result).encode(), read_result(json.dumps(result)))
    assert row.key == {"ok": True, "item": '["x","y"]'} and row.values["count"] == 1 and row.number == 1


def test_items_of_a_multi_valued_column_are_text_and_so_is_a_key_of_it() -> None:
    derive = {"tags": {"from": "item", "extract": r"#(\w+)", "all": True}}
    event = {"fields": FIELDS, "derive": derive, "time": {"field": "t", "unit": "ms"}}
    top = {"name": "m", "kind": "top_k", "of": "tags", "by": ["tags"], "windows": WINDOWS}
    (metric,) = Plan.model_validate({"name": "p", "event": event, "metrics": [top]}).resolved_metrics()
    assert {name: result_columns(metric)[name] for name in ("item", "tags")} == {
        "item": "string",
        "tags": "string",
    }


def test_totals_that_no_long_holds_are_what_they_are() -> None:
    (metric,) = Plan.model_validate(plan_of("sum")).resolved_metrics()
    window = {"type": "tumbling", "start_ms": 0, "end_ms": 60_000, "size_ms": 60_000}
    told = {"id": "x", "key": {"ok": None}, "window": window, "events": 1, "revision": 0, "final": True}
    line = json.dumps(told | {"value": 2**70, "lower": -(2**63), "upper": 2**63}).encode()
    (row,) = ResultRows(metric).rows(line, read_result(line))
    assert [row.values[name] for name in VALUE] == [2**70, -(2**63), 2**63] and row.number == 2.0**70


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"when": "value > 1 and previous > 1"}, "when: .*unknown column 'previous'"),
        ({"when": "value > 1", "metric": "nope"}, "metric: expected one of m, got 'nope'"),
        (
            {"when": "value > value_limit", "parameters": {"value": {"value": 1}}},
            "parameters.value: there is",
        ),
        ({"when": "value > 1", "text": "{nope}"}, "text: there is no column 'nope'"),
        ({"when": "value > 1", "clear": "value"}, "clear: "),
    ],
)
def test_a_rule_that_does_not_fit_the_results_is_refused_by_its_key(options: Any, message: str) -> None:
    (metric,) = Plan.model_validate(plan_of("count")).resolved_metrics()
    rule = Rule.model_validate({"name": "r", "metric": "m"} | options)
    with pytest.raises(ValueError, match=message):
        compile_rule(rule, 1, {}, {"m": result_columns(metric)})


def test_texts_cannot_be_compared_with_windows_before() -> None:
    (metric,) = Plan.model_validate(plan_of("last")).resolved_metrics()
    rule = Rule.model_validate({"name": "r", "metric": "m", "when": "value = 'x'", "before": 3})
    with pytest.raises(ValueError, match="before: results of m have no number"):
        compile_rule(rule, 1, {}, {"m": result_columns(metric)})


def test_a_rule_names_its_window_where_there_are_several() -> None:
    several = [{"tumbling": "1m"}, {"session": "1m"}, {"sliding": "2m", "every": "1m"}]
    (metric,) = Plan.model_validate(plan_of("count", windows=several)).resolved_metrics()
    (single,) = Plan.model_validate(plan_of("count")).resolved_metrics()
    common = {"name": "r", "metric": "m", "when": "value > 1"}
    with pytest.raises(ValueError, match="window: is missing; m has 3 windows"):
        window_of(Rule.model_validate(common), metric)
    found = [window_of(Rule.model_validate(common | {"window": own}), metric) for own in several]
    assert found == [metric.grid.windows[0], metric.sessions[0], metric.grid.windows[1]]
    assert window_of(Rule.model_validate(common), single) == single.grid.windows[0]
    with pytest.raises(ValueError, match="window: m has no such window"):
        window_of(Rule.model_validate(common | {"window": {"session": "2m"}}), metric)


def test_conditions_that_read_nothing_or_are_null_are_told_for_every_row() -> None:
    types = {"events": "long", "value": "double"}
    rules = [
        compile_rule(
            Rule.model_validate({"name": name, "metric": "m", "when": when} | more), 1, {}, {"m": types}
        )
        for name, when, more in (
            ("all", "1 = 1", {}),
            ("some", "value > 1", {}),
            ("own", "value > 1", {"clear": "1 = 1"}),
        )
    ]
    rows = [{"events": 1, "value": value} for value in (2.0, None, 0.5)]
    flags = flags_of(rules, rows, types)
    assert list(flags["all"]) == [WHEN] * 3
    assert list(flags["some"]) == [WHEN, 0, CLEAR]
    assert list(flags["own"]) == [WHEN | CLEAR, CLEAR, CLEAR]
