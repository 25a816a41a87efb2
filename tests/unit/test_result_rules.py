"""Rules on results."""

from __future__ import annotations

import json
import random
import statistics
from collections.abc import Callable
from hashlib import blake2b
from typing import Any

import pytest
from rule_inputs import MINUTE, Running, plan, result, retraction, rule, said

from operators.rules.rule_spec import Rule

LATE = {"name": "visits", "kind": "count", "by": ["user"], "windows": [{"tumbling": "1m"}],
        "allowed_lateness": "3m"}  # fmt: skip


def test_a_rule_speaks_once_when_it_begins_to_hold_and_once_when_it_is_over() -> None:
    running = Running(plan(), [rule()])
    alerts = [said(running.send(result(end, value))) for end, value in enumerate((5, 11, 12, 10, 3, 20), 1)]
    assert alerts == [[], [("firing", "many", 2)], [], [("resolved", "many", 4)], [], [("firing", "many", 6)]]


def test_an_alert_says_which_window_and_values_it_is_about() -> None:
    running = Running(plan(), [rule(text="{user} came {value} times, {window_end_ms}", severity="critical")])
    running.now_ms = 77
    (firing,) = running.send(one := result(2, 11))
    (resolved,) = running.send(other := result(3, 9))
    assert firing.pop("id") == resolved.pop("id")
    common = {"pipeline": "shop", "rule": "many", "version": 1, "severity": "critical", "key": {"user": "a"}}
    assert firing == common | {
        "status": "firing",
        "values": {"user": "a", "value": 11, "window_end_ms": 120_000},
        "event_time_ms": 120_000,
        "raised_ms": 77,
        "text": "a came 11 times, 120000",
        "metric": "visits",
        "window": one["window"],
        "result_id": one["id"],
    }
    assert (resolved["status"], resolved["window"], resolved["result_id"]) == (
        "resolved",
        other["window"],
        other["id"],
    )


def test_alerts_have_different_ids_by_key_rule_and_begin() -> None:
    running = Running(plan(), [rule(), rule(name="more", when="value > 15")])
    alerts = running.send(
        *(result(end, value, user=user) for user in "ab" for end, value in ((1, 20), (2, 1), (3, 20)))
    )
    fired = [alert["id"] for alert in alerts if alert["status"] == "firing"]
    assert len(fired) == len(set(fired)) == 8


def test_clear_can_be_another_condition_than_the_opposite() -> None:
    running = Running(plan(), [rule(clear="value < 5")])
    alerts = [said(running.send(result(end, value))) for end, value in enumerate((11, 7, 20, 4), 1)]
    assert alerts == [[("firing", "many", 1)], [], [], [("resolved", "many", 4)]]


def test_a_null_value_neither_begins_nor_ends_anything() -> None:
    average = {
        "name": "visits",
        "kind": "stats",
        "of": "amount",
        "by": ["user"],
        "windows": [{"tumbling": "1m"}],
    }
    running = Running(plan(average), [rule(when="mean > 10")])

    def stats(end: int, mean: float | None) -> dict[str, Any]:
        known = {
            "count": 0 if mean is None else 1,
            "min": mean,
            "max": mean,
            "mean": mean,
            "stddev": mean and 0.0,
        }
        return result(end, None) | {"stats": known}

    alerts = [said(running.send(stats(end, mean))) for end, mean in enumerate((None, 11.0, None, 3.0), 1)]
    assert alerts == [[], [("firing", "many", 2)], [], [("resolved", "many", 4)]]


def test_a_later_revision_takes_back_or_begins_what_the_earlier_one_said() -> None:
    running = Running(plan(LATE), [rule()])
    assert said(running.send(result(1, 11))) == [("firing", "many", 1)]
    assert said(running.send(result(1, 10, revision=1))) == [("resolved", "many", 1)]
    assert running.send(result(2, 1)) == []
    assert said(running.send(result(1, 12, revision=2))) == [("firing", "many", 1), ("resolved", "many", 1)]
    assert running.send(result(1, 50, revision=1)) == [], "an earlier revision says nothing"


def test_a_retracted_window_is_taken_out_of_what_was_before() -> None:
    running = Running(plan(LATE), [rule(when="value > 2 * previous", before=3)])
    assert running.send(result(1, 10), result(2, 100)) != []
    assert said(running.send(retraction(2, 1))) == [("resolved", "many", 2)]
    (alert,) = running.send(result(3, 21))
    assert alert["values"]["previous"] == 10


