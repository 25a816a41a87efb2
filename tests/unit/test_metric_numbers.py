"""count, sum, stats, last and quantiles through the whole path, against statistics, fractions and polars."""

from __future__ import annotations

import base64
import math
import random
import statistics
from fractions import Fraction
from typing import Any

import polars as pl
import pytest
from datasketches import kll_doubles_sketch
from engine import Engine
from pydantic import ValidationError

FIELDS = {"k": "string", "t": "long", "n": "long", "v": "double", "flag": "bool", "s": "string"}


def answers(
    metric: dict[str, Any], *batches: list[dict[str, Any]], with_sketch: bool = False
) -> list[dict[str, Any]]:
    """Return the results of one metric over one tumbling window of a second; sessions are left out."""
    plan = {
        "name": "numbers",
        "event": {"fields": FIELDS, "time": {"field": "t", "unit": "ms"}},
        "metrics": [{"name": "m", "windows": [{"tumbling": "1s"}], **metric}],
    }
    engine = Engine(plan, with_sketch=with_sketch)
    for batch in batches:
        engine.send(*({"t": 0, **event} for event in batch))
    assert engine.rejects == []
    return engine.end()


def answer(metric: dict[str, Any], *batches: list[dict[str, Any]]) -> dict[str, Any]:
    (result,) = answers(metric, *batches)
    return result


def of(name: str, values: list[Any]) -> list[dict[str, Any]]:
    return [{} if value is None else {name: value} for value in values]


def cut(events: list[dict[str, Any]], pieces: int, seed: int) -> list[list[dict[str, Any]]]:
    """Return the events in another order, in so many batches."""
    shuffled = random.Random(seed).sample(events, len(events))
    return [shuffled[piece::pieces] for piece in range(pieces)]


DOUBLES = [random.Random(3).uniform(-1, 1) * 10 ** random.Random(n).randint(-12, 17) for n in range(200)]
LONGS = [2**53 + 1, 2**53 + 3, 2**62, -(2**63), 2**63 - 1, 5, 5, 2**61]


def test_count_counts_every_event_nulls_too() -> None:
    result = answer({"kind": "count"}, of("v", [1.5, None, 2.0]), of("v", [None]))
    assert (result["value"], result["lower"], result["upper"], result["events"]) == (4, 4, 4, 4)


@pytest.mark.parametrize("seed", range(5))
def test_a_sum_of_doubles_is_the_nearest_double_in_every_order(seed) -> None:
    result = answer({"kind": "sum", "of": "v"}, *cut(of("v", DOUBLES), 1 + seed, seed))
    assert result["value"] == result["lower"] == result["upper"] == math.fsum(DOUBLES)


@pytest.mark.parametrize("seed", range(3))
def test_a_sum_of_longs_is_a_whole_number_beyond_two_to_the_53(seed) -> None:
    result = answer({"kind": "sum", "of": "n"}, *cut(of("n", LONGS), 1 + seed, seed))
    assert result["value"] == sum(LONGS) and isinstance(result["value"], int)


def test_a_sum_of_nothing_is_zero() -> None:
    result = answer({"kind": "sum", "of": "v"}, of("v", [None, None]))
    assert (result["value"], result["events"]) == (0, 2)
    assert answer({"kind": "sum", "of": "n"}, of("n", [None]))["value"] == 0


@pytest.mark.parametrize(
    ("name", "values"), [("v", DOUBLES), ("n", LONGS), ("v", [1e8 + 0.1, 1e8 + 0.2, 1e8 + 0.4])]
)
@pytest.mark.parametrize("seed", range(3))
def test_stats_are_those_of_fractions_in_every_order(name, values, seed) -> None:
    result = answer({"kind": "stats", "of": name}, *cut(of(name, values), 1 + seed, seed))
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum((value - mean) ** 2 for value in exact) / len(exact)
    assert result["stats"] == {
        "count": len(values),
        "min": min(values),
        "max": max(values),
        "mean": float(mean),
        "stddev": pytest.approx(math.sqrt(variance), rel=1e-15),
    }


