"""Items of the same order: against pairs counted by hand and by brute force; gaps, restarts, late events."""

from __future__ import annotations

import json
import random
from collections import Counter, defaultdict
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from engine import Engine, latest
from pydantic import ValidationError

from operators.gather.orders import read_items
from operators.metrics.top_pairs import TopPairsAggregator
from operators.plan import Plan
from sketches.errors import BadData
from sketches.top_k import TopK

MINUTE = 60_000
HOUR = 60 * MINUTE


def plan(windows: list[dict[str, str]] | None = None, event: Any = None, **options: Any) -> dict[str, Any]:
    fields = {"item": "string", "n": "long", "x": "double", "order": "string", "shop": "string", "t": "long"}
    metric = {
        "name": "together",
        "kind": "top_pairs",
        "of": "item",
        "within": "order",
        "gap": "10m",
        "windows": windows or [{"tumbling": "1h"}],
    }
    return {
        "name": "shop",
        "event": {
            "fields": fields | {"text": "string"},
            "derive": {"tag": {"from": "text", "extract": r"#(\w+)", "all": True}},
            "time": {"field": "t", "unit": "ms"},
            **(event or {}),
        },
        "metrics": [metric | options],
    }


def bought(order: str | None, item: Any, minute: float, **more: Any) -> dict[str, Any]:
    return {"order": order, "item": item, "t": int(minute * MINUTE), **more}


def pairs(result: dict[str, Any]) -> dict[tuple[Any, ...], int]:
    for item in result["items"]:
        assert item["lower"] == item["count"] == item["upper"]
    return {tuple(item["item"]): item["count"] for item in result["items"]}


def closed(*orders: list[Any] | None) -> list[tuple[str, bytes]]:
    """Outcomes of orders with these items; None where there were too many."""
    return [(str(number), json.dumps(items).encode()) for number, items in enumerate(orders)]


