"""Users by how far they came: against brute force over all ways; ties, restarts, late events."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import polars as pl
import pytest
from engine import Engine, latest
from pydantic import ValidationError

from operators.metrics.funnel import FunnelAggregator
from operators.metrics.funnel_levels import empty_levels, read_levels, write_levels
from operators.plan import Plan
from sketches.errors import BadData
from sketches.exact_set import ExactSet
from sketches.hashing import hash_strings
from sketches.hyperloglog import HyperLogLog

MINUTE = 60_000
HOUR = 60 * MINUTE
STEPS = [{"name": name, "where": f"action = '{name}'"} for name in ("view", "cart", "buy")]


def plan(windows: list[dict[str, str]] | None = None, event: Any = None, **options: Any) -> dict[str, Any]:
    fields = {"user": "string", "n": "long", "action": "string", "shop": "string", "v": "long", "t": "long"}
    metric = {
        "name": "sales",
        "kind": "funnel",
        "of": "user",
        "steps": STEPS,
        "within": "30m",
        "exact": True,
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


def did(user: Any, action: str | None, minute: float, **more: Any) -> dict[str, Any]:
    return {"user": user, "action": action, "t": int(minute * MINUTE), **more}


def users(result: dict[str, Any]) -> list[int]:
    """How many users reached each step; of exact answers."""
    for step, after in zip(result["steps"], [*result["steps"][1:], {"users": 0}], strict=True):
        assert step["lower"] == step["users"] == step["upper"]
        stopped = step["users"] - after["users"]
        assert step["stopped"] == step["stopped_lower"] == step["stopped_upper"] == stopped
    assert result["confidence"] == 1.0
    return [step["users"] for step in result["steps"]]


def by_hour(engine: Engine) -> dict[int, list[int]]:
    return {r["window"]["start_ms"] // HOUR: users(r) for r in latest(engine.results).values()}


def run(*events: dict[str, Any], **options: Any) -> Engine:
    engine = Engine(plan(**options), follow=True)
    engine.send(*events)
    engine.end()
    assert not engine.late and not engine.held()
    return engine


def test_a_user_is_counted_at_every_step_it_reached_in_order() -> None:
    engine = run(
        did("ann", "view", 0), did("ann", "cart", 1), did("ann", "buy", 2),
        did("bob", "view", 0), did("bob", "cart", 5),
        did("eve", "view", 3), did("eve", "buy", 4),
        did("joe", "buy", 3), did("joe", "cart", 4),
    )  # fmt: skip
    (result,) = engine.results
    assert result["steps"] == [
        {"step": name, "users": n, "lower": n, "upper": n}
        | {"stopped": stopped, "stopped_lower": stopped, "stopped_upper": stopped}
        for name, n, stopped in (("view", 3, 1), ("cart", 2, 1), ("buy", 1, 1))
    ]
    assert (result["events"], result["revision"], result["final"]) == (9, 0, True)


def test_the_first_event_of_a_step_after_the_one_before_is_taken_and_others_do_no_harm() -> None:
    assert by_hour(
        run(did("ann", "cart", 0), did("ann", "view", 1), did("ann", "buy", 2), did("ann", "cart", 3))
    ) == {0: [1, 1, 0]}
    assert by_hour(
        run(did("ann", "view", 0), did("ann", "buy", 1), did("ann", "cart", 2), did("ann", "buy", 3))
    ) == {0: [1, 1, 1]}


def test_a_step_must_be_later_than_the_one_before() -> None:
    assert by_hour(run(did("ann", "view", 1), did("ann", "cart", 1), did("ann", "buy", 2))) == {0: [1, 0, 0]}
    assert by_hour(
        run(did("ann", "view", 1), did("ann", "cart", 1.001), did("ann", "buy", 1.002))
    ) == {0: [1, 1, 1]}  # fmt: skip


def test_all_steps_must_be_within_the_time_after_the_entry_its_end_included() -> None:
    assert by_hour(run(did("ann", "view", 0), did("ann", "cart", 20), did("ann", "buy", 30))) == {
        0: [1, 1, 1]
    }
    late = (did("ann", "view", 0), did("ann", "cart", 20), did("ann", "buy", 30.001))
    assert by_hour(run(*late)) == {0: [1, 1, 0]}
    # A second entry may come further.
    assert by_hour(run(*late, did("ann", "view", 10))) == {0: [1, 1, 1]}


def test_a_user_counts_in_the_window_of_the_entry_with_the_best_of_them() -> None:
    engine = run(
        did("ann", "view", 50), did("ann", "cart", 65), did("ann", "buy", 70),
        did("ann", "view", 66), did("ann", "view", 130),
        did("ann", "cart", 131), did("ann", "view", 140),
        windows=[{"tumbling": "1h"}, {"sliding": "2h", "every": "1h"}],
    )  # fmt: skip
    told = {
        (r["window"]["size_ms"] // HOUR, r["window"]["start_ms"] // HOUR): users(r) for r in engine.results
    }
    assert told == {
        (1, 0): [1, 1, 1], (1, 1): [1, 0, 0], (1, 2): [1, 1, 0],
        (2, -1): [1, 1, 1], (2, 0): [1, 1, 1], (2, 1): [1, 1, 0], (2, 2): [1, 1, 0],
    }  # fmt: skip


def test_an_event_may_be_of_several_steps() -> None:
    steps = [{"name": "any", "where": "v >= 0"}, {"name": "big", "where": "v >= 5"}]
    engine = run(
        *(did("ann", None, n, v=v) for n, v in enumerate([7, 1, 6])), did("bob", None, 1, v=9), steps=steps
    )
    assert by_hour(engine) == {0: [2, 1]}


def test_what_is_of_no_step_and_no_user_counts_as_an_event_only() -> None:
    engine = run(
        did(None, "view", 0), did("ann", "wait", 1), did("ann", None, 2), did("ann", "cart", 3),
        did(None, "buy", 130),
    )  # fmt: skip
    assert by_hour(engine) == {0: [0, 0, 0], 2: [0, 0, 0]}
    assert [result["events"] for result in engine.results] == [4, 1]


def test_users_are_counted_by_key_and_a_condition_leaves_events_out() -> None:
    events = [
        did("ann", "view", 0, shop="x"), did("ann", "cart", 1, shop="y"), did("ann", "buy", 2, shop="x"),
        did("ann", "cart", 1, shop="x", v=3), did("bob", "view", 1, shop="y"),
        did("bob", "cart", 2, shop="y"),
    ]  # fmt: skip
    engine = run(*events, by=["shop"])
    assert {r["key"]["shop"]: (users(r), r["events"]) for r in engine.results} == {
        "x": ([1, 1, 1], 3),
        "y": ([1, 1, 0], 3),
    }
    engine = run(*events, by=["shop"], where="v is null")
    assert {r["key"]["shop"]: users(r) for r in engine.results} == {"x": [1, 0, 0], "y": [1, 1, 0]}


@pytest.mark.parametrize(("of", "values"), [("n", [3, -4]), ("user", ["3", "ü\n"])])
@pytest.mark.parametrize("exact", [True, False])
def test_users_may_be_of_any_type_and_are_those_that_distinct_counts(
    of: str, values: list[Any], exact: bool
) -> None:
    shape = plan(of=of, exact=exact)
    shape["metrics"].append({"name": "users", "kind": "distinct", "of": of, "windows": [{"tumbling": "1h"}]})
    engine = Engine(shape, follow=True)
    for n, value in enumerate(values):
        engine.send({of: value, "action": "view", "t": n}, {of: value, "action": "view", "t": n + 9})
    engine.end()
    funnel, distinct = sorted(engine.results, key=lambda result: result["kind"], reverse=True)
    assert round(funnel["steps"][0]["users"]) == round(distinct["value"]) == 2
    if not exact:
        first = funnel["steps"][0]
        assert (first["users"], first["lower"], first["upper"]) == (
            distinct["value"], distinct["lower"], distinct["upper"]
        )  # fmt: skip


def test_windows_are_answered_once_every_entry_in_them_is_decided() -> None:
    engine = Engine(plan(allowed_lateness="5m"))
    engine.send(did("ann", "view", 59), did("ann", "cart", 80))
    assert engine.move_watermark(94 * MINUTE - 1) == []
    engine.send(did("ann", "buy", 85))
    assert engine.move_watermark(95 * MINUTE - 2) == []
    (result,) = engine.move_watermark(95 * MINUTE - 1)
    assert (users(result), result["window"]["end_ms"], result["events"]) == ([1, 1, 1], HOUR, 1)
    (result,) = engine.end()
    assert (users(result), result["window"]["end_ms"], result["events"]) == ([0, 0, 0], 2 * HOUR, 2)


def test_what_is_late_goes_to_the_late_output_once_with_its_payload() -> None:
    engine = Engine(plan(event={"out_of_orderness": "0s"}, by=["shop"]), follow=True)
    engine.send(did("ann", "view", 0, shop="x"))
    engine.send(did("bob", "view", 200, shop="x"))
    late = [
        did("ann", "cart", 5, shop="x"),
        did(None, "view", 6, shop="y"),
        did("eve", "buy", 169.9, shop="x"),
    ]
    engine.send(*late, did("eve", "view", 171, shop="x"))
    engine.end()
    assert sorted((entry["event_time_ms"], entry["key"]["shop"]) for entry in engine.late) == sorted(
        (event["t"], event["shop"]) for event in late
    )
    assert all(e["payload"] and e["watermark_ms"] == 200 * MINUTE - 1 for e in engine.late)
    assert {r["window"]["start_ms"] // HOUR: (users(r), r["events"]) for r in engine.results} == {
        0: ([1, 0, 0], 1),
        2: ([1, 0, 0], 1),
        3: ([1, 0, 0], 1),
    }


def test_events_that_turn_out_late_in_part_are_told_apart() -> None:
    engine = Engine(plan(event={"out_of_orderness": "0s"}), follow=True)
    engine.send(did("bob", "view", 0))
    engine.move_watermark(200 * MINUTE)  # of which ingest knows nothing
    engine.send(did("ann", "view", 165), did("ann", "cart", 165), did("ann", "cart", 185))
    engine.end()
    (late,) = engine.late
    assert (late["payload"], late["events"], late["key"]) == (None, 2, {})
    assert by_hour(engine) == {0: [1, 0, 0], 3: [0, 0, 0]}


def test_early_results_tell_what_is_decided_by_then() -> None:
    engine = Engine(plan(emit_every="1s", event={"out_of_orderness": "0s"}), follow=True)
    engine.send(did("ann", "view", 0), did("ann", "cart", 1), did("bob", "view", 20))
    engine.send(did("eve", "view", 35))
    (early,) = engine.move_clock(2000)
    assert (users(early), early["final"], early["events"]) == ([1, 1, 0], False, 2)
    (last,) = engine.end()
    assert (users(last), last["revision"], last["final"], last["events"]) == ([3, 1, 0], 1, True, 4)


def furthest(entry_ms: int, own: list[tuple[int, str]], names: list[str], within_ms: int) -> int:
    """Try every way through the steps."""

    def reach(step: int, after_ms: int) -> int:
        ways = [
            reach(step + 1, t)
            for t, action in own
            if step < len(names) and action == names[step] and after_ms < t <= entry_ms + within_ms
        ]
        return max(ways, default=step - 1)

    return reach(1, entry_ms)


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("seed", range(6))
def test_answers_are_those_of_brute_force_with_disorder_and_restarts(seed: int, exact: bool) -> None:
    chance = random.Random(seed)
    windows = [{"tumbling": "1h"}, {"sliding": "3h", "every": "1h", "offset": "30m"}]
    shape = plan(
        windows,
        {"out_of_orderness": "30m"},
        by=["shop"], exact=exact, allowed_lateness=chance.choice(["0s", "20m"]),
        entity_shards=chance.choice([1, 3]),
    )  # fmt: skip
    engine, results, now = Engine(shape, follow=True), [], 0
    events: list[dict[str, Any]] = []
    for _ in range(50):
        batch = []
        for _ in range(chance.randrange(25)):
            now += chance.randrange(2 * MINUTE)
            user = chance.choice([None, *(f"user {n}" for n in range(7))])
            # Whole minutes, so that some things happen at the same time and some exactly at the end.
            minute = now // MINUTE - chance.randrange(29)
            batch.append(did(user, chance.choice(["view", "cart", "buy", "wait", None]), minute))
            batch[-1]["shop"] = chance.choice("xy")
        events += batch
        engine.send(*batch)
        if chance.random() < 0.2:
            assert not engine.late
            results += engine.results
            engine = Engine(shape, engine.snapshot(), follow=True, now_ms=engine.now_ms)
    engine.end()
    assert not engine.late and not engine.held()

    def places(t: int, shop: str) -> list[tuple[int, int, str]]:
        half = (t - 30 * MINUTE) // HOUR
        starts = [(1, t // HOUR * HOUR), *((3, (half - n) * HOUR + 30 * MINUTE) for n in range(3))]
        return [(hours, start, shop) for hours, start in starts]

    counted: dict[tuple[int, int, str], int] = defaultdict(int)
    best: dict[tuple[int, int, str], dict[str, int]] = defaultdict(dict)
    of_user: dict[tuple[str, str], list[tuple[int, str]]] = defaultdict(list)
    for event in events:
        for place in places(event["t"], event["shop"]):
            counted[place] += 1
        if event["user"] is not None:
            of_user[event["shop"], event["user"]].append((event["t"], event["action"]))
    for (shop, user), own in of_user.items():
        for t in {t for t, action in own if action == "view"}:
            step = furthest(t, own, ["view", "cart", "buy"], 30 * MINUTE)
            for place in places(t, shop):
                best[place][user] = max(step, best[place].get(user, 0))
    expected = {
        place: ([sum(step >= k for step in best[place].values()) for k in range(3)], count)
        for place, count in counted.items()
    }
    found = {
        (r["window"]["size_ms"] // HOUR, r["window"]["start_ms"], r["key"]["shop"]): (
            [round(step["users"]) for step in r["steps"]],
            r["events"],
        )
        for r in latest(results + engine.results).values()
    }
    assert found == expected
    assert sum(reached[2] for reached, _ in expected.values()) > 5


@pytest.mark.parametrize("seed", range(6))
def test_each_event_is_counted_or_late_and_no_window_is_answered_twice(seed: int) -> None:
    """With events far too late and restarts at any moment, when the watermark starts anew."""
    chance = random.Random(seed)
    shape = plan(event={"out_of_orderness": "0s"}, windows=[{"tumbling": "20m"}], within="15m")
    engine, sent, results, late, now = Engine(shape, follow=True), 0, [], [], 0
    for _ in range(120):
        now += chance.randrange(10 * MINUTE)
        times = [
            max(0, now - chance.choice([0, 0, MINUTE, 10 * MINUTE, 20 * MINUTE, HOUR])) for _ in range(3)
        ]
        names = [chance.choice([None, "a", "b"]) for _ in times]
        pairs = zip(names, times, strict=True)
        engine.send(*(did(u, chance.choice(["view", "cart", "wait"]), t / MINUTE) for u, t in pairs))
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


def test_state_is_what_the_last_span_of_time_brought() -> None:
    engine = Engine(plan(event={"out_of_orderness": "0s"}), follow=True)
    sizes = []
    for minute in range(300):
        engine.send(*(did(f"user {n}", "view", minute) for n in range(5)))
        held = engine.maps["gathered"].shards.values()
        sizes.append(sum(len(data) for shard in held for data in shard.values()))
    assert max(sizes[100:]) < 1.5 * sizes[50]


def many(names: list[str], lg_k: int | None) -> tuple[FunnelAggregator, list[bytes], list[int]]:
    """An aggregator, partials of 60,000 users in 20 parts, and how many users reached each step."""
    chance, best = random.Random(9), {}
    aggregator, partials = FunnelAggregator(names, pl.String, lg_k), []
    for _ in range(20):
        outcomes = []
        for _ in range(5000):
            user = f"user {chance.randrange(60_000)}"
            step = min(int(chance.expovariate(1.0)), len(names) - 1)
            outcomes.append((user, step))
            best[user] = max(step, best.get(user, 0))
        partials.append(aggregator.partial(outcomes))
    return aggregator, partials, [sum(step >= k for step in best.values()) for k in range(len(names))]


def test_exact_sets_count_a_user_once_where_it_came_furthest_however_they_are_merged() -> None:
    aggregator, partials, truth = many(["a", "b", "c", "d"], None)
    at_once = aggregator.answer(aggregator.merge(partials), 0)
    assert users(at_once) == truth
    pairwise = partials[0]
    for partial in partials[1:]:
        pairwise = aggregator.merge([partial, pairwise])
    assert aggregator.answer(pairwise, 0) == at_once


def test_estimates_have_bounds_that_hold_and_never_rise_from_step_to_step() -> None:
    aggregator, partials, truth = many(["a", "b", "c", "d"], 12)
    answer = aggregator.answer(aggregator.merge(partials), 0)
    assert answer["confidence"] == 0.95
    for step, users_, after in zip(answer["steps"], truth, [*truth[1:], 0], strict=True):
        assert step["lower"] <= users_ <= step["upper"]
        assert step["lower"] <= step["users"] <= step["upper"] < 1.1 * users_
        assert step["stopped_lower"] <= users_ - after <= step["stopped_upper"]
        assert 0 <= step["stopped_lower"] <= step["stopped"] <= step["stopped_upper"]
    for name in ("users", "lower", "upper"):
        told = [step[name] for step in answer["steps"]]
        assert told == sorted(told, reverse=True)


def test_a_sketch_of_all_who_reached_a_step_has_the_same_estimate() -> None:
    aggregator = FunnelAggregator(["a", "b"], pl.String, 10)
    came = [f"user {n}" for n in range(5000)]
    partial = aggregator.partial([(user, n % 3 == 0) for n, user in enumerate(came)])
    sketch = HyperLogLog(10)
    sketch.update_many(hash_strings(came))
    assert aggregator.answer(partial, 0)["steps"][0]["users"] == sketch.estimate()


def test_sets_of_steps_come_back_and_every_truncation_and_surplus_is_refused() -> None:
    data = write_levels([b"ab", b"", b"c"])
    assert data == b"\x01\x03" + bytes([2, 0, 0, 0] + [0] * 4 + [1, 0, 0, 0]) + b"abc"
    assert read_levels(data, 3) == [b"ab", b"", b"c"]
    assert read_levels(empty_levels(16), 16) == [b""] * 16
    for length in range(len(data)):
        with pytest.raises(BadData):
            read_levels(data[:length], 3)
    for wrong in (data + b"\0", b"\x02" + data[1:], empty_levels(4)):
        with pytest.raises(BadData):
            read_levels(wrong, 3)


def test_an_exact_set_gives_its_hashes_in_the_order_in_which_they_came() -> None:
    held, hashes = ExactSet(), hash_strings(["ann", "bob", "eve"])
    held.add_many(hashes)
    assert (held.hashes == hashes).all() and ExactSet().hashes.shape == (0, 2)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"of": "nobody"}, "metrics.sales.of: there is no column 'nobody'"),
        ({"of": "tag"}, "metrics.sales.of: funnel takes string or long or double or bool"),
        ({"by": ["tag"]}, "metrics.sales.by: funnel takes single-valued columns"),
        ({"windows": [{"session": "1h"}]}, "metrics.sales.windows: funnel takes tumbling and sliding"),
        ({"steps": [STEPS[0], {"name": "b", "where": "no = 1"}]}, r"metrics.sales.steps.b.where: .*'?no"),
        ({"steps": [STEPS[0], {"name": "b", "where": "v"}]}, "metrics.sales.steps.b.where: expected .* bool"),
        ({"steps": [STEPS[0], STEPS[1], STEPS[0]]}, "expected different names, got 'view' twice"),
        ({"steps": STEPS[:1]}, "at least 2"),
        ({"steps": [{"name": f"s{n}", "where": "v = 1"} for n in range(17)]}, "at most 16"),
        ({"steps": [STEPS[0], {"name": "", "where": "v = 1"}]}, "at least 1 character"),
        ({"within": "0s"}, "greater than 0"),
        ({"lg_k": 3}, "greater than or equal to 4"),
        ({"entity_shards": 0}, "greater than or equal to 1"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_by_key(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Plan.model_validate(plan(**options))