def test_stats_agree_with_statistics_and_polars() -> None:
    values = [random.Random(1).gauss(20, 3) for _ in range(2)] + [
        random.Random(n).gauss(20, 3) for n in range(500)
    ]
    stats = answer({"kind": "stats", "of": "v"}, of("v", values))["stats"]
    series = pl.Series(values)
    assert stats["stddev"] == pytest.approx(statistics.pstdev(values), rel=1e-12)
    assert stats["stddev"] == pytest.approx(series.std(ddof=0), rel=1e-9)
    assert (stats["mean"], stats["min"], stats["max"]) == (
        pytest.approx(series.mean(), rel=1e-12),
        series.min(),
        series.max(),
    )


@pytest.mark.parametrize(
    ("values", "stddev"),
    [([1e200, -1e200], 1e200), ([1.5e308, -1.5e308], 1.5e308), ([1e-200, -1e-200], 1e-200), ([7.0], 0.0)],
)
def test_a_deviation_whose_square_no_double_can_hold_is_told(values, stddev) -> None:
    assert answer({"kind": "stats", "of": "v"}, of("v", values))["stats"]["stddev"] == pytest.approx(
        stddev, rel=1e-15
    )


def test_stats_of_nothing_are_null_but_for_the_count() -> None:
    result = answer({"kind": "stats", "of": "v"}, of("v", [None]), of("v", [None]))
    assert result["stats"] == {"count": 0, "min": None, "max": None, "mean": None, "stddev": None}
    assert result["events"] == 2
    mixed = answer({"kind": "stats", "of": "n"}, of("n", [None]), of("n", [-4]), of("n", [None]))
    assert mixed["stats"] == {"count": 1, "min": -4, "max": -4, "mean": -4.0, "stddev": 0.0}


@pytest.mark.parametrize(
    ("name", "values"),
    [("s", ["b", "a", "ü"]), ("n", [3, 1, 2**60]), ("v", [0.5, -1.0, 7.25]), ("flag", [True, False])],
)
def test_last_is_the_value_of_the_newest_event_time_in_every_order(name, values) -> None:
    events = [{name: value, "t": 10 * number} for number, value in enumerate(values)] + [{"t": 900}]
    for seed in range(4):
        result = answer({"kind": "last", "of": name}, *cut(events, 1 + seed % 3, seed))
        assert result["value"] == values[-1] and type(result["value"]) is type(values[-1])
        assert result["events"] == len(events)


def test_of_several_last_values_at_one_time_the_greatest_counts() -> None:
    events = [{"v": value, "t": time} for value, time in [(9.0, 1), (2.0, 5), (3.0, 5), (2.5, 5)]]
    for seed in range(6):
        assert answer({"kind": "last", "of": "v"}, *cut(events, 1 + seed % 4, seed))["value"] == 3.0


def test_last_of_nothing_is_null_and_times_before_the_epoch_count() -> None:
    result = answer({"kind": "last", "of": "v"}, of("v", [None]), of("v", [None]))
    assert (result["value"], result["lower"], result["upper"], result["events"]) == (None, None, None, 2)
    before = [{"v": 1.0, "t": -10}, {"v": 2.0, "t": -900}, {"t": -1}]
    assert answer({"kind": "last", "of": "v"}, before[:1], before[1:])["value"] == 1.0


def test_quantiles_hold_the_true_ones_within_their_bounds() -> None:
    values = [random.Random(n).lognormvariate(0, 2) for n in range(20_000)]
    at = [0, 0.5, 0.95, 0.99, 1]
    result = answer({"kind": "quantiles", "of": "v", "at": at}, *cut(of("v", values), 5, 1))
    ranked = sorted(values)
    assert list(result["quantiles"]) == ["0", "0.5", "0.95", "0.99", "1"]
    for rank in at:
        found = result["quantiles"][f"{rank:g}"]
        true = ranked[max(0, math.ceil(rank * len(ranked)) - 1)]
        assert found["lower"] <= true <= found["upper"] and found["lower"] <= found["value"] <= found["upper"]
        assert abs(sum(v <= found["value"] for v in ranked) / len(ranked) - rank) <= 0.0133
    assert result["confidence"] == 0.99


BEYOND = [2**53 + 1, -(2**53) - 1, 2**53, 2**62 + 1, 2**63 - 1, -(2**63), 7]