def by_hour(engine: Engine) -> dict[int, dict[str, Any]]:
    return {r["window"]["start_ms"] // HOUR: r for r in latest(engine.results).values()}


def test_two_items_of_an_order_are_a_pair_however_often_they_are_in_it() -> None:
    engine = Engine(plan(), follow=True)
    engine.send(bought("a", "tea", 0), bought("a", "milk", 1), bought("b", "milk", 1))
    engine.send(bought("a", "milk", 5), bought("b", "tea", 2), bought("b", "jam", 3), bought("c", "tea", 4))
    engine.end()
    (result,) = engine.results
    assert result["items"] == [
        {"item": ["milk", "tea"], "count": 2, "lower": 2, "upper": 2},
        {"item": ["jam", "milk"], "count": 1, "lower": 1, "upper": 1},
        {"item": ["jam", "tea"], "count": 1, "lower": 1, "upper": 1},
    ]
    assert (result["orders"], result["oversized_orders"], result["events"]) == (3, 0, 7)
    assert (result["confidence"], result["final"], result["revision"]) == (1.0, True, 0)
    assert not engine.late


def test_an_order_is_over_the_gap_after_its_last_event_and_counts_at_that_event() -> None:
    engine = Engine(plan(), follow=True)
    engine.send(bought("a", "tea", 55))
    engine.send(bought("a", "milk", 65))  # exactly the gap later: still the same order
    engine.send(bought("a", "jam", 75.1))  # more: another one
    engine.end()
    told = {hour: (pairs(r), r["orders"], r["events"]) for hour, r in by_hour(engine).items()}
    assert told == {1: ({("milk", "tea"): 1}, 2, 3)}


def test_events_exactly_the_gap_apart_are_one_order_also_where_the_watermark_is_between_them() -> None:
    engine = Engine(plan(event={"out_of_orderness": "0s"}), follow=True)
    engine.send(bought("a", "tea", 0))
    engine.send(bought("b", "tea", 10))  # the watermark is a millisecond before minute 10
    engine.send(bought("a", "milk", 10))
    engine.end()
    assert pairs(engine.results[0]) == {("milk", "tea"): 1}


def test_windows_are_answered_once_all_orders_that_could_be_in_them_are_over() -> None:
    engine = Engine(plan())
    engine.send(bought("a", "tea", 55), bought("a", "milk", 59))
    assert engine.move_watermark(70 * MINUTE - 2) == []
    (result,) = engine.move_watermark(70 * MINUTE - 1)
    assert (pairs(result), result["window"]["end_ms"], result["final"]) == ({("milk", "tea"): 1}, HOUR, True)
    assert not engine.held()
    waiting = Engine(plan(allowed_lateness="5m"))
    waiting.send(bought("a", "tea", 55), bought("a", "milk", 59))
    assert waiting.move_watermark(75 * MINUTE - 2) == []
    assert len(waiting.move_watermark(75 * MINUTE - 1)) == 1


def test_an_order_may_be_joined_by_what_lies_between_its_parts() -> None:
    engine = Engine(plan(event={"out_of_orderness": "1h"}), follow=True)
    engine.send(bought("a", "tea", 0), bought("a", "milk", 16))
    engine.send(bought("a", "jam", 8))
    engine.end()
    assert pairs(engine.results[0]) == {("jam", "milk"): 1, ("jam", "tea"): 1, ("milk", "tea"): 1}
    assert engine.results[0]["orders"] == 1


def test_an_order_of_too_many_items_makes_no_pairs_but_is_told() -> None:
    engine = Engine(plan(max_items=3), follow=True)
    engine.send(*(bought("large", f"item {n}", n) for n in range(4)))
    engine.send(*(bought("grows", f"item {n % 3}", n) for n in range(6)))
    engine.send(bought("grows", "item 9", 7), bought("grows", "item 0", 8))
    engine.send(*(bought("fits", f"item {n}", 9) for n in range(3)))
    engine.end()
    (result,) = engine.results
    assert (result["orders"], result["oversized_orders"], result["events"]) == (3, 2, 15)
    assert pairs(result) == {("item 0", "item 1"): 1, ("item 0", "item 2"): 1, ("item 1", "item 2"): 1}


def test_an_event_without_order_or_item_counts_as_an_event_only() -> None:
    engine = Engine(plan(), follow=True)
    engine.send(bought(None, "tea", 0), bought(None, "milk", 1), bought("a", None, 2), bought("b", "tea", 3))
    engine.send(bought("b", None, 3), bought(None, "jam", 130))
    engine.end()
    told = {hour: (pairs(r), r["orders"], r["events"]) for hour, r in by_hour(engine).items()}
    assert told == {0: ({}, 1, 5), 2: ({}, 0, 1)}


@pytest.mark.parametrize(
    ("of", "values", "expected"),
    [
        ("n", [10, 9, -3], [[-3, 9], [-3, 10], [9, 10]]),
        ("x", [10.0, 9.5, -0.0, 0.0], [[0.0, 9.5], [0.0, 10.0], [9.5, 10.0]]),
        ("item", ['b"', "é\n", ""], [["", 'b"'], ["", "é\n"], ['b"', "é\n"]]),
    ],
)
def test_items_keep_their_type_and_come_in_its_order(of: str, values: list[Any], expected: list[Any]) -> None:
    engine = Engine(plan(of=of), follow=True)
    for n, value in enumerate(values):
        engine.send({"order": "a", of: value, "t": n})
    engine.end()
    found = [item["item"] for item in engine.results[0]["items"]]
    assert repr(found) == repr(expected)


def test_each_value_of_a_multi_valued_column_is_an_item() -> None:
    engine = Engine(plan(of="tag"), follow=True)
    engine.send({"order": "a", "text": "#tea #milk", "t": 0}, {"order": "a", "text": "#jam", "t": 1})
    engine.end()
    assert set(pairs(engine.results[0])) == {("jam", "milk"), ("jam", "tea"), ("milk", "tea")}


def test_pairs_are_counted_by_key_and_an_order_number_of_two_shops_is_two_orders() -> None:
    engine = Engine(plan(by=["shop"], where="item != 'bag'", k=1), follow=True)
    for shop in ("x", "y", None):
        items = ["tea", "bag", "milk"] if shop != "y" else ["tea", "bag"]
        engine.send(*(bought("1", item, 1, shop=shop) for item in items))
    engine.end()
    told = {r["key"]["shop"]: (pairs(r), r["orders"], r["events"]) for r in engine.results}
    assert told == {
        "x": ({("milk", "tea"): 1}, 1, 2),
        "y": ({}, 1, 1),
        None: ({("milk", "tea"): 1}, 1, 2),
    }


def test_the_most_frequent_pairs_come_first_and_equal_ones_in_the_order_of_their_items() -> None:
    engine = Engine(plan(of="n", k=3), follow=True)
    orders = [[2, 10], [2, 10], [1, 10], [1, 2], [1, 3]]
    for number, items in enumerate(orders):
        engine.send(*({"order": str(number), "n": item, "t": number} for item in items))
    engine.end()
    assert [item["item"] for item in engine.results[0]["items"]] == [[2, 10], [1, 2], [1, 3]]


def test_what_is_late_goes_to_the_late_output_once_with_its_payload() -> None:
    engine = Engine(plan(by=["shop"], event={"out_of_orderness": "0s"}), follow=True)
    engine.send(bought("a", "tea", 0, shop="x"))
    engine.send(bought("b", "tea", 200, shop="x"))
    engine.send(bought("a", "milk", 5, shop="x"), bought(None, "jam", 6, shop="y"))
    engine.send(bought("a", "jam", 195, shop="x"))  # not late: its order may still go on
    engine.end()
    assert [(late["metric"], late["event_time_ms"] // MINUTE, late["key"]) for late in engine.late] == [
        ("together", 6, {"shop": "y"}),
        ("together", 5, {"shop": "x"}),
    ]
    assert all(
        '"shop"' in late["payload"] and late["watermark_ms"] == 200 * MINUTE - 1 for late in engine.late
    )
    assert {hour: r["orders"] for hour, r in by_hour(engine).items()} == {0: 1, 3: 2}


def test_late_events_of_an_order_that_still_goes_on_belong_to_it() -> None:
    engine = Engine(plan(event={"out_of_orderness": "0s"}), follow=True)
    engine.send(bought("a", "tea", 0), bought("a", "milk", 9), bought("a", "jam", 18))
    engine.send(bought("b", "tea", 25))
    engine.send(bought("a", "bun", 1))
    engine.end()
    assert not engine.late
    assert len(pairs(engine.results[0])) == 6 and engine.results[0]["orders"] == 2


def test_early_results_tell_what_is_over_by_then() -> None:
    engine = Engine(plan(emit_every="1s"), follow=True)
    engine.send(bought("a", "tea", 0), bought("a", "milk", 1), bought("b", "tea", 2))
    engine.send(bought("c", "tea", 13))
    (early,) = engine.move_clock(2000)
    assert (pairs(early), early["final"], early["orders"], early["events"]) == (
        {("milk", "tea"): 1},
        False,
        2,
        3,
    )
    assert engine.move_clock(60_000) == []
    (last,) = engine.end()
    assert (last["revision"], last["final"], last["orders"], last["events"]) == (1, True, 3, 4)


def expected_orders(events: list[dict[str, Any]], gap_ms: int) -> list[tuple[int, str, set[str], int]]:
    """Last event, shop, items and events of each order, by walking through its events in order of time."""
    by_order: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for event in events:
        if event["order"] is not None:
            by_order[event["shop"], event["order"]].append(event)
    orders = []
    for (shop, _), own in by_order.items():
        own.sort(key=lambda event: event["t"])
        group: list[dict[str, Any]] = []
        for event, after in zip(own, [*own[1:], None], strict=True):
            group.append(event)
            if after is None or after["t"] - event["t"] > gap_ms:
                items = {e["item"] for e in group} - {None}
                orders.append((event["t"], shop, items, len(group)))
                group = []
    return orders


@pytest.mark.parametrize("seed", range(6))
def test_answers_are_those_of_brute_force_with_disorder_and_restarts(seed: int) -> None:
    chance = random.Random(seed)
    lateness = chance.choice(["0s", "20m"])
    windows = [{"tumbling": "1h"}, {"sliding": "3h", "every": "1h", "offset": "30m"}]
    shape = plan(
        windows,
        {"out_of_orderness": "30m"},
        by=["shop"], max_items=3, k=1000, allowed_lateness=lateness, entity_shards=chance.choice([1, 3]),
    )  # fmt: skip
    engine, sent, results, late = Engine(shape, follow=True), [], [], 0
    now = 0
    for _ in range(60):
        batch = []
        for _ in range(chance.randrange(25)):
            now += chance.randrange(3 * MINUTE)
            item = chance.choice([None, *"abcdefgh"])
            order = chance.choice([None, *(str(n) for n in range(6))])
            batch.append(bought(order, item, 0, shop=chance.choice("xy")))
            batch[-1]["t"] = now - chance.randrange(30 * MINUTE)
        sent += batch
        engine.send(*batch)
        if chance.random() < 0.2:
            results, late = results + engine.results, late + len(engine.late)
            engine = Engine(shape, engine.snapshot(), follow=True, now_ms=engine.now_ms)
    engine.end()
    assert late + len(engine.late) == 0

    counted: dict[tuple[int, int, str], list[Any]] = defaultdict(lambda: [Counter(), 0, 0, 0])
    of_none = [(e["t"], e["shop"], set(), 1) for e in sent if e["order"] is None]
    for last, shop, items, events in expected_orders(sent, 10 * MINUTE) + of_none:
        hour = last // HOUR
        half = (last - 30 * MINUTE) // HOUR
        starts = [(1, hour * HOUR)] + [(3, (half - n) * HOUR + 30 * MINUTE) for n in range(3)]
        for place in starts:
            told = counted[(*place, shop)]
            told[1] += bool(items)
            told[2] += len(items) > 3
            told[3] += events
            if len(items) <= 3:
                told[0].update(combinations(sorted(items), 2))
    found = {
        (r["window"]["size_ms"] // HOUR, r["window"]["start_ms"], r["key"]["shop"]): [
            pairs(r), r["orders"], r["oversized_orders"], r["events"]
        ]
        for r in latest(results + engine.results).values()
    }  # fmt: skip
    assert found == {place: [dict(told[0]), *told[1:]] for place, told in counted.items()}
    assert sum(told[2] for told in counted.values()) > 0
    assert not engine.held()


@pytest.mark.parametrize("seed", range(6))
def test_each_event_is_counted_or_late_and_no_window_is_answered_twice(seed: int) -> None:
    """With events far too late and restarts at any moment, when the watermark starts anew."""
    chance = random.Random(seed)
    shape = plan(event={"out_of_orderness": "0s"}, windows=[{"tumbling": "20m"}], gap="15m")
    engine, sent, results, late = Engine(shape, follow=True), 0, [], []
    now = 0
    for _ in range(120):
        now += chance.randrange(10 * MINUTE)
        times = [
            max(0, now - chance.choice([0, 0, MINUTE, 10 * MINUTE, 20 * MINUTE, HOUR])) for _ in range(3)
        ]
        orders = [chance.choice([None, "a", "b"]) for _ in times]
        engine.send(
            *(bought(o, chance.choice("pqr"), t / MINUTE) for o, t in zip(orders, times, strict=True))
        )
        sent += len(times)
        if chance.random() < 0.3:
            results, late = results + engine.results, late + engine.late
            engine = Engine(shape, engine.snapshot(), follow=True, now_ms=engine.now_ms)
    engine.end()
    results, late = results + engine.results, late + engine.late
    ids = [result["id"] for result in results]
    assert len(ids) == len(set(ids))
    # What is late just after a start is not foreseen; where gathering refuses it, its place is known.
    assert all(entry["payload"] or entry["batch"] for entry in late)
    assert sum(r["events"] for r in results) + sum(entry.get("events", 1) for entry in late) == sent
    assert sum(entry["payload"] is not None for entry in late) > 10


def test_pairs_beyond_what_the_sketch_keeps_have_bounds_that_hold() -> None:
    chance, truth = np.random.default_rng(5), Counter()
    aggregator = TopPairsAggregator(10, 5)
    partials = []
    for _ in range(20):
        orders = [sorted(set(chance.zipf(1.3, 6).clip(0, 40).tolist())) for _ in range(30)]
        for order in orders:
            truth.update(combinations(order, 2))
        partials.append(aggregator.partial(closed(*orders)))
    answer = aggregator.answer(aggregator.merge(partials), 0)
    assert len(truth) > 100 and answer["orders"] == 600
    assert 0 < len(answer["items"]) <= 10
    for item in answer["items"]:
        assert item["lower"] <= truth[tuple(item["item"])] <= item["upper"]
    assert any(item["lower"] < item["upper"] for item in answer["items"])


def test_partials_merge_in_any_order_and_give_their_sketch() -> None:
    aggregator = TopPairsAggregator(10, 8)
    parts = [
        aggregator.partial(closed(["x", "y", "z"], None)),
        aggregator.partial(closed(["x"], [])),
        aggregator.partial(closed(["x", "y"])),
    ]
    one = aggregator.merge(parts)
    other = aggregator.merge([parts[2], aggregator.merge(parts[:2])])
    assert aggregator.answer(one, 9) == aggregator.answer(other, 9)
    answer = aggregator.answer(one, 9)
    assert (answer["orders"], answer["oversized_orders"]) == (4, 1)
    assert answer["items"][0] == {"item": ["x", "y"], "count": 2, "lower": 2, "upper": 2}
    assert TopK.deserialize(one[17:]).datasketches_image() == aggregator.sketch(one)
    assert aggregator.sketch(parts[1]) == TopK(8).datasketches_image()


def test_harmed_partials_are_refused() -> None:
    aggregator = TopPairsAggregator(10, 8)
    whole = aggregator.partial(closed(["x", "y", "z"]))
    for length in range(len(whole)):
        if length == 17:
            continue  # a whole partial without pairs
        with pytest.raises(BadData):
            aggregator.answer(whole[:length], 1)
    with pytest.raises(BadData):
        aggregator.answer(whole + b"\0", 1)
    with pytest.raises(BadData, match="expected pairs of version 1"):
        aggregator.answer(b"\x02" + whole[1:], 1)


def test_the_bytes_of_a_partial_are_those_that_are_documented() -> None:
    aggregator = TopPairsAggregator(10, 8)
    head = b"\x01" + (3).to_bytes(8, "little") + (1).to_bytes(8, "little")
    assert aggregator.partial(closed(["x"], None, [1])) == head
    image = TopK.image_of(['["x","y"]'], np.array([1]), 8)
    assert aggregator.partial(closed(["x", "y"])) == b"\x01" + b"\x01" + bytes(15) + image


def test_items_that_are_no_array_are_refused() -> None:
    assert read_items(b'["a",1]') == ["a", 1] and read_items(b"null") is None
    for wrong in (b"", b"{}", b'["a"', b'["a"]x', b"7"):
        with pytest.raises(BadData, match="expected the items of an order"):
            read_items(wrong)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"of": "nothing"}, "metrics.together.of: there is no column 'nothing'"),
        ({"within": "nothing"}, "metrics.together.within: there is no column 'nothing'"),
        ({"within": "tag"}, "metrics.together.within: top_pairs takes string or long or double or bool"),
        ({"by": ["tag"]}, "metrics.together.by: top_pairs takes single-valued columns"),
        ({"windows": [{"session": "1h"}]}, "metrics.together.windows: top_pairs takes tumbling and sliding"),
        ({"gap": "0s"}, "greater than 0"),
        ({"max_items": 1}, "greater than or equal to 2"),
        ({"k": 0}, "greater than or equal to 1"),
        ({"lg_max_map_size": 21}, "less than or equal to 20"),
        ({"entity_shards": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused_by_key(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Plan.model_validate(plan(**options))
