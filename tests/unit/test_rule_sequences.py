"""Sequences against a look through all events of a card: deadlines, orders, restarts, changes, silence."""

from __future__ import annotations

import random
from typing import Any

import pytest
from rule_job import RuleJob, plan

WITHIN_MS = 60_000
UNPAID = {"name": "unpaid", "when": "shop = 'order'", "unless": "shop = 'pay'", "within": "1m"}
QUICK = {"name": "quick", "when": "shop = 'order'", "then": "shop = 'pay'", "within": "1m"}
BEGINS = {"order", "both"}
ENDS = {"pay", "both"}


def two_rules() -> list[dict[str, Any]]:
    begins, ends = "shop in ('order', 'both')", "shop in ('pay', 'both')"
    return [{**UNPAID, "when": begins, "unless": ends}, {**QUICK, "when": begins, "then": ends}]


def event(shop: str, t: int, card: str = "a", **more: Any) -> dict[str, Any]:
    return {"card": card, "shop": shop, "t": t, **more}


def expected(events: list[dict[str, Any]]) -> set[tuple[str, int]]:
    """Return which rule speaks of which event, by its number."""
    told = set()
    for card in {one["card"] for one in events}:
        own, clock = [], 0
        for number, one in enumerate(events):
            if one["card"] == card:
                clock = max(clock, one["t"])
                own.append((clock, one["shop"], number))
        told |= {("unpaid", number) for number in unpaid(own)} | {("quick", number) for number in quick(own)}
    return told


def unpaid(own: list[tuple[int, str, int]]) -> list[int]:
    """Go from one order that waits to the next: that at which a payment came, or the first after its time."""
    told, at = [], 0
    while at < len(own):
        clock, shop, number = own[at]
        if shop not in BEGINS:
            at += 1
            continue
        later = range(at + 1, len(own))
        paid = next((n for n in later if own[n][1] in ENDS and own[n][0] <= clock + WITHIN_MS), None)
        if paid is not None:
            at = paid
        else:
            told.append(number)
            at = next((n for n in later if own[n][0] > clock + WITHIN_MS), len(own))
    return told


def quick(own: list[tuple[int, str, int]]) -> list[int]:
    """A payment is told where the last order before it, after the payment before, was not long ago."""
    told = []
    for at, (clock, shop, number) in enumerate(own):
        if shop in ENDS:
            since = max((n for n in range(at) if own[n][1] in ENDS), default=0)
            orders = [own[n][0] for n in range(since, at) if own[n][1] in BEGINS]
            if orders and clock <= orders[-1] + WITHIN_MS:
                told.append(number)
    return told


def random_events(chance: random.Random) -> list[dict[str, Any]]:
    now, events = 1_700_000_000_000, []
    for _ in range(150):
        now += chance.choice([0, 1, 999, 10_000, 30_000, 60_000, 60_001])
        shop = chance.choice(["order", "order", "pay", "both", "look", None])
        events.append({"card": chance.choice("abc"), "shop": shop, "t": now - chance.randint(0, 15_000)})
    return events


@pytest.mark.parametrize("seed", range(12))
def test_sequences_speak_as_a_look_through_all_events_says(seed: int) -> None:
    chance = random.Random(seed)
    events = random_events(chance)
    spec = plan({}, *two_rules())
    job, alerts, at = RuleJob(spec), [], 0
    while at < len(events):
        size = chance.choice([1, 1, 3, 20])
        alerts += job.send(*events[at : at + size])
        at += size
        if at < len(events) and chance.random() < 0.7:  # no event is late
            alerts += job.move_watermark(min(one["t"] for one in events[at:]) - 1)
        if chance.random() < 0.2:
            job = RuleJob(spec, after=job)
    alerts += job.end()
    found = [(alert["rule"], alert["source"]["offset"]) for alert in alerts]
    assert len(found) == len(set(found)) and set(found) == expected(events)


