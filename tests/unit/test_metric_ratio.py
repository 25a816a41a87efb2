"""ratio: both operands over the same windows and keys, with bounds from both."""

from __future__ import annotations

import random
from fractions import Fraction
from typing import Any

import pytest
from engine import Engine
from pydantic import ValidationError

FIELDS = {"user": "string", "action": "string", "t": "long", "v": "double", "n": "long"}
BUYERS = {"kind": "distinct", "of": "user", "where": "action = 'buy'"}
VISITORS = {"kind": "distinct", "of": "user"}


def engine_of(numerator: dict[str, Any], denominator: dict[str, Any], **options: Any) -> Engine:
    metric = {"name": "m", "kind": "ratio", "numerator": numerator, "denominator": denominator}
    plan = {
        "name": "ratios",
        "event": {"fields": FIELDS, "time": {"field": "t", "unit": "ms"}},
        "metrics": [metric | {"windows": [{"tumbling": "1s"}]} | options],
    }
    return Engine(plan)


def answers(engine: Engine, *batches: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for batch in batches:
        engine.send(*({"t": 0, **event} for event in batch))
    return engine.end()


def bounds(result: dict[str, Any]) -> tuple:
    return result["value"], result["lower"], result["upper"]


def test_a_conversion_rate_holds_the_truth_within_bounds_of_both_operands() -> None:
    visits = [{"user": f"u{n}", "action": "view"} for n in range(30_000)]
    buys = [{"user": f"u{n}", "action": "buy"} for n in range(0, 30_000, 10)]
    (result,) = answers(engine_of(BUYERS, VISITORS), visits[:9000], buys, visits[9000:])
    assert result["lower"] <= 0.1 <= result["upper"] and result["lower"] < result["value"] < result["upper"]
    assert result["value"] == pytest.approx(0.1, rel=0.05)
    assert (result["confidence"], result["events"]) == (0.95, 33_000)


def test_the_bounds_are_the_operands_own_crosswise() -> None:
    visits = [{"user": f"u{n}", "action": "buy" if n % 3 else "view"} for n in range(20_000)]
    (ratio,) = answers(engine_of(BUYERS, VISITORS), visits)
    operands = []
    for where in ("action = 'buy'", "true"):
        plan = engine_of(BUYERS, VISITORS).plan.model_dump(mode="json", exclude_unset=True, by_alias=True)
        plan["metrics"] = [{"name": "m", "kind": "distinct", "of": "user", "windows": [{"tumbling": "1s"}]}]
        if where != "true":
            plan["metrics"][0]["where"] = where
        operands += answers(Engine(plan), visits)
    top, bottom = operands
    assert bounds(ratio) == (
        top["value"] / bottom["value"],
        top["lower"] / bottom["upper"],
        top["upper"] / bottom["lower"],
    )


def test_exact_operands_give_an_exact_ratio() -> None:
    engine = engine_of({"kind": "sum", "of": "n"}, {"kind": "count", "where": "action = 'buy'"})
    batch = [{"action": "buy", "n": 3}, {"action": "buy"}, {"action": "view", "n": 4}, {}]
    (result,) = answers(engine, batch[:1], batch[1:])
    assert (*bounds(result), result["confidence"], result["events"]) == (3.5, 3.5, 3.5, 1.0, 4)


def test_an_absent_numerator_is_zero() -> None:
    (result,) = answers(engine_of(BUYERS, VISITORS), [{"user": "a", "action": "view"}, {"user": "b"}])
    assert (result["value"], result["lower"]) == (0, 0) and 0 <= result["upper"] < 0.01
    assert result["events"] == 2


@pytest.mark.parametrize(
    "denominator",
    [
        {"kind": "count", "where": "action = 'buy'"},
        {"kind": "sum", "of": "v"},
        {"kind": "distinct", "of": "user"},
    ],
)
def test_a_zero_or_absent_denominator_gives_null(denominator) -> None:
    (result,) = answers(engine_of({"kind": "count"}, denominator), [{"action": "view"}], [{"action": "view"}])
    assert (*bounds(result), result["events"]) == (None, None, None, 2)


def test_negative_sums_keep_the_lower_bound_below_the_upper() -> None:
    engine = engine_of({"kind": "sum", "of": "n"}, {"kind": "distinct", "of": "user"})
    (result,) = answers(engine, [{"user": f"u{n}", "n": -2} for n in range(20_000)])
    assert result["lower"] < result["value"] < result["upper"] < 0
    assert result["lower"] <= -2 <= result["upper"]


def test_each_key_has_its_own_ratio_and_where_holds_for_both_operands() -> None:
    engine = engine_of({"kind": "sum", "of": "n"}, {"kind": "count"}, by=["user"], where="v > 0")
    batch = [
        {"user": "a", "n": 1, "v": 1.0},
        {"user": "a", "n": 2, "v": 1.0},
        {"user": "b", "n": 9, "v": 2.0},
        {"user": "b", "n": 100, "v": -1.0},
        {"n": 7, "v": 1.0},
    ]
    assert {r["key"]["user"]: r["value"] for r in answers(engine, batch)} == {"a": 1.5, "b": 9, None: 7}


@pytest.mark.parametrize(
    ("numerator", "message"),
    [
        ({"kind": "count", "where": "nothing = 1"}, "numerator"),
        ({"kind": "sum", "of": "user"}, "numerator.*sum takes long or double, but column 'user' is string"),
        ({"kind": "top_k", "of": "user"}, "numerator"),
    ],
)
def test_a_wrong_operand_is_refused_by_its_name(numerator, message) -> None:
    with pytest.raises(ValidationError, match=message):
        engine_of(numerator, {"kind": "count"})


HUGE = 1.7e308


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([HUGE, HUGE, HUGE, -1.0], 1.2749999999999999e308),
        ([HUGE, HUGE], HUGE),
        ([-HUGE, -HUGE, -HUGE], -HUGE),
        ([5e-324, 0.0, 0.0], 0.0),
        ([-5e-324, 0.0, 0.0], 0.0),
        ([0.1, 0.2, 0.4], float((Fraction(0.1) + Fraction(0.2) + Fraction(0.4)) / 3)),
    ],
)
def test_a_mean_is_the_double_nearest_to_the_quotient_though_the_sum_is_beyond_doubles(
    values: list[float], expected: float
) -> None:
    mean = engine_of({"kind": "sum", "of": "v"}, {"kind": "count"})
    (result,) = answers(mean, *([{"v": value}] for value in values))
    assert bounds(result) == (expected,) * 3 and str(result["value"]) == str(expected)


