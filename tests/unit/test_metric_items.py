"""distinct, top_k and frequency through the whole path, against exact counts."""

from __future__ import annotations

import random
from base64 import b64decode
from collections import Counter
from typing import Any

import pytest
from datasketches import frequent_strings_sketch, hll_sketch, kll_doubles_sketch
from engine import Engine
from pydantic import ValidationError

from sketches.count_min import CountMin

FIELDS = {
    "k": "string",
    "t": "long",
    "n": "long",
    "v": "double",
    "flag": "bool",
    "s": "string",
    "text": "string",
}
DERIVE = {"tags": {"from": "text", "extract": r"#(\w+)", "all": True}}


def engine_of(metric: dict[str, Any], with_sketch: bool = False) -> Engine:
    plan = {
        "name": "items",
        "event": {"fields": FIELDS, "derive": DERIVE, "time": {"field": "t", "unit": "ms"}},
        "metrics": [{"name": "m", "windows": [{"tumbling": "1s"}], **metric}],
    }
    return Engine(plan, with_sketch=with_sketch)


def answers(
    metric: dict[str, Any], *batches: list[dict[str, Any]], with_sketch: bool = False
) -> list[dict[str, Any]]:
    engine = engine_of(metric, with_sketch)
    for batch in batches:
        engine.send(*({"t": 0, **event} for event in batch))
    assert engine.rejects == []
    return engine.end()


def answer(
    metric: dict[str, Any], *batches: list[dict[str, Any]], with_sketch: bool = False
) -> dict[str, Any]:
    (result,) = answers(metric, *batches, with_sketch=with_sketch)
    return result


def of(name: str, values: list[Any]) -> list[dict[str, Any]]:
    return [{} if value is None else {name: value} for value in values]


def skewed(count: int, items: int, seed: int = 1) -> list[str]:
    chosen = random.Random(seed)
    return [f"item_{int(items * chosen.random() ** 4)}" for _ in range(count)]


@pytest.mark.parametrize("true", [1, 10, 1000, 30_000])
def test_distinct_holds_the_truth_within_its_bounds(true) -> None:
    values = [f"u{n}" for n in range(true)] * 2
    result = answer({"kind": "distinct", "of": "s"}, of("s", values[: true + 7]), of("s", values[true + 7 :]))
    assert (
        result["lower"] <= true <= result["upper"] and result["lower"] <= result["value"] <= result["upper"]
    )
    assert result["value"] == pytest.approx(true, rel=0.03)
    assert (result["confidence"], result["events"]) == (0.95, 2 * true)


@pytest.mark.parametrize(
    ("name", "values", "count"),
    [
        ("s", ["", "a", "ü", "a", None], 3),
        ("n", [0, -1, 2**63 - 1, 0], 3),
        ("v", [0.0, -0.0, 1.5], 2),
        ("flag", [True, False, True], 2),
        ("text", ["#a #b", "#b", "none", None], 3),
        ("s", [None, None], 0),
    ],
)
def test_distinct_takes_columns_of_every_type(name, values, count) -> None:
    result = answer({"kind": "distinct", "of": name}, of(name, values[:2]), of(name, values[2:]))
    assert round(result["value"], 3) == count and result["events"] == len(values)


def test_distinct_of_hashtags_counts_each_value_of_an_event() -> None:
    batches = of("text", ["#a #b #c", "#c no", None]), of("text", ["nothing", "#d#a"])
    result = answer({"kind": "distinct", "of": "tags"}, *batches)
    assert (round(result["value"], 3), result["events"]) == (4, 5)


def test_top_items_are_counted_exactly_while_they_fit_with_ties_by_item() -> None:
    batches = of("s", ["b", "a", "c", "a", None]), of("s", ["d", "b", "", "b"])
    result = answer({"kind": "top_k", "of": "s", "k": 4}, *batches)
    assert result["items"] == [
        {"item": item, "count": count, "lower": count, "upper": count}
        for item, count in [("b", 3), ("a", 2), ("", 1), ("c", 1)]
    ]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("n", [10, 9, 10], [(10, 2), (9, 1)]),
        ("v", [0.5, 1e22, 0.5], [(0.5, 2), (1e22, 1)]),
        ("flag", [True, False, True], [(True, 2), (False, 1)]),
        ("s", [None], []),
    ],
)
def test_top_items_keep_their_json_types(name, values, expected) -> None:
    result = answer({"kind": "top_k", "of": name}, of(name, values))
    found = [(entry["item"], entry["count"]) for entry in result["items"]]
    assert found == expected and [type(item) for item, _ in found] == [type(item) for item, _ in expected]


def test_top_items_of_a_long_tail_hold_the_truth_within_their_bounds() -> None:
    values = skewed(30_000, 20_000)
    exact = Counter(values)
    options = {"kind": "top_k", "of": "s", "k": 10, "lg_max_map_size": 8}
    result = answer(options, of("s", values[:9000]), of("s", values[9000:]))
    assert len(exact) > 3 * 2**8 and any(entry["lower"] < entry["upper"] for entry in result["items"])
    for entry in result["items"]:
        assert entry["lower"] <= exact[entry["item"]] <= entry["upper"]
    assert result["items"][0]["item"] == exact.most_common(1)[0][0]


def test_trending_hashtags_count_each_of_an_event() -> None:
    texts = ["#sun #sea", "#sea", "no tag", None, "#sea #sea #ü"]
    result = answer({"kind": "top_k", "of": "tags", "k": 3}, of("text", texts))
    assert [(e["item"], e["count"]) for e in result["items"]] == [("sea", 4), ("sun", 1), ("ü", 1)]
    assert result["events"] == 5


