"""Simulated payments: each planted fraud breaks the limit of its kind, and nothing else breaks any."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from math import asin, cos, radians, sin, sqrt
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flink_job.cli import main
from flink_job.simulation.payers import Payers
from flink_job.simulation.simulation import Simulation, SimulatorSpec

Event = dict[str, Any]
KINDS = {"large", "risky_country", "first_large", "outlier", "velocity", "travel", "many_cards"}
SMALL = {"scenario": "payments", "users": 800, "event_rate": 0.5}
START_MS = 1_767_225_600_000
MINUTE_MS = 60_000
SPOILED = Simulation(SimulatorSpec(**SMALL, events=20_000, disorder="9s", bad_share=0.1, fraud_share=0.05))
LINES = SPOILED.chunk(0, 20_000).splitlines(keepends=True)


def payments(**options: Any) -> list[Event]:
    spec = SimulatorSpec(**{"scenario": "payments"} | options)
    return [json.loads(line) for line in Simulation(spec).chunk(0, spec.events).splitlines()]


def km(a: Event, b: Event) -> float:
    """The way along a great circle, by the haversine formula."""
    north, east = radians(b["lat"] - a["lat"]), radians(b["lon"] - a["lon"])
    chord = sin(north / 2) ** 2 + cos(radians(a["lat"])) * cos(radians(b["lat"])) * sin(east / 2) ** 2
    return 2 * 6371 * asin(sqrt(chord))


def deviations(amounts: list[float], amount: float) -> tuple[float, float]:
    """How many standard deviations an amount is above others: those of the others, and of a sample."""
    mean = sum(amounts) / len(amounts)
    squares = sum((other - mean) ** 2 for other in amounts)
    return (amount - mean) / sqrt(squares / len(amounts)), (amount - mean) / sqrt(
        squares / (len(amounts) - 1)
    )


def judge(event: Event, past: list[Event]) -> set[str]:
    """The limits that a payment breaks, given all earlier ones of its user in their order."""
    recent = [other for other in [*past, event] if event["ts"] - other["ts"] < 10 * MINUTE_MS]
    hour = [other for other in [*past, event] if event["ts"] - other["ts"] < 60 * MINUTE_MS]
    broken = {
        "large": event["amount"] > 10_000,
        "risky_country": event["country"] in ("IR", "KP", "MM"),
        "first_large": not past and event["amount"] > 1_000,
        "velocity": len(recent) > 5 and sum(other["amount"] for other in recent) > 400,
        "many_cards": len({other["card_id"] for other in hour}) > 3,
        "travel": bool(past)
        and km(past[-1], event) / max((event["ts"] - past[-1]["ts"]) / 3_600_000, 1 / 3600) > 900,
        "outlier": False,
    }
    if len(past) >= 5 and event["amount"] > 100:
        above, of_sample = deviations([other["amount"] for other in past], event["amount"])
        broken["outlier"] = above > 6
        assert broken["outlier"] == (of_sample > 6)  # whichever is meant
    return {kind for kind, is_broken in broken.items() if is_broken}


def with_past(events: list[Event]) -> Iterator[tuple[Event, list[Event]]]:
    past: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        yield event, past[event["user_id"]]
        past[event["user_id"]].append(event)


def label(event: Event) -> set[str]:
    return {event["planted"]} if "planted" in event else set()


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1, "users": 800, "event_rate": 0.5, "events": 20_000},
        {"seed": 2, "users": 150, "event_rate": 0.1, "events": 8_000, "disorder": "10s"},
        {"seed": 4, "users": 600, "event_rate": 0.4, "events": 20_000, "bad_share": 0.2},
        {"seed": 2**64 - 1, "users": 900, "event_rate": 0.6, "events": 15_000, "fraud_share": 0.0},
        *(
            pytest.param(options, marks=pytest.mark.slow)
            for options in (
                {"seed": 3, "users": 4_321, "event_rate": 0.14, "events": 200_000, "fraud_share": 0.005},
                {"seed": 42, "events": 400_000, "disorder": "10s", "fraud_share": 0.01},
                {"seed": 5, "users": 31_001, "event_rate": 20.0, "events": 600_000},
            )
        ),
    ],
)  # fmt: skip
def test_exactly_the_planted_frauds_break_a_limit_each_that_of_its_kind(options: dict[str, Any]) -> None:
    spec = SimulatorSpec(**{"scenario": "payments", "fraud_share": 0.05} | options)
    lines = Simulation(spec).chunk(0, spec.events).splitlines()
    found: Counter[str] = Counter()
    for event, past in with_past([event for event in map(read, lines) if event is not None]):
        assert judge(event, past) == label(event), event
        found.update(label(event))
    assert set(found) == (KINDS if spec.fraud_share else set())


def read(line: bytes) -> Event | None:
    """A payment, or None where the event is bad."""
    try:
        event = json.loads(line.decode())
    except ValueError:
        return None
    if "user_id" not in event or isinstance(event["amount"], str) or event["amount"] < 0:
        return None
    return event


def test_honest_payments_come_near_to_limits() -> None:
    """So that a rule that is a little wrong speaks where it must not."""
    fast = cards = 0
    highest, firsts, furthest = 0.0, 0.0, 0.0
    for event, past in with_past(payments(**SMALL, events=25_000)):
        if label(event):
            continue
        recent = [other for other in [*past, event] if event["ts"] - other["ts"] < 10 * MINUTE_MS]
        fast += len(recent) > 5
        cards += len({other["card_id"] for other in past}) == 2
        highest = max(highest, event["amount"])
        firsts = max(firsts, event["amount"] if not past else 0)
        if len(past) >= 5:
            furthest = max(furthest, deviations([other["amount"] for other in past], event["amount"])[0])
    assert fast > 30 and cards > 1_000
    assert 900 < highest <= 960 and 900 < firsts <= 960
    assert 1.5 < furthest < 3


def test_shares_are_as_documented() -> None:
    events = payments(**SMALL, events=100_000, fraud_share=0.05)[20_000:]
    found = Counter(event["planted"] for event in events if "planted" in event)
    shares = dict.fromkeys(("large", "risky_country", "first_large", "outlier"), 3 / 14)
    shares |= {"velocity": 5 / 56, "many_cards": 1 / 28, "travel": 1 / 56}
    at_once = {"velocity": 5, "many_cards": 2}  # frauds of one episode come together
    for kind, share in shares.items():
        expected = share * 0.05 * len(events)
        assert abs(found[kind] - expected) < 5 * (expected * at_once.get(kind, 1)) ** 0.5, kind


def test_users_come_pay_once_in_a_round_and_go() -> None:
    events = payments(**SMALL, events=40_000, fraud_share=0.0)
    round_ms = 768 * 2_000  # 6 blocks of 8 lanes of 16 numbers each, at most 800
    times: dict[str, list[int]] = defaultdict(list)
    for event in events:
        times[event["user_id"]].append(event["ts"])
    until = events[-1]["ts"] - 2 * round_ms
    whole = [own for own in times.values() if own[0] > START_MS + round_ms and own[-1] < until]
    assert len(whole) > 1_000 and {len(own) for own in whole} == {15, 16, 31}  # 31 with a rush at the end
    gaps = [later - earlier for own in whole if len(own) < 31 for earlier, later in pairwise(own)]
    assert all(abs(gap - round_ms) <= 8 * MINUTE_MS for gap in gaps)
    assert len(set(gaps)) > 20


def test_every_payment_has_exactly_the_documented_fields() -> None:
    for number, event in enumerate(payments(**SMALL, events=5_000)):
        event.pop("planted", None)
        assert list(event) == [
            "payment_id", "user_id", "card_id", "amount", "country", "merchant", "lat", "lon", "ts"
        ]  # fmt: skip
        assert event["payment_id"] == f"p{number:012d}"
        assert event["user_id"][0] == "u" and len(event["user_id"]) == 13
        assert event["card_id"][:-2] == "c" + event["user_id"][1:] and event["card_id"][-2] == "-"
        assert isinstance(event["amount"], float) and round(event["amount"], 2) == event["amount"] > 0
        assert len(event["country"]) == 2 and event["merchant"][:5] == "shop_"
        assert isinstance(event["lat"], float) and isinstance(event["lon"], float)
        assert event["ts"] == START_MS + 2_000 * number


@given(first=st.integers(0, 19_999), count=st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_any_chunk_is_the_same_part_of_the_whole(first: int, count: int) -> None:
    assert SPOILED.chunk(first, count) == b"".join(LINES[first : first + count])


def test_an_endless_simulation_reaches_far_payments() -> None:
    endless = Simulation(SimulatorSpec(scenario="payments", events=None, event_rate=200.0, users=10**6))
    event = json.loads(endless.chunk(999_999_999_999, 1))
    assert event["payment_id"] == "p999999999999" and len(event["user_id"]) == 13


def test_bad_events_are_of_users_who_have_no_good_ones() -> None:
    good = Simulation(SPOILED.spec.model_copy(update={"bad_share": 0.0})).chunk(0, 20_000).splitlines(True)
    bad_users, good_users = set(), set()
    kinds: Counter[str] = Counter()
    for line, unspoiled in zip(LINES, good, strict=True):
        user = json.loads(unspoiled)["user_id"]
        if read(line) is None:
            bad_users.add(user)
            kinds[kind_of(line)] += 1
            assert b'"planted"' not in line
        else:
            good_users.add(user)
            assert line == unspoiled
    assert not bad_users & good_users
    assert set(kinds) == {"truncated", "wrong_type", "missing_user", "negative_value", "not_utf8"}
    assert 0.05 < sum(kinds.values()) / 20_000 < 0.15


def kind_of(line: bytes) -> str:
    try:
        event = json.loads(line.decode())
    except UnicodeDecodeError:
        return "not_utf8"
    except json.JSONDecodeError:
        return "truncated"
    if "user_id" not in event:
        return "missing_user"
    return "wrong_type" if isinstance(event["amount"], str) else "negative_value"


@pytest.mark.parametrize("event_rate", [0.1, 0.134, 0.2, 0.35, 1.0, 2.0, 30.0])
@pytest.mark.parametrize("pause_s", [1500, 1517.3, 2000, 3333])
def test_whatever_the_rates_lanes_and_rounds_are_as_long_as_labels_need_it(
    event_rate: float, pause_s: float
) -> None:
    users = int(pause_s * event_rate) + 1
    payers = Payers(1, users, event_rate, 0.0, 0.0).turns(np.arange(2 * users)).payers
    own_team = np.flatnonzero(payers // 16 == payers[0] // 16)
    (step,) = set(np.diff(own_team[:16]).tolist())
    assert 15 <= step / event_rate <= 30
    assert 20 * 60 <= (own_team[16] - own_team[0]) / event_rate <= pause_s + 1 / event_rate
    assert len(set(payers[own_team[:16]])) == 16


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fraud_share": 0.01}, "fraud_share: needs scenario payments"),
        ({"scenario": "payments", "fraud_share": 0.06}, "less than or equal to 0.05"),
        ({"scenario": "payments", "users": 100}, "users: expected 3000 to 172800 with .* got 100"),
        ({"scenario": "payments", "event_rate": 100}, "users: expected 150000 to 8640000"),
        ({"scenario": "payments", "event_rate": 0.01}, "event_rate: expected at least 0.1 .* got 0.01"),
        ({"scenario": "payments", "disorder": "11s"}, "disorder: expected at most 10s with .* got 11s"),
        ({"scenario": "bank"}, "'shop' or 'payments'"),
    ],
)  # fmt: skip
def test_a_wrong_spec_is_refused_with_what_is_allowed(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SimulatorSpec(**options)


def test_the_command_writes_payments_of_any_time_and_names_wrong_options() -> None:
    def simulate(*options: str) -> Any:
        return CliRunner().invoke(main, ("simulate", "--scenario", "payments", "--events", "50", *options))

    ran = simulate("--event-rate", "10", "--users", "20000", "--start", "2026-03-01T12:00:00Z")
    events = [json.loads(line) for line in ran.stdout.splitlines()]
    assert [event["ts"] - 1_772_366_400_000 for event in events] == list(range(0, 5_000, 100))
    for options, told in (
        (("--users", "10"), "--users: expected 3000 to 172800"),
        (("--fraud-share", "1"), "--fraud-share: expected less than or equal to 0.05, got 1.0"),
        (("--scenario", "shop", "--fraud-share", "0.01"), "--fraud-share: needs scenario payments"),
        (("--start", "soon"), "--start: expected an ISO time such as 2026-01-01T00:00:00Z, got 'soon'"),
    ):
        ran = simulate(*options)
        assert ran.exit_code == 2 and told in ran.stderr, ran.output