def test_sums_beyond_doubles_divide_each_other_and_a_quotient_beyond_doubles_is_null() -> None:
    both = {"kind": "sum", "of": "v"}, {"kind": "sum", "of": "v", "where": "action = 'buy'"}
    (result,) = answers(engine_of(*both), [{"v": HUGE, "action": a} for a in ("buy", "view", "buy", "view")])
    assert bounds(result) == (2.0, 2.0, 2.0)
    small = {"kind": "sum", "of": "v", "where": "v < 1"}
    (result,) = answers(engine_of(both[0], small), [{"v": HUGE}, {"v": 0.5}])
    assert bounds(result) == (None, None, None)


@pytest.mark.parametrize("seed", range(20))
def test_quotients_of_sums_are_those_of_fractions(seed: int) -> None:
    chance = random.Random(seed)
    events = [
        {
            "v": chance.uniform(-1, 1) * 10.0 ** chance.randint(-320, 308),
            "n": chance.randrange(-(2**63), 2**63),
        }
        for _ in range(9)
    ]
    (result,) = answers(engine_of({"kind": "sum", "of": "v"}, {"kind": "sum", "of": "n"}), events)
    exact = sum(Fraction(event["v"]) for event in events) / sum(event["n"] for event in events)
    assert result["value"] == exact.numerator / exact.denominator
