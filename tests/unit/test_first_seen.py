"""First events of values: against sets; nulls, keys, conditions, restarts, late events, forgetting."""

from __future__ import annotations

import random
from collections import defaultdict
from typing import Any

import pytest
from engine import Engine, latest
from pydantic import ValidationError

from operators.metrics.first_seen import FirstSeenAggregator
from operators.plan import Plan

HOUR = 3_600_000
DAY = 24 * HOUR


def plan(windows: list[dict[str, str]] | None = None, **options: Any) -> dict[str, Any]:
    fields = {"user": "string", "n": "long", "action": "string", "tags": "string", "t": "long"}
    metric = {
        "name": "visitors",
        "kind": "first_seen",
        "of": "user",
        "windows": windows or [{"tumbling": "1h"}],
    }
    return {
        "name": "shop",
        "event": {
            "fields": fields,
            "derive": {"tag": {"from": "tags", "extract": r"#(\w+)", "all": True}},
            "time": {"field": "t", "unit": "ms"},
        },
        "metrics": [metric | options],
    }


def visit(user: str | None, t: int, action: str = "view") -> dict[str, Any]:
    return {"user": user, "t": t, "action": action}


def counts(engine: Engine) -> dict[tuple[int, str], tuple[int, int, int]]:
    """Return new, returning and events by window start and key."""
    return {
        (r["window"]["start_ms"], str(r["key"])): (r["new"], r["returning"], r["events"])
        for r in latest(engine.results).values()
    }


