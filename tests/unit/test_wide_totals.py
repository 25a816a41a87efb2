"""Totals beyond 64 bits, made of values that each fit: against Python's integers, through every step."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import numpy as np
import polars as pl
import pytest
from engine import Engine
from rule_inputs import Running, plan, result, rule
from rule_job import RuleJob, features_of
from rule_job import plan as feature_plan

from flink_job.commands.results_table import result_tables
from operators.alerts.told import read_told, written_value
from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.metrics.items import weighted_items
from operators.metrics.kind import Before
from operators.metrics.top_pairs import TopPairs
from operators.metrics.trending import Trending
from sketches.count_min import CountMin
from sketches.top_k import TopK

ETHER = 10**18
TOP = {"name": "top", "kind": "top_k", "of": "u", "weight": "w"}
FREQUENCY = {"name": "fr", "kind": "frequency", "of": "u", "weight": "w", "ask": ["x", "y"]}
SUM = {"name": "s", "kind": "sum", "of": "w", "by": ["u"]}
WEI = [("x", ETHER)] * 20 + [("y", ETHER)] * 3
WEIGHTS = [("y", 2**62), ("x", 2**62)] * 4 + [("x", -1)]


def engine_of(*metrics: dict[str, Any], with_sketch: bool = False) -> Engine:
    event = {"fields": {"t": "long", "u": "string", "w": "long"}, "time": {"field": "t", "unit": "ms"}}
    windows = [{"tumbling": "1h"}]
    return Engine(
        {"name": "p", "event": event, "metrics": [{"windows": windows, **metric} for metric in metrics]},
        with_sketch=with_sketch,
    )


def answers(
    events: list[tuple[str, int]], size: int, *metrics: dict[str, Any], with_sketch: bool = False
) -> dict[str, list[dict[str, Any]]]:
    """The results of each metric where events come in batches of this size."""
    engine = engine_of(*metrics, with_sketch=with_sketch)
    sent = [{"t": number, "u": item, "w": weight} for number, (item, weight) in enumerate(events)]
    for start in range(0, len(sent), size):
        engine.send(*sent[start : start + size])
    engine.end()
    assert len(engine.rejects) == sum(weight < 0 for _, weight in events)
    names = [metric["name"] for metric in metrics]
    return {name: [result for result in engine.results if result["metric"] == name] for name in names}


@pytest.mark.parametrize("size", [1, 2, 7, 100])
@pytest.mark.parametrize(
    ("events", "x", "y"),
    [(WEI, 20_000_000_000_000_000_000, 3 * ETHER), (WEIGHTS, 18446744073709551616, 18446744073709551616)],
    ids=["wei", "weights"],
)
def test_weights_add_up_beyond_64_bits_within_a_batch_and_over_batches(events, x, y, size) -> None:
    found = answers(events, size, TOP, FREQUENCY, SUM, {"name": "st", "kind": "stats", "of": "w"})
    (top,), (frequency,), (stats,) = found["top"], found["fr"], found["st"]
    exact = [{"item": item, "count": n, "lower": n, "upper": n} for item, n in (("x", x), ("y", y))]
    assert top["items"] == exact and top["confidence"] == 1.0
    assert [(e["item"], e["count"], e["upper"]) for e in frequency["items"]] == [("x", x, x), ("y", y, y)]
    for entry in frequency["items"]:
        margin = (x + y) * 5 // 1000
        assert entry["lower"] == entry["count"] - margin and frequency["confidence"] == 0.99
    assert {r["key"]["u"]: r["value"] for r in found["s"]} == {"x": x, "y": y}
    events_in = [weight for _, weight in events if weight >= 0]
    assert stats["stats"]["mean"] == (x + y) / len(events_in) and stats["stats"]["count"] == len(events_in)


def test_a_total_that_the_image_of_others_has_no_room_for_leaves_it_out_and_count_min_keeps_its_own() -> None:
    for events, fits in ((WEI, False), (WEI[:2], True)):
        found = answers(events, 5, TOP, FREQUENCY, with_sketch=True)
        assert ("sketch" in found["top"][0]) == fits
        image = b64decode(found["fr"][0]["sketch"])
        assert CountMin.deserialize(image).total_weight == sum(weight for _, weight in events)


def test_sums_below_64_bits_and_their_ratio_do_not_wrap_around() -> None:
    lowest, greatest = -(2**63), 2**63 - 1
    share = {"kind": "sum", "of": "w", "where": "u = 'x'"}
    ratio = {"name": "r", "kind": "ratio", "numerator": share, "denominator": {"kind": "sum", "of": "w"}}
    events = [("x", lowest)] * 3 + [("y", greatest)]
    engine = engine_of(SUM | {"by": []}, ratio)
    for number, (item, weight) in enumerate(events):
        engine.send({"t": number, "u": item, "w": weight})
    found = {result["metric"]: result for result in engine.end()}
    exact = 3 * lowest + greatest
    assert found["s"]["value"] == found["s"]["lower"] == exact < -(2**64)
    assert found["r"]["value"] == found["r"]["upper"] == 3 * lowest / exact


def test_pairs_and_trends_of_sketches_that_are_nearly_full_go_on_beyond_63_bits() -> None:
    def image(item: str) -> bytes:
        return TopK.image_of([item], np.array([2**63 - 1]), 12)

    trending = Trending(kind="trending", of="u").build({"u": "string"})
    window = trending.merge([image("x"), image("x"), image("y")])
    before = Before(trending.merge([image("y"), image("y"), image("x")]), 60_000, 60_000)
    told = trending.answer_against(window, 3, before)
    assert [entry["count"] for entry in told["items"]] == [2 * (2**63 - 1), 2**63 - 1]
    assert [entry["item"] for entry in told["rising"]] == ["x"]
    first = told["items"][0]
    assert first["before"]["value"] == float(2**63 - 1) and first["score"]["value"] > 1e9
    columns = {"u": "string", "o": "string"}
    pairs = TopPairs(kind="top_pairs", of="u", within="o", lg_max_map_size=12).build(columns)
    part = pairs.partial([]) + image('["a","b"]')
    merged = pairs.merge([part, part, part])
    assert pairs.answer(merged, 3)["items"][0]["count"] == 3 * (2**63 - 1) and pairs.sketch(merged) is None


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ("value > 9223372036854775807", True),
        ("value >= 1e19", True),
        ("value > 2e19", False),
        ("value = 20000000000000000000.0", True),
        ("value < 9223372036854775807", False),
        ("value % 7 = 6", True),
        ("value in (1, 2)", False),
        ("value / events > 1e19", True),
        ("value * 1.0 > 1e19 and lower is not null", True),
        ("coalesce(value, 0) > events", True),
        ("value + 1 is null", True),
    ],
)
def test_rules_see_a_total_beyond_64_bits_as_it_is(when: str, holds: bool) -> None:
    total = 20 * ETHER
    assert total % 7 == 6
    spending = {"name": "visits", "kind": "sum", "of": "n", "by": ["user"], "windows": [{"tumbling": "1m"}]}
    running = Running(plan(spending), [rule(when=when, text="{user} spent {value}")])
    # Results of all sizes are looked at together.
    alerts = running.send_together(result(1, total), result(1, None, user="b"), result(2, 3, user="c"))
    found = [alert for alert in alerts if alert["key"] == {"user": "a"}]
    assert len(found) == holds
    for alert in found:
        assert alert["values"]["value"] == total and alert["text"] == "a spent 20000000000000000000"


def test_rules_compare_totals_beyond_64_bits_with_windows_before() -> None:
    spending = {"name": "visits", "kind": "sum", "of": "n", "by": ["user"], "windows": [{"tumbling": "1m"}]}
    running = Running(plan(spending), [rule(when="value > 2 * mean_before", before=3)])
    assert running.send(result(1, 2**64), result(2, 2**64)) == []
    (alert,) = running.send(result(3, 2**66))
    assert alert["values"] == {"value": 2**66, "mean_before": 2.0**64}
    told = read_told(json.dumps(alert))
    assert told.values == alert["values"] and written_value(told.values["value"]) == str(2**66)


def test_rules_see_items_of_a_weight_beyond_64_bits() -> None:
    top = TOP | {"name": "visits", "of": "user", "weight": "n", "windows": [{"tumbling": "1m"}]}
    running = Running(plan(top), [rule(when="count > 9223372036854775807 and upper = count")])
    items = [{"item": item, "count": n, "lower": n, "upper": n} for item, n in (("a", 2**64), ("b", 5))]
    (alert,) = running.send(result(1, None, user=None, items=items))
    assert alert["key"] == {"item": "a"} and alert["values"] == {"count": 2**64, "upper": 2**64}


def test_features_of_longs_near_their_limit_add_up_to_the_nearest_double() -> None:
    columns = {"spent": {"kind": "sum", "of": "n", "within": "1m"}, "off": {"kind": "deviations", "of": "n"}}
    job = RuleJob(feature_plan(columns, {"name": "much", "when": "spent > 9223372036854775807"}))
    sent = [{"card": "a", "n": 2**63 - 1, "t": t} for t in (1, 1, 2, 3)]
    found = features_of(job.send(*sent))
    assert [own["spent"] for own in found] == [float(n * (2**63 - 1)) for n in (2, 3, 4)]


def test_tables_show_all_digits() -> None:
    items = [{"item": "x", "count": 2**64, "lower": 2**64, "upper": 2**64}]
    one = result(1, None, items=items, metric="top") | {"kind": "top_k"}
    (table,) = result_tables([one])
    assert [str(cell) for cell in table.columns[3].cells] == ["x  18,446,744,073,709,551,616"]


@pytest.mark.parametrize(
    ("weights", "dtype"), [([1, 2**61, 7], np.int64), ([1, 2**62, 2**63 - 1], object), ([], np.int64)]
)
def test_weights_are_added_up_in_int64_while_the_batch_fits(weights: list[int], dtype: type) -> None:
    frame = pl.DataFrame({"u": ["x"] * len(weights), "w": weights}, schema={"u": pl.String, "w": pl.Int64})
    batch = EventBatch(frame, np.zeros(len(weights), np.int64))
    _, _, _, totals = weighted_items(batch, Groups(1, None, None, len(weights)), "u", "w")
    assert totals.dtype == dtype and totals.tolist() == [sum(weights)] * bool(weights)