def test_weights_add_up_and_a_null_weight_is_none() -> None:
    events = [{"s": "a", "n": 5}, {"s": "b", "n": 7}, {"s": "a", "n": 2**40}, {"s": "b"}, {"n": 9}]
    result = answer({"kind": "top_k", "of": "s", "weight": "n"}, events[:2], events[2:])
    assert [(e["item"], e["count"]) for e in result["items"]] == [("a", 2**40 + 5), ("b", 7)]
    options = {"kind": "frequency", "of": "s", "weight": "n", "ask": ["b", "a"]}
    assert [e["count"] for e in answer(options, events)["items"]] == [7, 2**40 + 5]


def test_hashtags_have_the_weight_of_their_event() -> None:
    events = [{"text": "#a #b", "n": 5}, {"text": "#b", "n": 2}, {"text": "-", "n": 100}]
    result = answer({"kind": "top_k", "of": "tags", "weight": "n"}, events)
    assert [(e["item"], e["count"]) for e in result["items"]] == [("b", 7), ("a", 5)]


@pytest.mark.parametrize("kind", [{"kind": "top_k"}, {"kind": "frequency", "ask": ["a"]}])
def test_a_negative_weight_is_a_reject_where_the_metric_counts_it(kind) -> None:
    engine = engine_of({**kind, "of": "s", "weight": "n", "where": "flag"})
    engine.send(
        {"t": 0, "s": "a", "n": -1, "flag": True},
        {"t": 0, "s": "a", "n": -1, "flag": False},
        {"t": 0, "s": "a", "n": 3, "flag": True},
    )
    (reject,) = engine.rejects
    assert (reject["reason"], reject["offset"]) == ("failed_check", 0)
    (result,) = engine.end()
    assert (result["items"][0]["count"], result["events"]) == (3, 1)


def test_frequencies_are_never_too_low_and_seldom_too_high() -> None:
    values = skewed(20_000, 5000)
    exact = Counter(values)
    asked = [item for item, _ in exact.most_common(50)] + [f"absent{n}" for n in range(50)]
    options = {"kind": "frequency", "of": "s", "ask": asked, "epsilon": 0.005, "delta": 0.01}
    result = answer(options, of("s", values[:5000]), of("s", values[5000:]))
    assert [entry["item"] for entry in result["items"]] == asked
    too_high = 0
    for entry in result["items"]:
        true = exact[entry["item"]]
        assert entry["count"] == entry["upper"] >= true
        too_high += entry["lower"] > true
        assert entry["lower"] == max(0, entry["count"] - 100)
    assert too_high <= 2
    assert result["confidence"] == 0.99


@pytest.mark.parametrize(
    ("name", "ask", "values", "counts"),
    [
        ("n", [10, -1, 7], [10, 10, -1], [2, 1, 0]),
        ("v", [0.5, 2], [0.5, 2.0, 2.0], [1, 2]),
        ("flag", [True, False], [True, True], [2, 0]),
        ("s", ["", "ü"], ["", "ü", "ü", None], [1, 2]),
        ("s", ["a"], [None, None], [0]),
    ],
)
def test_frequency_asks_for_items_of_every_type(name, ask, values, counts) -> None:
    result = answer({"kind": "frequency", "of": name, "ask": ask}, of(name, values[:2]), of(name, values[2:]))
    assert [entry["count"] for entry in result["items"]] == counts
    assert result["events"] == len(values)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "frequency", "of": "n", "ask": ["10"]}, "ask: '10' is not a long, but column 'n' is"),
        ({"kind": "frequency", "of": "n", "ask": [True]}, "ask: True is not a long"),
        ({"kind": "frequency", "of": "s", "ask": [1]}, "ask: 1 is not a string"),
        ({"kind": "frequency", "of": "s", "ask": []}, "at least 1"),
        ({"kind": "top_k", "of": "s", "weight": "v"}, "weight: top_k takes long, but column 'v' is double"),
        ({"kind": "top_k", "of": "s", "k": 0}, "greater than or equal to 1"),
        ({"kind": "distinct", "of": "w"}, "metrics.m.of: there is no column 'w'"),
        ({"kind": "distinct", "of": "s", "lg_k": 3}, "greater than or equal to 4"),
    ],
)
def test_wrong_options_are_refused(options, message) -> None:
    with pytest.raises(ValidationError, match=message):
        engine_of(options)


def test_sketches_come_along_where_they_are_asked_for_in_the_format_that_others_read() -> None:
    batch = of("s", ["a", "ü", "a"])
    images = {
        kind: b64decode(answer({"kind": kind, "of": "s", **more}, batch, with_sketch=True)["sketch"])
        for kind, more in (("distinct", {}), ("top_k", {}), ("frequency", {"ask": ["a"]}))
    }
    assert round(hll_sketch.deserialize(images["distinct"]).get_estimate()) == 2
    assert frequent_strings_sketch.deserialize(images["top_k"]).get_estimate("ü") == 1
    assert CountMin.deserialize(images["frequency"]).total_weight == 3
    assert "sketch" not in answer({"kind": "count"}, batch, with_sketch=True)
    assert "sketch" not in answer({"kind": "distinct", "of": "s"}, batch)


def test_the_quantiles_sketch_is_one_that_others_read() -> None:
    batch = [{**event, "v": float(n)} for n, event in enumerate(of("s", ["a"] * 100))]
    image = b64decode(answer({"kind": "quantiles", "of": "v"}, batch, with_sketch=True)["sketch"])
    sketch = kll_doubles_sketch.deserialize(image)
    assert (sketch.n, sketch.get_min_value(), sketch.get_max_value()) == (100, 0.0, 99.0)
