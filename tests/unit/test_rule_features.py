"""Features of an entity's past against lists that are looked through anew for every event."""

from __future__ import annotations

import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from statistics import fmean, pstdev
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_job import ALWAYS, RuleJob, features_of, plan

from operators.rules.windowed import MOST_EXACT, decimal_sum

REMEMBER_MS = 600_000
COLUMNS: dict[str, Any] = {
    "events": {"kind": "count", "within": "1m"},
    "paid": {"kind": "count", "within": "2m", "where": "ok"},
    "spent": {"kind": "sum", "of": "amount", "within": "1m"},
    "units": {"kind": "sum", "of": "n", "within": "3m", "where": "ok"},
    "shops": {"kind": "distinct", "of": "shop", "within": "1m"},
    "amounts": {"kind": "distinct", "of": "amount", "within": "10m", "where": "n > 3"},
    "new": {"kind": "first"},
    "unpaid": {"kind": "first", "where": "ok"},
    "gap": {"kind": "since"},
    "paid_gap": {"kind": "since", "where": "ok"},
    "before": {"kind": "previous", "of": "shop"},
    "was_ok": {"kind": "previous", "of": "ok", "where": "n > 3"},
    "odd": {"kind": "deviations", "of": "amount", "at_least": 3},
    "odd_n": {"kind": "deviations", "of": "n", "at_least": 2, "over": "all", "where": "ok"},
    "speed": {"kind": "speed", "latitude": "lat", "longitude": "lon"},
}
WHERE = {"ok": lambda e: e["ok"] is True, "n > 3": lambda e: e["n"] is not None and e["n"] > 3}


def random_events(chance: random.Random, count: int, disorder_ms: int = 20_000) -> list[dict[str, Any]]:
    """Return events of a few cards, with nulls, out of order, and now and then long after the one before."""
    events, now = [], 1_700_000_000_000
    for _ in range(count):
        now += chance.choice([0, 0, 1, 500, 7_000, 31_000, 60_000]) + (chance.random() < 0.02) * 700_000
        maybe = lambda value: None if chance.random() < 0.15 else value  # noqa: E731
        event = {
            "card": maybe(chance.choice("abcd")),
            "amount": maybe(chance.choice([0.1, 0.2, 19.99, -5.05, 1234.5])),
            "n": maybe(chance.randint(0, 9)),
            "shop": maybe(chance.choice("xyzé")),
            "ok": maybe(chance.random() < 0.6),
            "t": now - chance.randint(0, disorder_ms),
            "lat": maybe(chance.choice([0.0, 52.5, -33.9])),
            "lon": maybe(chance.choice([13.4, 151.2, -179.9])),
        }
        events.append(event)
    return events