@pytest.mark.parametrize("long", BEYOND)
def test_a_quantile_of_one_long_is_that_long(long: int) -> None:
    result = answer({"kind": "quantiles", "of": "n", "at": [0.5]}, of("n", [long] * 4))
    found = result["quantiles"]["0.5"]
    assert (found["value"], found["lower"], found["upper"]) == (long, long, long)


@pytest.mark.parametrize("count", [1, 7, 300, 5_000])
def test_quantiles_of_longs_beyond_doubles_hold_the_true_ones(count: int) -> None:
    """Smaller ones are batches of their own: sketches of doubles are merged with those of longs."""
    chance = random.Random(count)
    values = [chance.choice((chance.randrange(-(2**63), 2**63), 2**60 + chance.randrange(count), 5))
              for _ in range(count)]  # fmt: skip
    small, large = ([v for v in values if (abs(v) <= 2**53) == which] for which in (True, False))
    at = [0, 0.25, 0.5, 0.9, 1]
    result = answer({"kind": "quantiles", "of": "n", "at": at}, of("n", small), *cut(of("n", large), 3, 1))
    ranked = sorted(values)
    for rank in at:
        found = result["quantiles"][f"{rank:g}"]
        true = ranked[max(0, math.ceil(rank * count) - 1)]
        assert found["lower"] <= true <= found["upper"] and found["lower"] <= found["value"] <= found["upper"]
        if count <= 200 and abs(true) < 2**63 - 2**53:
            assert found["lower"] == found["upper"] == true


def test_the_sketch_of_longs_beyond_doubles_is_one_of_doubles_for_others() -> None:
    """DataSketches itself reads it; doubles of this size are 128 apart."""
    values = [2**60 + n for n in range(1001)]
    (result,) = answers({"kind": "quantiles", "of": "n", "k": 2000}, of("n", values), with_sketch=True)
    theirs = kll_doubles_sketch.deserialize(base64.b64decode(result["sketch"]))
    assert theirs.n == 1001 and abs(theirs.get_quantile(0.5, True) - (2**60 + 500)) <= 128


def test_ranks_that_are_close_have_names_of_their_own() -> None:
    result = answer({"kind": "quantiles", "of": "n", "at": [0.9999999, 0.99999991, 1.0]}, of("n", [1, 2]))
    assert list(result["quantiles"]) == ["0.9999999", "0.99999991", "1"]


def test_quantiles_of_few_values_are_exact_and_of_none_are_null() -> None:
    exact = answer({"kind": "quantiles", "of": "n"}, of("n", list(range(1, 101))))["quantiles"]
    assert exact == {str(q): dict.fromkeys(("value", "lower", "upper"), 100 * q) for q in (0.5, 0.95, 0.99)}
    nothing = answer({"kind": "quantiles", "of": "v", "at": [0.5]}, of("v", [None]), of("v", [None]))
    assert nothing["quantiles"] == {"0.5": {"value": None, "lower": None, "upper": None}}
    assert nothing["events"] == 2


@pytest.mark.parametrize(
    "metric",
    [
        {"kind": "sum", "of": "v"},
        {"kind": "stats", "of": "v"},
        {"kind": "last", "of": "v"},
        {"kind": "quantiles", "of": "v"},
        {"kind": "count"},
    ],
)
def test_groups_with_and_without_values_side_by_side_do_not_disturb_each_other(metric) -> None:
    batch = [{"k": "x", "v": 2.0}, {"k": "y"}, {"k": "x", "v": 4.0}, {}, {"k": "z", "v": 1.0}]
    together = {r["key"]["k"]: r for r in answers({**metric, "by": ["k"]}, batch)}
    assert set(together) == {"x", "y", "z", None}
    for key, result in together.items():
        alone = answer(metric, [event for event in batch if event.get("k") == key])
        shared = alone.keys() - {"id", "key"}
        assert {name: result[name] for name in shared} == {name: alone[name] for name in shared}


@pytest.mark.parametrize("kind", ["sum", "stats", "quantiles"])
def test_a_number_of_text_is_refused(kind) -> None:
    with pytest.raises(ValidationError, match=f"m.of: {kind} takes long or double, but column 's' is string"):
        answers({"kind": kind, "of": "s"})
    with pytest.raises(ValidationError, match=r"m\.of: there is no column 'w'; columns are flag, k, n"):
        answers({"kind": kind, "of": "w"})
