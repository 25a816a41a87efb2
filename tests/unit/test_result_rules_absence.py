"""Rules on results that are missing, and rules that change while the job runs."""

from __future__ import annotations

import random
from typing import Any

import pytest
from rule_inputs import MINUTE, Running, plan, result, retraction, rule, said

from operators.rules.rule_spec import Rule
from state.alarm_state import read_remembered

SECOND = 1000
DAY = 86_400_000
SILENT = {"name": "silent", "when": None, "absent_for": "5m"}


def remembered(running: Running) -> int:
    """How many keys there are in state."""
    return sum(
        len(read_remembered(stored))
        for own in running.map.shards.values()
        for name, stored in own.items()
        if name
    )


def test_a_key_without_a_result_for_long_is_told_once_and_again_when_it_is_back() -> None:
    running = Running(plan(), [rule(**SILENT)])
    assert running.send(result(1, 3), result(2, 3)) == []
    assert running.move_watermark(7 * MINUTE - 1) == []
    (firing,) = running.move_watermark(7 * MINUTE)
    assert (firing["status"], firing["event_time_ms"], firing["values"]) == ("firing", 7 * MINUTE, {})
    assert firing["window"] == result(2, 3)["window"] and firing["result_id"] == result(2, 3)["id"]
    assert running.move_watermark(100 * MINUTE) == []
    (resolved,) = running.send(back := result(101, 1))
    assert resolved["id"] == firing["id"] and resolved["status"] == "resolved"
    assert resolved["result_id"] == back["id"]
    assert said(running.move_watermark(106 * MINUTE)) == [("firing", "silent", 106)]


def test_alerts_of_a_value_and_of_absence_are_two_things() -> None:
    running = Running(plan(), [rule(absent_for="5m")])
    (value,) = running.send(result(1, 20))
    (absent,) = running.move_watermark(6 * MINUTE)
    assert value["id"] != absent["id"]
    alerts = running.send(result(10, 20))
    assert [(alert["status"], alert["id"]) for alert in alerts] == [("resolved", absent["id"])]
    assert [alert["id"] for alert in running.send(result(11, 1))] == [value["id"]]


@pytest.mark.parametrize("seed", range(5))
def test_who_is_absent_does_not_depend_on_how_the_watermark_moves(seed: int) -> None:
    chance = random.Random(seed)
    ends = {user: sorted(chance.sample(range(1, 200), chance.randrange(5, 60))) for user in "abcd"}
    results = sorted((end, user) for user, own in ends.items() for end in own)
    expected = set()
    for user, own in ends.items():
        for end, next_ in zip(own, [*own[1:], 10_000], strict=True):
            # The window that ends at `next_` comes at the watermark a millisecond before.
            if next_ * MINUTE - 1 > (end + 5) * MINUTE and end + 5 <= 250:
                expected.add(("firing", user, end + 5))
                if next_ < 10_000:
                    expected.add(("resolved", user, next_))
    for step in (1, 7, 500):
        running, told = Running(plan(), [rule(**SILENT)]), []
        for number, (end, user) in enumerate(results):
            told += running.send(result(end, 1, user=user))
            if number % step == 0:
                upcoming = results[number + 1][0] if number + 1 < len(results) else end
                told += running.move_watermark(upcoming * MINUTE - 1 if upcoming > end else end * MINUTE - 1)
            if chance.random() < 0.05:
                running = running.restarted()
        told += running.move_watermark(250 * MINUTE)
        seen = [(a["status"], a["key"]["user"], a["event_time_ms"] / MINUTE) for a in told]
        assert len(seen) == len(set(seen)) and set(seen) == expected


def test_the_end_of_the_input_makes_nobody_absent() -> None:
    running = Running(plan(), [rule(**SILENT)])
    running.send(result(1, 3))
    assert running.move_watermark(2**63 - 1) == []