def expected(events: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the features of each event that has a card, by going through all that came before it."""
    lives: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    shards: dict[str, str] = shard_of_cards(events)
    seen_by_shard: dict[str, list[dict[str, Any]]] = {}
    told = []
    for event in events:
        card = event["card"]
        if card is None:
            continue
        life = lives.setdefault(card, [])
        clock = max([event["t"], *(at for at, _ in life)])
        if life and clock - max(at for at, _ in life) >= REMEMBER_MS:
            life.clear()
        everyone = seen_by_shard.setdefault(shards[card], [])
        told.append(
            {name: one_expected(options, life, clock, event, everyone) for name, options in COLUMNS.items()}
        )
        life.append((clock, event))
        everyone.append(event)
    return told


def one_expected(
    options: dict[str, Any],
    life: list[tuple[int, dict[str, Any]]],
    clock: int,
    event: dict[str, Any],
    everyone: list[dict[str, Any]],
) -> Any:
    counts = WHERE.get(options.get("where"), lambda _: True)
    before = [(at, one) for at, one in life if counts(one)]
    with_own = [*before, *([(clock, event)] if counts(event) else [])]
    kind, of = options["kind"], options.get("of")
    if kind in ("count", "sum", "distinct"):
        within = int(options["within"].removesuffix("m")) * 60_000
        window = [one for at, one in with_own if at > clock - within]
        values = [one[of] for one in window if of is not None and one[of] is not None]
        if kind == "count":
            return len(window)
        return float(sum(Decimal(str(v)) for v in values)) if kind == "sum" else len(set(values))
    if kind == "first":
        return not before
    if kind == "since":
        return clock - before[-1][0] if before else None
    if kind == "previous":
        return before[-1][1][of] if before else None
    if kind == "deviations":
        sample = everyone if options.get("over") == "all" else [one for _, one in life]
        values = [one[of] for one in sample if counts(one) and one[of] is not None]
        return deviations(values, event[of], options["at_least"])
    return speed(before, clock, event)


def deviations(values: list[float], value: float | None, at_least: int) -> float | None:
    if value is None or len(values) < at_least:
        return None
    if len(set(values)) == 1:
        return 0.0 if value == values[0] else math.copysign(1_000_000, value - values[0])
    return pytest.approx((value - fmean(values)) / pstdev(values), rel=1e-9, abs=1e-9)


def speed(before: list[tuple[int, dict[str, Any]]], clock: int, event: dict[str, Any]) -> Any:
    placed = [(at, one) for at, one in before if one["lat"] is not None and one["lon"] is not None]
    if not placed or event["lat"] is None or event["lon"] is None:
        return None
    at, last = placed[-1]
    # The angle between two vectors from the earth's centre, which is another formula than haversine's.
    (x, y, z), (u, v, w) = (vector(one["lat"], one["lon"]) for one in (last, event))
    cross = math.hypot(y * w - z * v, z * u - x * w, x * v - y * u)
    km = 6371.0088 * math.atan2(cross, x * u + y * v + z * w)
    return pytest.approx(km / (max(clock - at, 1000) / 3_600_000), rel=1e-6, abs=1e-6)


def vector(latitude: float, longitude: float) -> tuple[float, float, float]:
    phi, lam = math.radians(latitude), math.radians(longitude)
    return math.cos(phi) * math.cos(lam), math.cos(phi) * math.sin(lam), math.sin(phi)


def shard_of_cards(events: list[dict[str, Any]]) -> dict[str, str]:
    """Return the shard of each card, as a job of these cards alone puts them."""
    job = RuleJob(plan({}, ALWAYS))
    for card in sorted({event["card"] for event in events} - {None}):
        job.send({"card": card, "t": 1})
    return {entity.decode().strip('"'): shard for shard, entity in job.held()}


@pytest.mark.parametrize("seed", range(6))
def test_features_are_those_of_the_events_before_whatever_the_batches_and_restarts(seed: int) -> None:
    chance = random.Random(seed)
    events = random_events(chance, 300)
    spec = plan(COLUMNS, ALWAYS, remember="10m")
    job, alerts, at = RuleJob(spec), [], 0
    while at < len(events):
        size = chance.choice([1, 2, 7, 40])
        alerts += job.send(*events[at : at + size])
        at += size
        if chance.random() < 0.2:
            job = RuleJob(spec, after=job)
    found = features_of(alerts)
    assert len(found) == sum(event["card"] is not None for event in events)
    for own, wanted in zip(found, expected(events), strict=True):
        assert own == wanted


def test_only_events_of_the_condition_and_with_an_entity_are_seen() -> None:
    job = RuleJob(plan({"events": COLUMNS["events"]}, ALWAYS, where="amount > 1"))
    alerts = job.send(
        {"card": "a", "amount": 2.0, "t": 1}, {"card": "a", "amount": 1.0, "t": 2},
        {"card": None, "amount": 5.0, "t": 3}, {"card": "a", "t": 4}, {"card": "a", "amount": 3.0, "t": 5},
    )  # fmt: skip
    assert [(alert["source"]["offset"], alert["features"]["events"]) for alert in alerts] == [(0, 1), (4, 2)]


@pytest.mark.parametrize("kind", ["count", "sum", "distinct"])
def test_of_many_events_none_is_left_out_and_few_count_too_long(kind: str) -> None:
    chance, within = random.Random(kind), 60_000
    of = {"count": {}, "sum": {"of": "n"}, "distinct": {"of": "shop"}}[kind]
    spec = plan({"made": {"kind": kind, "within": "1m", **of}}, ALWAYS)
    times = sorted(chance.sample(range(1_700_000_000_000, 1_700_000_200_000), 3_000))
    job, alerts = RuleJob(spec), []
    # No value comes twice, so that `distinct` can be held against the same bounds.
    events = [{"card": "a", "n": 1, "shop": str(number), "t": t} for number, t in enumerate(times)]
    for at in range(0, len(events), 500):
        alerts += job.send(*events[at : at + 500])
        job = RuleJob(spec, after=job)
    exact = off = 0
    for number, (own, now) in enumerate(zip(features_of(alerts), times, strict=True)):
        least = number + 1 - bisect_right(times, now - within)
        most = number + 1 - bisect_right(times, now - within - within / 64)
        assert least <= own["made"] <= most
        exact, off = exact + (own["made"] == least), off + (own["made"] != least)
    assert exact and off, "the stream is to show both"
    assert max(map(len, job.held().values())) < 8_000


def test_up_to_256_times_in_a_window_are_exact() -> None:
    spec = plan({"events": {"kind": "count", "within": "1m"}}, ALWAYS)
    # One event every 235 ms: 256 in a window of a minute, for five windows.
    times = [1_700_000_000_000 + 235 * number for number in range(5 * 256)]
    found = features_of(RuleJob(spec).send(*({"card": "a", "t": t} for t in times)))
    wanted = [sum(t - 60_000 < other <= t for other in times[: n + 1]) for n, t in enumerate(times)]
    assert max(wanted) == MOST_EXACT and [own["events"] for own in found] == wanted


def test_events_of_one_millisecond_are_exact_however_many() -> None:
    spec = plan({"events": COLUMNS["events"], "spent": COLUMNS["spent"]}, ALWAYS)
    found = features_of(RuleJob(spec).send(*[{"card": "a", "amount": 0.1, "t": 5}] * 1000))
    assert [own["events"] for own in found] == list(range(1, 1001))
    assert [own["spent"] for own in found] == [float(Decimal("0.1") * n) for n in range(1, 1001)]


def test_a_sum_of_money_is_not_more_than_what_it_is() -> None:
    assert sum([0.1] * 3) > 0.3, "as it is in floating point"
    spec = plan({"spent": COLUMNS["spent"]}, {"name": "much", "when": "spent > 0.3"})
    job = RuleJob(spec)
    assert job.send(*({"card": "a", "amount": 0.1, "t": t} for t in (1, 2, 3))) == []
    assert len(job.send({"card": "a", "amount": 0.01, "t": 4})) == 1


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(-(10**8), 10**8), st.integers(0, 4)), min_size=1, max_size=60))
def test_sums_of_decimal_numbers_are_the_nearest_double(parts: list[tuple[int, int]]) -> None:
    numbers = [Decimal(mantissa).scaleb(-places) for mantissa, places in parts]
    assert decimal_sum([float(number) for number in numbers]) == float(sum(numbers))


def test_what_is_left_of_large_sums_of_both_signs_is_the_nearest_double() -> None:
    assert decimal_sum([1_000_000.1, -1_000_000.0]) == 0.1 != 1_000_000.1 - 1_000_000.0
    assert str(decimal_sum([0.3, -0.1, -0.2])) == "0.0" and 0.3 - 0.1 - 0.2 < 0


def test_an_event_is_out_of_the_window_when_its_length_has_passed() -> None:
    columns = {name: COLUMNS[name] for name in ("events", "spent", "shops")}
    for t, inside in ((59_999, True), (60_000, False)):
        job = RuleJob(plan(columns, ALWAYS))
        found = features_of(
            job.send(*({"card": "a", "amount": 2.0, "shop": str(at), "t": at} for at in (0, t)))
        )
        told = {"events": 2, "spent": 4.0, "shops": 2} if inside else {"events": 1, "spent": 2.0, "shops": 1}
        assert found[-1] == told


@pytest.mark.parametrize("over", ["own", "all"])
def test_numbers_too_large_to_be_squared_are_told_but_not_learned_from(over: str) -> None:
    job = RuleJob(plan({"off": {"kind": "deviations", "of": "amount", "at_least": 2, "over": over}}, ALWAYS))
    amounts = [1.0, 3.0, 1.7e308, -1.7e308, 1e200, 4.0]
    alerts = job.send(*({"card": "a", "amount": amount, "t": t} for t, amount in enumerate(amounts)))
    assert [told["off"] for told in features_of(alerts)] == [None, None, 1e6, -1e6, 1e6, 2.0]


def test_a_sum_that_fits_is_told_though_a_sum_on_the_way_does_not() -> None:
    job = RuleJob(plan({"total": {"kind": "sum", "of": "amount", "within": "1m"}}, ALWAYS))
    amounts = [1.7e308, 1.7e308, -1.7e308, -1.7e308, -1.7e308, 2.5]
    alerts = job.send(*({"card": "a", "amount": amount, "t": t} for t, amount in enumerate(amounts)))
    assert [told["total"] for told in features_of(alerts)] == [
        1.7e308, None, 1.7e308, 0.0, -1.7e308, -1.7e308,
    ]  # fmt: skip


def test_sums_that_are_too_large_are_null_and_fit_again_when_the_window_has_moved_on() -> None:
    job = RuleJob(plan({"spent": COLUMNS["spent"]}, ALWAYS))
    huge = [{"card": "a", "amount": 1.7e308, "t": t} for t in (1, 2, 2)]
    found = features_of(job.send(*huge, {"card": "a", "amount": 2.5, "t": 70_000}))
    assert [own["spent"] for own in found] == [1.7e308, None, None, 2.5]


def test_a_feature_that_is_added_or_removed_leaves_the_others_as_they_are() -> None:
    one = {"events": {"kind": "count", "within": "1m"}}
    job = RuleJob(plan(one, ALWAYS))
    job.send(*({"card": "a", "t": t} for t in (1, 2)))
    job = RuleJob(plan({**one, "gap": {"kind": "since"}}, ALWAYS), after=job)
    assert features_of(job.send({"card": "a", "t": 3})) == [{"events": 3, "gap": None}]
    job = RuleJob(plan({"gap": {"kind": "since"}}, ALWAYS), after=job)
    assert features_of(job.send({"card": "a", "t": 10})) == [{"gap": 7}]
    job = RuleJob(plan(one, ALWAYS), after=job)
    assert features_of(job.send({"card": "a", "t": 11})) == [{"events": 1}], "what was removed begins anew"


@pytest.mark.parametrize(
    ("other", "made"),
    [
        ({"kind": "sum", "of": "n", "within": "1m"}, 5.0),
        ({"kind": "sum", "of": "amount", "within": "2m"}, 5.0),
        ({"kind": "sum", "of": "amount", "within": "1m", "where": "amount > 0"}, 5.0),
        ({"kind": "count", "within": "1m"}, 1),
        ({"kind": "sum", "of": "amount", "within": "1m"}, 9.0),
    ],
)
def test_a_feature_that_is_defined_anew_under_the_same_name_begins_anew(other: Any, made: float) -> None:
    job = RuleJob(plan({"made": {"kind": "sum", "of": "amount", "within": "1m"}}, ALWAYS))
    job.send({"card": "a", "t": 1, "n": 4, "amount": 4.0})
    job = RuleJob(plan({"made": other}, ALWAYS), after=job)
    assert features_of(job.send({"card": "a", "t": 2, "n": 5, "amount": 5.0})) == [{"made": made}]


def test_deviations_go_on_where_only_at_least_is_another() -> None:
    odd = {"kind": "deviations", "of": "amount", "at_least": 9}
    job = RuleJob(plan({"odd": odd}, ALWAYS))
    job.send(*({"card": "a", "t": 1, "amount": amount} for amount in (1.0, 3.0)))
    job = RuleJob(plan({"odd": {**odd, "at_least": 2}}, ALWAYS), after=job)
    assert features_of(job.send({"card": "a", "t": 2, "amount": 5.0})) == [{"odd": 3.0}]


def test_entities_without_events_for_long_are_forgotten_and_new_again() -> None:
    spec = plan({"new": {"kind": "first"}}, ALWAYS, remember="1h")
    job = RuleJob(spec)
    job.send({"card": "a", "t": 0}, {"card": "b", "t": 1_000_000})
    job.move_watermark(3_600_000 + 900_000)
    assert job.entities() == {"b"}
    job.move_watermark(3_600_000 + 1_000_000 + 900_000)
    assert job.entities() == set() and job.runner.state.entities() == 0
    assert job.runner.state.bytes() == 0
    again = job.send({"card": "a", "t": 9_000_000})
    assert features_of(again) == [{"new": True}]


def test_forgetting_looks_at_few_that_stay_and_finds_the_rest_later() -> None:
    job = RuleJob(plan({"new": {"kind": "first"}}, ALWAYS, remember="1h", shards=1))
    state, looked_at = job.runner.state, []
    times = state.times

    def counted(shard: str) -> Iterator[tuple[bytes, int, int]]:
        for one in times(shard):
            looked_at.append(one)
            yield one

    state.times = counted
    wrong, young = (
        [f"{name}{number}" for number in range(count)] for name, count in (("w", 1000), ("y", 4000))
    )
    job.send(*({"card": card, "t": 9_000_000} for card in wrong))  # their clocks are
    job.send(*({"card": f"o{number}", "t": number} for number in range(50)))
    job.send(*({"card": card, "t": 3_500_000} for card in young))
    job.send({"card": "behind", "t": 60})
    looked_at.clear()
    job.move_watermark(3_600_000 + 900_000)
    assert job.entities() == {*wrong, *young, "behind"}
    assert len(looked_at) == 1000 + 50 + 1000, "of 5,051, at two times"
    for watermark_ms in (8_000_000, 8_200_000):
        job.move_watermark(watermark_ms)
    assert job.entities() == set(wrong)
    job.move_watermark(9_000_000 + 3_600_000 + 900_000)
    assert job.entities() == set()


def test_what_is_remembered_takes_the_bytes_that_are_told() -> None:
    job = RuleJob(plan(COLUMNS, ALWAYS, remember="10m"))
    job.send(*random_events(random.Random(1), 200))
    held = sum(len(key) + len(data) for own in job.histories.shards.values() for key, data in own.items())
    assert job.runner.state.bytes() == held > 0


def test_state_is_written_once_a_record() -> None:
    job = RuleJob(plan(COLUMNS, ALWAYS, remember="10m"))
    puts: Counter[str] = Counter()
    put = job.histories.put
    job.histories.put = lambda key, value: (puts.update([job.histories.shard]), put(key, value))[1]
    job.send(*random_events(random.Random(2), 100, disorder_ms=0)[:30])
    assert puts == {shard: 1 for shard in puts} != {}