def test_a_missing_event_is_told_at_the_deadline_and_about_the_event_before() -> None:
    job = RuleJob(plan({"n_events": {"kind": "count", "within": "1h"}}, UNPAID, id="id"))
    assert job.send(event("order", 10_500, id="tx", amount=5.0)) == []
    assert job.move_watermark(70_499) == [] and job.move_watermark(70_999) == []
    job.now_ms = 99
    (alert,) = job.move_watermark(71_000)
    assert (
        alert["event_id"] == "tx" and alert["event"]["amount"] == 5.0 and alert["features"] == {"n_events": 1}
    )
    assert (alert["event_time_ms"], alert["due_ms"], alert["raised_ms"]) == (10_500, 70_500, 99)
    assert alert["key"] == {"card": "a"} and alert["values"] == {"shop": "order"}
    assert job.end() == [] and job.runner.alerts == {"unpaid": 1}


def test_the_id_of_an_alert_is_the_same_whether_events_or_the_watermark_are_first() -> None:
    ids = set()
    for by_event in (True, False):
        job = RuleJob(plan({}, UNPAID))
        job.send(event("order", 0))
        (alert,) = job.send(event("look", 60_001)) if by_event else job.move_watermark(60_000)
        ids.add(alert["id"])
    assert len(ids) == 1


def test_an_event_at_the_deadline_is_in_time_and_one_a_millisecond_later_is_not() -> None:
    for rule, at_deadline, later in ((UNPAID, 0, 1), (QUICK, 1, 0)):
        for t, count in ((60_000, at_deadline), (60_001, later)):
            job = RuleJob(plan({}, rule))
            assert len(job.send(event("order", 0), event("pay", t)) + job.end()) == count


def test_several_before_one_that_ends_them_raise_one_alert_about_the_end() -> None:
    job = RuleJob(plan({}, QUICK, id="id"))
    orders = [event("order", t, id=f"o{t}") for t in (0, 30_000, 55_000)]
    (alert,) = job.send(*orders, event("pay", 110_000, id="p"), event("pay", 111_000, id="p2"))
    assert alert["event_id"] == "p" and alert["event_time_ms"] == 110_000
    assert alert["began"] == {"event_id": "o55000", "source": {"offset": 2}, "event_time_ms": 55_000}


def test_a_card_ends_only_its_own_sequences() -> None:
    job = RuleJob(plan({}, UNPAID))
    job.send(event("order", 0), event("pay", 1, card="b"))
    assert [alert["key"] for alert in job.move_watermark(60_000)] == [{"card": "a"}]


def test_what_waits_follows_the_rule_as_it_is_now() -> None:
    job = RuleJob(plan({}, UNPAID))
    job.send(event("order", 0), event("look", 1, card="b"))
    job.change("unpaid", 2, {**UNPAID, "within": "2m", "severity": "critical"})
    assert job.move_watermark(61_000) == []
    (alert,) = job.move_watermark(120_000)
    assert (alert["version"], alert["severity"], alert["due_ms"]) == (2, "critical", 120_000)


def test_a_rule_that_waits_less_by_now_speaks_at_the_next_look() -> None:
    job = RuleJob(plan({}, UNPAID, shards=1))
    job.send(event("order", 0))
    job.change("unpaid", 2, {**UNPAID, "within": "10s"})
    job.send(event("look", 1, card="b"))
    assert [alert["due_ms"] for alert in job.move_watermark(10_000)] == [10_000]


@pytest.mark.parametrize("rule", [None, {**UNPAID, "enabled": False}, {"when": "shop = 'order'"}])
def test_what_waits_for_a_rule_that_is_out_of_force_is_dropped(rule: dict[str, Any] | None) -> None:
    job = RuleJob(plan({}, UNPAID))
    job.send(event("order", 0))
    job.change("unpaid", 2, rule)
    assert job.end() == []
    job.change("unpaid", 3, UNPAID)
    assert job.send(event("look", 900_000)) == []