def test_a_session_that_became_part_of_another_is_taken_out() -> None:
    sessions = {"name": "visits", "kind": "count", "by": ["user"], "windows": [{"session": "1m"}]}
    running = Running(plan(sessions), [rule()])

    def session(start: int, end: int, **more: Any) -> dict[str, Any]:
        window = {"type": "session", "start_ms": start, "end_ms": end, "gap_ms": MINUTE}
        return result(1, more.pop("value", 0)) | {"window": window} | more

    assert [a["status"] for a in running.send(session(0, 70_000, value=11))] == ["firing"]
    assert [a["status"] for a in running.send(session(90_000, 160_000, value=12))] == []
    gone = {"retracted": True, "revision": 1, "events": 0}
    assert running.send(session(90_000, 160_000) | gone) == []
    assert running.send(session(0, 160_000, value=25, revision=1)) == [], "it goes on from the same start"
    assert [a["status"] for a in running.send(session(300_000, 370_000, value=1))] == ["resolved"]


def test_a_rule_is_on_the_window_that_it_names() -> None:
    several = [{"tumbling": "1m"}, {"tumbling": "1m", "offset": "30s"}, {"sliding": "2m", "every": "1m"}]
    metric = {"name": "visits", "kind": "count", "by": ["user"], "windows": several}
    running = Running(plan(metric), [rule(window=several[1])])
    assert running.send(result(1, 50)) == []
    sliding = {"type": "sliding", "start_ms": 0, "end_ms": 120_000, "size_ms": 120_000, "every_ms": 60_000}
    assert running.send(result(2, 50) | {"window": sliding}) == []
    assert said(running.send(result(1.5, 50))) == [("firing", "many", 1.5)]


def test_items_are_looked_at_one_by_one() -> None:
    top = {"name": "visits", "kind": "top_k", "of": "item", "by": ["user"], "windows": [{"tumbling": "1m"}],
           "allowed_lateness": "1m"}  # fmt: skip
    running = Running(
        plan(top), [rule(when="count > 10 and (previous is null or count > previous)", before=2)]
    )

    def items(end: int, revision: int = 0, **counts: int) -> dict[str, Any]:
        told = [{"item": item, "count": n, "lower": n, "upper": n} for item, n in counts.items()]
        return result(end, None, revision) | {"items": told}

    alerts = running.send(items(1, x=11, y=12, z=3))
    assert [alert["key"] for alert in alerts] == [{"user": "a", "item": "x"}, {"user": "a", "item": "y"}]
    assert alerts[0]["values"] == {"count": 11, "previous": None}
    alerts = running.send(items(2, x=11, z=20))
    assert [(alert["key"]["item"], alert["status"]) for alert in alerts] == [
        ("x", "resolved"),
        ("z", "firing"),
    ]
    alerts = running.send(items(2, revision=1, x=30))
    told = [(alert["key"]["item"], alert["status"]) for alert in alerts]
    assert told == [("x", "firing"), ("z", "resolved")], "x goes on from the first window, z is taken out"


def test_what_was_in_windows_before_is_that_of_the_statistics_module() -> None:
    values = [5, 9, 1, 7, 7, 30, 2]
    text = "{previous} {mean_before} {stddev_before} {median_before} {mad_before} {count_before}"
    running = Running(plan(), [rule(when="value >= 0", clear="value >= 0", before=4, text=text)])
    for end, value in enumerate(values, 1):
        (alert,) = running.send(result(end, value))
        before = values[max(0, end - 5) : end - 1]
        told = alert["values"]
        assert told["count_before"] == len(before)
        if not before:
            assert {told[name] for name in told.keys() - {"value", "count_before"}} == {None}
            continue
        median = statistics.median(before)
        assert told["previous"] == before[-1]
        assert told["mean_before"] == pytest.approx(statistics.fmean(before))
        assert told["stddev_before"] == pytest.approx(statistics.pstdev(before))
        assert told["median_before"] == median
        assert told["mad_before"] == statistics.median(abs(value - median) for value in before)


