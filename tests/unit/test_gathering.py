"""Gathering to the millisecond: when something is closed, joined or late; what restarts keep."""

from __future__ import annotations

from typing import Any

import pytest
from engine import Engine

from operators.expressions import compile_expression
from operators.gather.entries import Entries
from operators.gather.gathering import Closed
from operators.gather.orders import Orders
from operators.plan import Plan
from operators.records import LocalSession
from operators.shard_keys import shard_key
from state.gather_state import (
    GatherState,
    Happened,
    Order,
    read_happened,
    read_orders,
    write_happened,
    write_orders,
)

GAP = 100
MINUTE = 60_000


@pytest.fixture
def orders() -> Orders:
    return Orders("item", "order", GAP, 3, 8)


@pytest.fixture
def entries() -> Entries:
    columns = {"a": "bool", "b": "bool"}
    return Entries("user", GAP, [compile_expression(name, columns, expect="bool") for name in "ab"], 8)


def bought(first_ms: int, last_ms: int, items: bytes = b'["x"]', events: int = 1) -> LocalSession:
    return LocalSession(b'["1"]', first_ms, last_ms, events, items, None)


def did(*happened: tuple[int, int, int]) -> LocalSession:
    events = sum(one[2] for one in happened)
    partial = write_happened([Happened(*one) for one in happened])
    return LocalSession(b'["u"]', happened[0][0], happened[-1][0], events, partial, None)


def test_an_order_is_closed_at_the_very_gap_after_its_last_event_and_not_before(orders: Orders) -> None:
    held = write_orders([Order(0, 50, 2, b'["x"]'), Order(300, 400, 1, b"null")])
    assert orders.due_ms(held) == 150
    assert orders.close(held, 149) == (held, [])
    rest, closed = orders.close(held, 150)
    assert (rest, closed) == (write_orders([Order(300, 400, 1, b"null")]), [Closed(50, 2, b'["x"]')])
    assert orders.due_ms(rest) == 500
    assert orders.close(rest, 500) == (b"", [Closed(400, 1, b"null")])


@pytest.mark.parametrize(
    ("first_ms", "last_ms"), [(150, 150), (-100, -100), (-300, -100), (150, 400), (7, 8)]
)
def test_events_exactly_the_gap_before_or_after_an_order_belong_to_it(
    orders: Orders, first_ms: int, last_ms: int
) -> None:
    held = write_orders([Order(0, 50, 2, b'["x"]')])
    data, late = orders.take(held, bought(first_ms, last_ms, b'["y"]'), -(2**63))
    assert late == 0
    assert read_orders(data) == [Order(min(0, first_ms), max(50, last_ms), 3, b'["x","y"]')]
    # A millisecond further away they are another order.
    beside = bought(151, 151) if last_ms >= 150 else bought(-101, -101)
    assert len(read_orders(orders.take(held, beside, -(2**63))[0])) == 2


def test_events_are_late_from_the_very_watermark_that_closes_their_order(orders: Orders) -> None:
    assert orders.take(b"", bought(0, 50, events=4), 149) == (write_orders([Order(0, 50, 4, b'["x"]')]), 0)
    assert orders.take(b"", bought(0, 50, events=4), 150) == (b"", 4)
    # What belongs to an order that goes on is not late.
    held = write_orders([Order(120, 180, 1, b'["y"]')])
    assert orders.take(held, bought(20, 20), 200) == (write_orders([Order(20, 180, 2, b'["x","y"]')]), 0)
    assert orders.take(held, bought(19, 19), 200) == (held, 1)


def test_a_step_is_closed_and_late_from_the_very_time_after_it(entries: Entries) -> None:
    held = write_happened([Happened(0, 1, 1), Happened(0, 2, 3), Happened(60, 2, 2)])
    assert entries.due_ms(held) == 100
    assert entries.close(held, 99) == (held, [])
    rest = write_happened([Happened(60, 2, 2)])
    assert entries.close(held, 100) == (rest, [Closed(0, 1, 1), Closed(0, 3, None)])
    assert entries.close(rest, 160) == (b"", [Closed(60, 2, None)])
    assert entries.take(b"", did((0, 1, 2), (1, 1, 3)), 99)[1] == 0
    data, late = entries.take(b"", did((0, 1, 2), (1, 1, 3)), 100)
    assert (read_happened(data), late) == ([Happened(1, 1, 3)], 2)
    assert entries.take(held, did((0, 1, 2)), 100) == (held, 2)