def test_deadlines_are_found_again_after_a_restart_though_nothing_comes() -> None:
    spec = plan({}, UNPAID)
    job = RuleJob(spec)
    job.send(event("order", 0), event("order", 5_000, card="b"), event("pay", 6_000, card="b"))
    job = RuleJob(spec, after=job)
    assert [alert["key"] for alert in job.move_watermark(60_000)] == [{"card": "a"}]
    assert RuleJob(spec, after=job).end() == []


def test_a_late_event_that_begins_a_sequence_has_its_deadline_all_the_same() -> None:
    job = RuleJob(plan({}, UNPAID, shards=1))
    job.send(event("order", 0))
    assert len(job.move_watermark(60_000)) == 1
    job.send(event("order", 0, card="b"), event("order", 200, card="c"))
    assert len(job.move_watermark(62_000)) == 2


def test_an_entity_that_waits_is_not_forgotten() -> None:
    job = RuleJob(plan({}, {**UNPAID, "within": "5h"}, remember="1h"))
    job.send(event("order", 0), event("look", 0, card="b"))
    job.move_watermark(4 * 3_600_000)
    assert job.entities() == {"a"}
    assert len(job.move_watermark(5 * 3_600_000)) == 1
    job.move_watermark(7 * 3_600_000)
    assert job.entities() == set()


def test_an_entity_comes_back_after_it_was_forgotten_and_still_waits() -> None:
    job = RuleJob(plan({"new": {"kind": "first"}}, {**QUICK, "within": "5h"}, remember="1h"))
    (alert,) = job.send(event("order", 0), event("pay", 4 * 3_600_000))
    assert alert["features"] == {"new": True}


def test_an_entity_that_has_waited_is_not_there_again_when_the_time_is_over() -> None:
    job = RuleJob(plan({}, {**UNPAID, "within": "5h"}, remember="1h"))
    job.send(event("order", 7), event("look", 9 * 1_800_000, card="b"))
    job.send(event("pay", 8))
    job.move_watermark(5 * 3_600_000 + 1_000)
    assert job.entities() == {"b"}


def test_an_entity_that_waits_for_two_rules_is_looked_at_for_each() -> None:
    sooner = {**UNPAID, "name": "sooner", "within": "10s", "when": "shop = 'both'"}
    job = RuleJob(plan({}, UNPAID, sooner))
    job.send(event("order", 0))
    job.send(event("both", 1_000))
    assert [alert["rule"] for alert in job.move_watermark(59_999)] == ["sooner"]
    assert [alert["rule"] for alert in job.move_watermark(200_000)] == ["unpaid"]


def test_deadlines_pass_by_the_wall_clock_while_the_source_is_silent() -> None:
    idle = {"on_idle": "advance", "idle_timeout": "10s", "out_of_orderness": "1s"}
    for event_options, raised in ((idle, 1), ({**idle, "on_idle": "wait"}, 0)):
        job = RuleJob(plan({}, UNPAID, event=event_options))
        job.now_ms = 1_000_000
        job.send(event("order", 50_000), event("look", 51_000))
        job.move_watermark(50_000)
        alerts = []
        for second in range(1, 80):
            alerts += job.pass_time(1_000_000 + second * 1000)
            assert not alerts or second >= 60
        assert len(alerts) == raised


def test_beats_tell_that_the_source_is_alive_though_no_event_is_for_rules() -> None:
    idle = {"on_idle": "advance", "idle_timeout": "10s", "out_of_orderness": "1s"}
    job = RuleJob(plan({}, UNPAID, where="n is null", event=idle))
    job.now_ms = 1_000_000
    job.send(event("order", 50_000))
    for second in range(1, 80):
        job.now_ms = 1_000_000 + second * 1000
        job.send(event("look", 50_000, n=1))
        assert job.pass_time(job.now_ms) == []