class Model:
    """One rule on `visits` of one key, computed anew from all windows for every result.

    Args:
        when: of value and the values of the windows before.
        clear: the same; by default the opposite.
        before: how many windows before.
        in_a_row: for how many windows `when` has to hold.
    """

    def __init__(self, when: Callable, clear: Callable | None, before: int, in_a_row: int) -> None:
        self.when, self.clear = when, clear or (lambda *own: not when(*own))
        self.before, self.in_a_row = before, in_a_row
        self.windows: dict[int, tuple[int, bool, bool]] = {}
        self.said: dict[int, bool] = {}

    def take(self, end: int, value: int | None) -> set[tuple[str, int]]:
        """Take a result, or None for a retraction; return what is to be said."""
        self.windows.pop(end, None)
        if value is not None:
            earlier = [own[0] for at, own in sorted(self.windows.items()) if at < end][-self.before :]
            self.windows[end] = value, self.when(value, earlier), self.clear(value, earlier)
        spells, since, row = {}, None, 0
        for at, (_, when, clear) in sorted(self.windows.items()):
            if since is not None:
                if clear:
                    spells[since], since, row = False, None, 0
                continue
            row = row + 1 if when else 0
            if row == self.in_a_row:
                since, row = at, 0
                spells[since] = True
        turns = {("resolved", at) for at, on in self.said.items() if on and not spells.get(at, False)}
        turns |= {
            ("firing", at) for at, on in spells.items() if at not in self.said or (on and not self.said[at])
        }
        turns |= {("resolved", at) for at, on in spells.items() if at not in self.said and not on}
        self.said = spells
        return turns


CASES = [
    ({"when": "value > 10"}, lambda value, _: value > 10, None, 1, 1),
    ({"when": "value > 10", "for": 3}, lambda value, _: value > 10, None, 1, 3),
    (
        {"when": "value > 12", "clear": "value < 5"},
        lambda value, _: value > 12,
        lambda value, _: value < 5,
        1,
        1,
    ),
    (
        {"when": "value > 2 * median_before", "before": 3, "for": 2},
        lambda value, before: bool(before) and value > 2 * statistics.median(before),
        lambda value, before: bool(before) and not value > 2 * statistics.median(before),
        3,
        2,
    ),
    (
        {"when": "value > previous and count_before >= 2", "before": 2, "clear": "value < mean_before"},
        lambda value, before: len(before) >= 2 and value > before[-1],
        lambda value, before: bool(before) and value < statistics.fmean(before),
        2,
        1,
    ),
]


def alert_id(user: str, end: int) -> str:
    """The id of an alert of rule `r` that began at the minute that ends then."""
    subject = json.dumps([[user], (end - 1) * MINUTE], separators=(",", ":"))
    named = json.dumps(["alert", "shop", "r"], separators=(",", ":"))
    return blake2b((named + subject).encode(), digest_size=16).hexdigest()


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", range(len(CASES)))
def test_what_is_said_is_what_a_model_says_that_keeps_all_windows(case: int, seed: int) -> None:
    options, when, clear, before, in_a_row = CASES[case]
    chance = random.Random(100 * case + seed)
    running = Running(plan(LATE), [Rule.model_validate({"name": "r", "metric": "visits"} | options)])
    models = {user: Model(when, clear, before, in_a_row) for user in "abc"}
    revisions: dict[tuple[str, int], int] = {}
    ends = dict.fromkeys("abc", 0)
    for _ in range(250):
        user, late = chance.choice("abc"), chance.random()
        if late < 0.35 and ends[user]:
            end = max(1, ends[user] - chance.randrange(3))
        else:
            end = ends[user] = ends[user] + chance.choice((1, 1, 1, 2))
        seen = revisions.get((user, end), -1)
        revisions[user, end] = seen + 1
        value = None if seen >= 0 and chance.random() < 0.2 else chance.randrange(20)
        sent = retraction(end, seen + 1, user) if value is None else result(end, value, seen + 1, user)
        expected = models[user].take(end, value)
        alerts = running.send(sent)
        assert all(alert["event_time_ms"] == end * MINUTE for alert in alerts)
        told = {(alert["status"], alert["id"]) for alert in alerts}
        assert told == {(status, alert_id(user, at)) for status, at in expected}, (sent, alerts)
        if chance.random() < 0.1:
            running = running.restarted()