def test_where_the_source_is_silent_the_wall_clock_tells_who_is_absent() -> None:
    running = Running(plan(), [rule(**SILENT)])
    running.pass_time(1000 * SECOND)
    running.send(result(1, 3), result(1, 3, user="b"))
    running.pass_time(1120 * SECOND)
    running.send(result(3, 3))
    running.move_watermark(3 * MINUTE - 1)
    assert running.pass_time(1299 * SECOND) == []
    assert [(a["status"], a["key"]["user"]) for a in running.pass_time(1300 * SECOND)] == [("firing", "b")]
    assert running.pass_time(1419 * SECOND) == []
    (firing,) = running.pass_time(1420 * SECOND)
    assert (firing["key"], firing["event_time_ms"]) == ({"user": "a"}, 8 * MINUTE)
    assert running.pass_time(9000 * SECOND) == []
    assert running.move_watermark(8 * MINUTE) == [], "it was told"
    (resolved,) = running.send(result(9, 1))
    assert resolved["id"] == firing["id"]


def test_while_the_source_is_not_silent_the_wall_clock_tells_nothing() -> None:
    running = Running(plan(), [rule(**SILENT)])
    running.send(result(1, 3))
    for second in range(1, 2000):
        assert running.pass_time(second * SECOND) == []
        running.move_watermark(MINUTE + second * 100)  # ten times slower than the clock
    assert said(running.move_watermark(6 * MINUTE)) == [("firing", "silent", 6)]


def test_a_silence_goes_on_over_a_restart() -> None:
    running = Running(plan(), [rule(**SILENT)])
    running.send(result(1, 3))
    running.pass_time(200 * SECOND)
    running = running.restarted()
    running.pass_time(290 * SECOND)
    assert [a["status"] for a in running.pass_time(320 * SECOND)] == ["firing"]


def test_keys_are_forgotten_after_a_week_and_what_was_said_of_them_is_taken_back() -> None:
    running = Running(plan(), [rule(absent_for="5m")])
    running.send(result(1, 20), result(1, 3, user="b"))
    running.move_watermark(MINUTE + 7 * DAY - 1)
    assert remembered(running) == 2
    alerts = running.move_watermark(MINUTE + 7 * DAY)
    assert sorted((a["status"], a["key"]["user"]) for a in alerts) == [("resolved", user) for user in "aab"]
    assert remembered(running) == running.runner.keys == 0


def test_no_more_windows_are_held_than_rules_compare_with() -> None:
    running = Running(plan(), [rule(when="value > mean_before", before=5), rule(name="row", **{"for": 3})])
    running.send(*(result(end, end) for end in range(1, 100)))
    (stored,) = (v for own in running.map.shards.values() for name, v in own.items() if name)
    (own,) = read_remembered(stored).values()
    assert len(own.windows) == 6 * 28 and {len(alarm.flags) for alarm in own.alarms} == {6}


def test_a_result_of_a_metric_without_rules_is_not_even_read() -> None:
    running = Running(plan())
    running.map.reads = 0
    running.send(result(1, 50))
    assert list(running.runner.on_results("visits/0", [b"no JSON"], running._clock())) == []
    assert running.map.reads == 0 and running.runner.results["visits"] == 2


def test_a_rule_that_is_changed_begins_anew_but_goes_on_to_speak() -> None:
    running = Running(plan(), [rule(**{"for": 2})])
    running.send(result(1, 11))
    running.change("many", 2, rule(when="value > 5", **{"for": 2}))
    assert running.send(result(2, 11)) == [], "windows before do not count for it"
    (firing,) = running.send(result(3, 6))
    assert firing["version"] == 2
    running.change("many", 3, rule(when="value > 4", **{"for": 2}))
    assert running.send(result(4, 5)) == []
    (resolved,) = running.send(result(5, 4))
    assert (resolved["id"], resolved["version"]) == (firing["id"], 3)
    running.change("many", 3, rule(when="value > 0"))
    assert running.send(result(6, 1), result(7, 1)) == [], "a version that is known changes nothing"