def by_hour(engine: Engine) -> dict[int, tuple[int, int, int]]:
    return {start // HOUR: told for (start, _), told in counts(engine).items()}


def test_the_first_event_of_a_user_is_new_and_all_others_are_not() -> None:
    engine = Engine(plan(), follow=True)
    engine.send(visit("ann", 0), visit("bob", 1), visit("ann", 2))
    engine.send(visit("ann", HOUR), visit("eve", HOUR + 1), visit("", HOUR + 2))
    engine.end()
    assert by_hour(engine) == {0: (2, 1, 3), 1: (2, 1, 3)}
    assert [(e["value"], e["event_time_ms"]) for e in engine.first_seen] == [
        (user, t) for user, t in sorted([("ann", 0), ("bob", 1)], key=_place(engine))
    ] + [(user, t) for user, t in sorted([("eve", HOUR + 1), ("", HOUR + 2)], key=_place(engine))]
    assert engine.first_seen[0]["metric"] == "visitors"


def _place(engine: Engine) -> Any:
    order = [event["value"] for event in engine.first_seen]
    return lambda pair: order.index(pair[0])


def test_an_event_without_a_value_is_an_event_of_its_window_and_neither_new_nor_known() -> None:
    engine = Engine(plan(), follow=True)
    engine.send(visit(None, 0), visit("ann", 1), visit(None, HOUR))
    engine.end()
    assert by_hour(engine) == {0: (1, 0, 2), 1: (0, 0, 1)}


def test_what_does_not_meet_the_condition_is_not_remembered() -> None:
    engine = Engine(plan(where="action = 'purchase'"), follow=True)
    engine.send(visit("ann", 0), visit("ann", 1, "purchase"), visit("ann", 2), visit("ann", 3, "purchase"))
    engine.end()
    assert by_hour(engine) == {0: (1, 1, 2)}


def test_a_user_is_new_once_whatever_the_key() -> None:
    engine = Engine(plan(by=["action"]), follow=True)
    engine.send(visit("ann", 0), visit("ann", 1, "cart"), visit("bob", 2, "cart"))
    engine.end()
    assert counts(engine) == {(0, "{'action': 'view'}"): (1, 0, 1), (0, "{'action': 'cart'}"): (1, 1, 2)}


@pytest.mark.parametrize("user", ["ann", None])
def test_a_key_has_no_answer_of_a_time_in_which_it_had_no_event(user: str | None) -> None:
    engine = Engine(plan(by=["action"]), follow=True)
    engine.send(visit(user, 0), visit("bob", HOUR, "cart"))
    engine.send(visit(user, 2 * HOUR), visit("eve", 3 * HOUR, "cart"))
    engine.end()
    view, cart = "{'action': 'view'}", "{'action': 'cart'}"
    assert set(counts(engine)) == {(0, view), (HOUR, cart), (2 * HOUR, view), (3 * HOUR, cart)}


def test_numbers_are_values_too() -> None:
    engine = Engine(plan(of="n"), follow=True)
    engine.send({"n": 1, "t": 0}, {"n": 2, "t": 1}, {"n": 1, "t": 2})
    engine.end()
    assert by_hour(engine) == {0: (2, 1, 3)}
    assert sorted(event["value"] for event in engine.first_seen) == [1, 2]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_new_and_known_are_those_of_a_set_also_across_restarts(exact: bool, seed: int) -> None:
    chance = random.Random(seed)
    shape = plan(
        [{"tumbling": "1h"}, {"sliding": "3h", "every": "1h"}], exact=exact, rate=0.00001, by=["action"]
    )
    engine = Engine(shape, follow=True)
    seen: set[str] = set()
    expected: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    results: list[dict[str, Any]] = []
    first: list[dict[str, Any]] = []
    now = 0
    for _ in range(60):
        batch = []
        for _ in range(chance.randrange(30)):
            now += chance.randrange(HOUR // 100)
            user = None if chance.random() < 0.1 else f"user {chance.randrange(400)}"
            batch.append(visit(user, now, chance.choice(["view", "cart"])))
        for event in batch:
            fresh = event["user"] is not None and event["user"] not in seen
            seen.add(event["user"])
            key = str({"action": event["action"]})
            hour = event["t"] // HOUR
            for size, starts in ((1, [hour]), (3, [hour - 2, hour - 1, hour])):
                for start in starts:
                    told = expected[size, start * HOUR, key]
                    told[0] += fresh
                    told[1] += event["user"] is not None and not fresh
                    told[2] += 1
        engine.send(*batch)
        if chance.random() < 0.2:
            results += engine.results
            first += engine.first_seen
            engine = Engine(shape, engine.snapshot(), follow=True, now_ms=engine.now_ms)
    engine.end()
    told = {
        (r["window"]["size_ms"] // HOUR, r["window"]["start_ms"], str(r["key"])): [
            r["new"], r["returning"], r["events"]
        ]
        for r in latest(results + engine.results).values()
    }  # fmt: skip
    assert told == dict(expected)
    assert sorted(e["value"] for e in first + engine.first_seen) == sorted(seen - {None})


def test_a_user_who_did_not_come_for_long_is_new_again() -> None:
    engine = Engine(plan([{"tumbling": "1d"}], remember="4d"), follow=True)
    for day in (0, 3, 7):
        engine.send(visit("regular", day * DAY), visit(f"guest {day}", day * DAY))
    engine.send(visit("regular", 12 * DAY), visit("guest 7", 12 * DAY + 1))
    engine.end()
    told = {start // DAY: (new, known) for (start, _), (new, known, _) in counts(engine).items()}
    assert told == {0: (2, 0), 3: (1, 1), 7: (1, 1), 12: (2, 0)}
    assert set(engine.held()) == {k for k in engine.held() if k[0] == "seen"}


def test_what_is_forgotten_depends_on_the_events_and_not_on_how_they_are_read() -> None:
    events = [visit(f"user {n % 50}", n * 5 * HOUR) for n in range(400)]
    one = Engine(plan([{"tumbling": "1d"}], remember="2d"), follow=True)
    one.send(*events)
    many = Engine(plan([{"tumbling": "1d"}], remember="2d"), follow=True)
    for event in events:
        many.send(event)
    one.end()
    many.end()
    assert counts(one) == counts(many)
    assert sum(new for new, _, _ in counts(one).values()) == 400
    assert len(many.maps["seen"].shards) and many.held() != one.held()


def test_late_events_are_told_with_their_payload_and_are_remembered() -> None:
    engine = Engine(plan(), follow=True)
    engine.send(visit("ann", 5 * HOUR))
    engine.send(visit("bob", 6 * HOUR))
    engine.send(visit("eve", 0))
    engine.send(visit("eve", 6 * HOUR + 1))
    engine.end()
    assert by_hour(engine) == {5: (1, 0, 1), 6: (1, 1, 2)}
    assert [(late["event_time_ms"], late["metric"]) for late in engine.late] == [(0, "visitors")]
    assert "eve" in engine.late[0]["payload"]


def test_a_late_event_within_the_lateness_revises_the_answer() -> None:
    engine = Engine(plan(allowed_lateness="10h"), follow=True)
    engine.send(visit("ann", 0))
    engine.send(visit("ann", 5 * HOUR))
    engine.send(visit("bob", 1))
    engine.end()
    assert by_hour(engine) == {0: (2, 0, 2), 5: (0, 1, 1)}
    assert max(result["revision"] for result in engine.results) == 1


def test_bounds_allow_for_what_may_be_missed() -> None:
    sketch, exact = FirstSeenAggregator(0.01), FirstSeenAggregator(0.0)
    told = sketch.answer(sketch.partial(9_900, 5_000), 14_900)
    assert (told["value"], told["lower"], told["confidence"]) == (9_900, 9_900, 0.95)
    assert 10_000 < told["upper"] < 10_030
    assert sketch.answer(sketch.partial(100, 0), 100)["upper"] == 100
    assert exact.answer(exact.partial(7, 90), 97) == {
        "value": 7, "lower": 7, "upper": 7, "new": 7, "returning": 90, "confidence": 1.0
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"of": "tag"}, "metrics.visitors.of: first_seen takes string or long or double or bool"),
        ({"of": "nobody"}, "there is no column 'nobody'"),
        ({"by": ["tag"]}, "metrics.visitors.by: first_seen takes single-valued columns"),
        ({"windows": [{"session": "1h"}]}, "metrics.visitors.windows: first_seen takes tumbling and sliding"),
        ({"rate": 0.9}, "less than or equal to 0.5"),
        ({"capacity": 0}, "greater than or equal to 1"),
        ({"remember": "1ms"}, "greater than or equal to 1000"),
        ({"value_shards": 0}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_is_refused_by_key(options: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        Plan.model_validate(plan(**options))
