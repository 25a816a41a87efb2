from __future__ import annotations

import json
from collections import Counter
from datetime import date, datetime, timezone
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from flink_job.simulation.simulation import Simulation, SimulatorSpec

ONE_BY_ONE = Simulation(SimulatorSpec(events=20_000, disorder="3s", bad_share=0.05))
ALL = ONE_BY_ONE.chunk(0, 20_000)
LINES = ALL.splitlines(keepends=True)
START_MS = 1_767_225_600_000


def events_of(**options) -> list[dict]:
    spec = SimulatorSpec(**options)
    return [json.loads(line) for line in Simulation(spec).chunk(0, spec.events).splitlines()]


@given(first=st.integers(0, 19_999), count=st.integers(0, 300))
@settings(max_examples=60, deadline=None)
def test_any_chunk_is_the_same_part_of_the_whole(first: int, count: int) -> None:
    assert ONE_BY_ONE.chunk(first, count) == b"".join(LINES[first : first + count])


def test_chunks_across_the_edges_of_pieces_join_to_the_whole() -> None:
    cuts = [0, 1, 8_191, 8_192, 8_193, 16_384, 20_000]
    parts = [ONE_BY_ONE.chunk(first, end - first) for first, end in pairwise(cuts)]
    assert b"".join(parts) == ALL


def test_the_simulation_ends_where_the_spec_says() -> None:
    assert ONE_BY_ONE.chunk(19_999, 100) == LINES[-1]
    assert ONE_BY_ONE.chunk(20_000, 1) == ONE_BY_ONE.chunk(10**9, 1) == ONE_BY_ONE.chunk(5, 0) == b""


def test_an_endless_simulation_reaches_far_event_numbers() -> None:
    endless = Simulation(SimulatorSpec(events=None))
    assert json.loads(endless.chunk(123_456_789_012, 1))["event_id"] == "e123456789012"
    with pytest.raises(ValueError, match="2286"):
        endless.chunk(10**12 - 1, 1)


def test_negative_ranges_are_refused() -> None:
    with pytest.raises(ValueError, match="first >= 0"):
        ONE_BY_ONE.chunk(-1, 5)
    with pytest.raises(ValueError, match="count >= 0"):
        ONE_BY_ONE.chunk(0, -5)


def test_the_first_events_are_these_for_ever() -> None:
    lines = Simulation(SimulatorSpec()).chunk(10, 1) + Simulation(SimulatorSpec(seed=7)).chunk(0, 1)
    assert lines.decode().splitlines() == [
        '{"event_id":"e000000000010","user_id":"user_04215","action":"add_cart","item_id":"item_0013",'
        '"value":3.96,"quantity":1,"ts":1767225600100}',
        '{"event_id":"e000000000000","user_id":"user_00818","action":"purchase","item_id":"item_0003",'
        '"value":42.64,"quantity":1,"ts":1767225600000}',
    ]


def test_every_event_has_exactly_the_documented_fields() -> None:
    for number, event in enumerate(events_of(events=5_000)):
        text = event.pop("text", None)
        assert list(event) == ["event_id", "user_id", "action", "item_id", "value", "quantity", "ts"]
        assert event["event_id"] == f"e{number:012d}"
        assert event["user_id"][:5] == "user_" and 0 <= int(event["user_id"][5:]) < 5_000
        assert event["item_id"][:5] == "item_" and 0 <= int(event["item_id"][5:]) < 1_000
        assert (event["value"] > 0) == (event["action"] in ("add_cart", "purchase"))
        assert isinstance(event["value"], float) and round(event["value"], 2) == event["value"]
        assert event["quantity"] in range(1, 6)
        assert event["ts"] == START_MS + 10 * number
        assert text is None or isinstance(text, str)


def test_shares_are_as_documented() -> None:
    events = events_of()
    actions = Counter(event["action"] for event in events)
    shares = {"view": 0.70, "click": 0.15, "add_cart": 0.10, "purchase": 0.05}
    for action, share in shares.items():  # 5 standard deviations of a binomial
        assert abs(actions[action] - share * 1e5) < 5 * (share * (1 - share) * 1e5) ** 0.5
    texts = [event["text"] for event in events if "text" in event]
    assert abs(len(texts) - 12_500) < 550
    assert any("#été" in text for text in texts) and any("#スキー" in text for text in texts)
    assert any('"' in text for text in texts) and any("#" not in text for text in texts)
    quantities = Counter(event["quantity"] for event in events)
    assert sorted(quantities) == [1, 2, 3, 4, 5] and quantities[1] > 60_000


def test_nearly_all_users_are_seen_and_some_come_often() -> None:
    visits = Counter(event["user_id"] for event in events_of())
    assert 4_950 <= len(visits) <= 5_000
    assert visits.most_common(1)[0][0] == "user_00000" and visits["user_00000"] > 5_000