@pytest.mark.parametrize(
    "to", [None, rule(enabled=False), rule(metric="other"), Rule(name="many", when="amount > 3")]
)
@pytest.mark.parametrize("restart", [False, True])
def test_a_rule_that_is_gone_takes_back_what_it_said_at_the_next_result_of_the_key(
    to: Rule | None, restart: bool
) -> None:
    other = {"name": "other", "kind": "count", "by": ["user"], "windows": [{"tumbling": "1m"}]}
    visits = {"name": "visits", "kind": "count", "by": ["user"], "windows": [{"tumbling": "1m"}]}
    running = Running(plan(visits, other), [rule(absent_for="5m")])
    (firing,) = running.send(result(1, 20))
    running.send(result(1, 1, user="b"))
    running.move_watermark(6 * MINUTE)
    running.change("many", 2, to)
    if restart:
        running = running.restarted()
    alerts = running.send(result(7, 20), result(7, 20, user="b"), result(7, 20, user="c"))
    assert [(a["status"], a["key"]["user"], a["version"]) for a in alerts] == [
        ("resolved", "a", 2), ("resolved", "a", 2), ("resolved", "b", 2)
    ]  # fmt: skip
    assert firing["id"] in {alert["id"] for alert in alerts}
    assert running.send(result(8, 20), retraction(8, 1)) == []
    assert remembered(running) == 0


def test_a_rule_of_another_file_begins_anew_where_nobody_keeps_rules() -> None:
    before = Running(plan(), [rule()])
    assert said(before.send(result(1, 11))) == [("firing", "many", 1)]
    running = Running(plan(), [rule(when="value > 20", **{"for": 2})], before)
    assert said(running.send(result(2, 5))) == [("resolved", "many", 2)]
    assert running.send(result(3, 21)) == []
    assert said(running.send(result(4, 21))) == [("firing", "many", 4)]


def test_a_rule_comes_and_goes_while_the_job_runs() -> None:
    running = Running(plan())
    assert running.send(result(1, 20)) == []
    running.change("many", 1, rule(when="value > previous", before=2))
    assert running.send(result(2, 30)) == [], "it finds nothing before"
    assert said(running.send(result(3, 40))) == [("firing", "many", 3)]
    running.change("many", 2, None)
    assert said(running.send(result(4, 50))) == [("resolved", "many", 4)]
    running.change("many", 3, rule())
    running = running.restarted()
    (alert,) = running.send(result(5, 50))
    assert alert["version"] == 3


def test_a_rule_that_the_pipeline_cannot_run_any_more_is_off() -> None:
    running = Running(plan(), [rule(text="{value}")])
    running.send(result(1, 20))
    running.held = {}
    running.change("many", 2, rule(when="value > 11", text="{value}"))
    stats = {
        "name": "visits",
        "kind": "stats",
        "of": "amount",
        "by": ["user"],
        "windows": [{"tumbling": "1m"}],
    }
    after = Running(plan(stats), [], running)
    alerts: list[dict[str, Any]] = after.send(
        result(2, None) | {"stats": {"count": 1, "min": 1.0, "max": 1.0, "mean": 1.0, "stddev": 0.0}}
    )
    assert said(alerts) == [("resolved", "many", 2)]


def test_a_result_that_comes_with_the_very_watermark_is_in_time() -> None:
    running = Running(plan(), [rule(**SILENT | {"absent_for": "299999ms"})])
    running.send(result(1, 3))
    assert running.send(result(6, 3)) == [], "the window's result goes ahead of the watermark that ends it"
    assert running.move_watermark(6 * MINUTE - 1) == []
    assert said(running.send(result(12, 3))) == [
        ("firing", "silent", 11 - 1 / MINUTE),
        ("resolved", "silent", 12),
    ]


def test_a_rule_that_is_gone_takes_back_that_a_key_is_absent_at_a_revision_too() -> None:
    running = Running(plan(), [rule(**SILENT)])
    running.send(result(1, 3))
    running.move_watermark(6 * MINUTE)
    assert running.send(result(1, 4, revision=1)) == [], "an old window that changes is no sign of life"
    running.change("silent", 2, None)
    assert said(running.send(result(1, 5, revision=2))) == [("resolved", "silent", 1)]