def test_what_happened_stays_in_order_and_equal_things_are_added_up(entries: Entries) -> None:
    held = write_happened([Happened(10, 1, 1), Happened(30, 1, 1)])
    behind, _ = entries.take(held, did((30, 2, 1), (40, 1, 1)), 0)
    assert read_happened(behind) == [(10, 1, 1), (30, 1, 1), (30, 2, 1), (40, 1, 1)]
    among, _ = entries.take(behind, did((30, 1, 4), (35, 3, 1)), 0)
    assert read_happened(among) == [(10, 1, 1), (30, 1, 5), (30, 2, 1), (35, 3, 1), (40, 1, 1)]


def plan(**metric: Any) -> dict[str, Any]:
    together = {"name": "m", "kind": "top_pairs", "of": "item", "within": "order", "gap": "15m"}
    return {
        "name": "shop",
        "event": {
            "fields": {"item": "string", "order": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
            "out_of_orderness": "0s",
        },
        "metrics": [{"windows": [{"tumbling": "20m"}]} | together | metric],
    }


def test_lateness_is_that_of_gathering_and_windows_are_behind_by_both() -> None:
    (metric,) = Plan.model_validate(plan(allowed_lateness="2m")).resolved_metrics()
    assert (metric.allowed_lateness_ms, metric.grid.allowed_lateness_ms) == (0, 0)
    assert (metric.lateness_ms, metric.delay_ms) == (2 * MINUTE, 17 * MINUTE)
    assert not metric.counts_revisions
    (metric,) = Plan.model_validate(plan(emit_every="1s")).resolved_metrics()
    assert (metric.lateness_ms, metric.delay_ms, metric.counts_revisions) == (0, 15 * MINUTE, True)


@pytest.mark.parametrize("late_minute", [15, 17, 19.9])
def test_an_event_of_an_answered_window_is_late_also_just_after_a_restart(late_minute: float) -> None:
    engine = Engine(plan(), follow=True)
    for minute in (0, 31, 36):  # with the watermark at 36 the window of the first twenty minutes is answered
        engine.send({"order": f"{minute}", "item": "x", "t": minute * MINUTE})
    assert len(engine.results) == 1
    again = Engine(plan(), engine.snapshot(), follow=True)
    again.send({"order": "late", "item": "x", "t": int(late_minute * MINUTE)})
    again.end()
    (late,) = again.late
    # Gathering refused it, and did not leave it to the window, which knows no place.
    assert late["batch"]["first"] == late["batch"]["last"] and late["events"] == 1
    assert [result["orders"] for result in again.results] == [2]


@pytest.mark.parametrize("stages_first", [False, True])
def test_a_job_that_goes_on_after_its_end_answers_no_window_again(stages_first: bool) -> None:
    engine = Engine(plan(), follow=True, stages_first=stages_first)
    engine.send({"order": "a", "item": "x", "t": 0})
    assert [result["orders"] for result in engine.end()] == [1]
    again = Engine(plan(), engine.snapshot(), follow=True, stages_first=stages_first)
    times = {"a": (17,), "b": (5, 19), "c": (25, 120)}
    again.send(*({"order": o, "item": "x", "t": t * MINUTE} for o, own in times.items() for t in own))
    again.end()
    assert [(r["window"]["start_ms"] // MINUTE, r["orders"]) for r in again.results] == [(20, 1), (120, 1)]
    # The shard of a knows that its window was answered; that of b does not, and there the window refuses.
    told = [(late.get("event_time_ms"), late.get("batch"), late.get("events")) for late in again.late]
    assert told == [(17 * MINUTE, None, None), (None, {}, 2)]


def test_lateness_is_reckoned_with_where_it_is_foreseen_what_is_late_after_a_restart() -> None:
    engine = Engine(plan(allowed_lateness="20m"), follow=True)
    engine.send({"order": "a", "item": "x", "t": 100 * MINUTE})
    again = Engine(plan(allowed_lateness="20m"), engine.snapshot(), follow=True)
    again.send(*({"order": "b", "item": "x", "t": minute * MINUTE} for minute in (85, 60)))
    again.end()
    (late,) = again.late
    assert late["event_time_ms"] == 60 * MINUTE and late["payload"]


def test_events_that_are_held_are_counted_with_their_entity() -> None:
    engine = Engine(plan(entity_shards=1), follow=True)
    engine.send(*({"order": "a", "item": "x", "t": t * MINUTE} for t in (0, 1, 30, 31, 32)))
    engine.send({"order": "b", "item": "x", "t": 40 * MINUTE})
    engine.maps["gathered"].shard = shard_key("m@gather", 0)
    state = GatherState(engine.maps["gathered"])
    held = {key: entry for bucket in range(64) for key, entry in state.read(bucket).items()}
    assert {key: entry.events for key, entry in held.items()} == {b'["a"]': 3, b'["b"]': 1}
    assert read_orders(held[b'["a"]'].partial) == [Order(30 * MINUTE, 32 * MINUTE, 3, b'["x"]')]
    engine.end()
    assert not engine.held()