def test_items_follow_the_law_of_zipf() -> None:
    counts = Counter(event["item_id"] for event in events_of())
    harmonic = sum(1 / rank for rank in range(1, 1_001))
    for rank in (1, 2, 5, 10, 50, 200):
        expected = 100_000 / harmonic / rank
        assert abs(counts[f"item_{rank - 1:04d}"] - expected) < 6 * expected**0.5
    flat = Counter(event["item_id"] for event in events_of(skew=0.0))
    assert len(flat) == 1_000 and max(flat.values()) < 160


@pytest.mark.parametrize(("users", "digits"), [(1, 5), (100_000, 5), (100_001, 6), (10_000_000, 7)])
def test_any_number_of_users_keeps_ids_of_one_width(users: int, digits: int) -> None:
    ids = [event["user_id"] for event in events_of(users=users, events=3_000)]
    assert {len(user) for user in ids} == {5 + digits}
    assert max(int(user[5:]) for user in ids) < users


def test_disorder_delays_events_by_at_most_what_it_says() -> None:
    events = events_of(disorder="2s", events=50_000)
    delays = [START_MS + 10 * number - event["ts"] for number, event in enumerate(events)]
    assert min(delays) >= 0 and 1_990 < max(delays) <= 2_000
    assert 950 < sum(delays) / len(delays) < 1_050
    assert min(event["ts"] for event in events) == START_MS
    assert {event["event_id"] for event in events} == {
        event["event_id"] for event in events_of(events=50_000)
    }


def test_bad_events_are_of_every_kind_and_as_many_as_asked() -> None:
    good = Simulation(SimulatorSpec(events=20_000)).chunk(0, 20_000).splitlines()
    bad = Simulation(SimulatorSpec(events=20_000, bad_share=0.1)).chunk(0, 20_000).splitlines()
    kinds: Counter[str] = Counter()
    for before, after in zip(good, bad, strict=True):
        if before != after:
            kinds[kind_of(after)] += 1
    assert set(kinds) == {"truncated", "wrong_type", "missing_user", "negative_value", "not_utf8"}
    assert all(abs(count - 400) < 120 for count in kinds.values())
    everything = Simulation(SimulatorSpec(events=2_000, bad_share=1.0)).chunk(0, 2_000).splitlines()
    assert len([kind_of(line) for line in everything]) == 2_000


def kind_of(line: bytes) -> str:
    try:
        event = json.loads(line.decode())
    except UnicodeDecodeError as problem:
        return "not_utf8" if problem.reason == "invalid start byte" else "truncated"
    except json.JSONDecodeError:
        return "truncated"
    if "user_id" not in event:
        return "missing_user"
    if isinstance(event["value"], str):
        return "wrong_type"
    assert event["value"] < 0
    return "negative_value"


def test_times_may_be_fractions_of_a_second_apart() -> None:
    events = events_of(event_rate=3.0, events=7, start="2026-01-01T01:00:00+01:00")
    assert [event["ts"] - START_MS for event in events] == [0, 333, 666, 1000, 1333, 1666, 2000]


@pytest.mark.parametrize(
    "start",
    ["2026-01-01", "2026-01-01T00:00:00", "2026-01-01T00:00:00Z", date(2026, 1, 1), datetime(2026, 1, 1)],
)
def test_start_is_utc_unless_it_says_otherwise(start: object) -> None:
    assert SimulatorSpec(start=start).start == datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"event": 5}, "Extra inputs"),
        ({"events": -1}, "greater than or equal to 0"),
        ({"users": 0}, "greater than or equal to 1"),
        ({"rate": 0}, "greater than 0"),
        ({"bad_share": 1.5}, "less than or equal to 1"),
        ({"disorder": "soon"}, "expected a duration"),
        ({"disorder": "31d"}, "disorder: expected at most 30d"),
        ({"start": "yesterday"}, "expected an ISO time such as 2026-01-01T00:00:00Z, got 'yesterday'"),
        ({"start": 5}, "got a int"),
        ({"start": "1999-01-01"}, "start: expected 2001-09-09"),
        ({"events": 10**12, "event_rate": 1.0}, "before the year 2286"),
    ],
)
def test_a_wrong_spec_is_refused_with_what_is_allowed(options: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SimulatorSpec(**options)


def test_a_spec_cannot_change_and_survives_json() -> None:
    spec = SimulatorSpec(disorder="2s", events=None)
    assert SimulatorSpec.model_validate_json(spec.model_dump_json()) == spec
    with pytest.raises(ValidationError, match="frozen"):
        spec.seed = 1


def test_the_demo_pipeline_has_a_valid_source() -> None:
    text = (Path(__file__).parents[2] / "pipelines" / "demo.yaml").read_text(encoding="utf-8")
    spec = SimulatorSpec(**yaml.safe_load(text)["source"])
    assert (spec.events, spec.users, spec.disorder) == (100_000, 5_000, 2_000)
