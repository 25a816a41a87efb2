"""Session windows at work: merging, retractions, late events, early results, silence, state."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import pytest
from engine import Engine, at, latest, spans

MINUTE = 60_000
SECOND = 1000
TEN = 600  # 10:00 in minutes


def plan(
    *gaps: str, event: Mapping[str, str] = MappingProxyType({}), windows: tuple = (), **options: Any
) -> dict[str, Any]:
    metric = {"name": "visits", "kind": "count", "by": ["k"], **options}
    metric["windows"] = [*({"session": gap} for gap in gaps), *windows]
    return {
        "name": "shop",
        "event": {"fields": {"k": "string", "t": "long"}, "time": {"field": "t", "unit": "ms"}, **event},
        "metrics": [metric],
    }


def short(results: list[dict[str, Any]]) -> list[tuple]:
    """Return start and end in minutes after ten, value (None where retracted) and revision of each result."""
    return [
        (start / MINUTE - TEN, end / MINUTE - TEN, r.get("value"), r["revision"])
        for (start, end), r in zip(spans(results), results, strict=True)
    ]


@pytest.mark.parametrize(
    "batches", [[[0, 10, 25, 80]], [[0], [10], [25], [80]], [[25, 80], [0, 10]], [[25, 0], [80, 10]]]
)
def test_events_at_10_00_10_10_10_25_and_11_20_make_two_sessions(batches) -> None:
    engine = Engine(plan("30m"))
    for batch in batches:
        engine.send(*at(*(TEN + minute for minute in batch)))
    assert short(engine.end()) == [(0, 55, 3, 0), (80, 110, 1, 0)]


@pytest.mark.parametrize("together", [True, False])
def test_two_events_exactly_one_gap_apart_are_one_session(together) -> None:
    for distance_ms, sessions in ((30 * MINUTE, 1), (30 * MINUTE + 1, 2)):
        engine = Engine(plan("30m"))
        events = [{"k": "a", "t": -7}, {"k": "a", "t": distance_ms - 7}]
        backwards = Engine(plan("30m"))
        for batch in [events] if together else [events[:1], events[1:]]:
            engine.send(*batch)
        for event in reversed(events):
            backwards.send(event)
        assert len(engine.end()) == len(backwards.end()) == sessions


def test_a_session_answers_when_the_watermark_passes_its_last_millisecond() -> None:
    engine = Engine(plan("30m"))
    engine.send(*at(TEN))
    assert engine.move_watermark((TEN + 30) * MINUTE - 2) == []
    (result,) = engine.move_watermark((TEN + 30) * MINUTE - 1)
    assert result["window"] == {
        "type": "session",
        "start_ms": TEN * MINUTE,
        "end_ms": (TEN + 30) * MINUTE,
        "gap_ms": 30 * MINUTE,
    }
    assert (result["events"], result["final"], result["key"]) == (1, True, {"k": "a"})


def test_sessions_of_different_keys_and_gaps_do_not_meet() -> None:
    engine = Engine(plan("30m", "5m"))
    engine.send(*at(TEN, TEN + 10), *at(TEN + 5, key="b"))
    found = {
        (r["window"]["gap_ms"] // MINUTE, r["key"]["k"], *s)
        for r, s in zip(engine.end(), short(engine.results), strict=True)
    }
    assert found == {
        (30, "a", 0, 40, 2, 0),
        (30, "b", 5, 35, 1, 0),
        (5, "a", 0, 5, 1, 0),
        (5, "a", 10, 15, 1, 0),
        (5, "b", 5, 10, 1, 0),
    }


def test_a_late_event_that_joins_two_sessions_retracts_the_later_one() -> None:
    engine = Engine(plan("30m", allowed_lateness="2h"))
    engine.send(*at(TEN, TEN + 50))
    assert short(engine.move_watermark((TEN + 90) * MINUTE)) == [(0, 30, 1, 0), (50, 80, 1, 0)]
    joined = engine.send(*at(TEN + 25))
    assert short(joined) == [(50, 80, None, 1), (0, 80, 3, 1)]
    assert (joined[0]["retracted"], joined[0]["final"], joined[0]["events"]) == (True, True, 0)
    assert "retracted" not in joined[1] and joined[1]["final"]
    answers = latest(engine.results)
    assert {r["window"]["start_ms"] // MINUTE - TEN: r.get("value") for r in answers.values()} == {
        0: 3,
        50: None,
    }
    assert engine.late == []


def test_an_earlier_event_gives_a_session_another_id_and_retracts_the_old() -> None:
    engine = Engine(plan("30m", allowed_lateness="2h"))
    engine.send(*at(TEN + 20))
    engine.move_watermark((TEN + 60) * MINUTE)
    assert short(engine.send(*at(TEN))) == [(20, 50, None, 1), (0, 50, 2, 0)]


def test_a_session_that_was_never_sent_disappears_without_a_word() -> None:
    engine = Engine(plan("30m"))
    engine.send(*at(TEN + 50))
    engine.send(*at(TEN))
    assert engine.send(*at(TEN + 25)) == []
    assert short(engine.end()) == [(0, 80, 3, 0)]


def test_an_answered_session_that_goes_on_answers_again_at_its_new_end() -> None:
    engine = Engine(plan("30m", allowed_lateness="1h"))
    engine.send(*at(TEN))
    engine.move_watermark((TEN + 31) * MINUTE)
    assert engine.send(*at(TEN + 29)) == []
    assert short(engine.move_watermark((TEN + 59) * MINUTE)) == [(0, 59, 2, 1)]
    assert latest(engine.results)


def test_lateness_is_decided_after_merging() -> None:
    engine = Engine(plan("30m"))
    engine.send(*at(TEN, TEN + 20))
    engine.move_watermark((TEN + 40) * MINUTE)
    engine.send(*at(TEN + 1), *at(TEN + 1, key="b"))
    assert [(entry["key"]["k"], json.loads(entry["payload"])["t"]) for entry in engine.late] == [
        ("b", (TEN + 1) * MINUTE)
    ]
    assert short(engine.end()) == [(0, 50, 3, 0)]


def test_an_id_that_was_answered_and_forgotten_does_not_come_up_again() -> None:
    engine = Engine(plan("30m"))
    engine.send(*at(TEN, TEN + 1))
    engine.move_watermark((TEN + 31) * MINUTE)
    engine.send(*at(TEN), *at(TEN + 20))  # by itself the first is late, the second is not
    engine.send(*at(TEN))
    assert [entry["event_time_ms"] for entry in engine.late] == [TEN * MINUTE] * 2
    assert short(engine.results) + short(engine.end()) == [(0, 31, 2, 0), (20, 50, 1, 0)]
    assert len(latest(engine.results)) == 2


def test_a_late_session_comes_out_event_by_event_with_payload_and_position() -> None:
    engine = Engine(plan("30m"))
    engine.send(*at(TEN + 200, key="b"))
    engine.move_watermark((TEN + 100) * MINUTE)
    assert engine.send(*at(TEN, TEN + 1)) == []
    assert [(e["offset"], e["event_time_ms"], e["watermark_ms"]) for e in engine.late] == [
        (1, TEN * MINUTE, (TEN + 100) * MINUTE),
        (2, (TEN + 1) * MINUTE, (TEN + 100) * MINUTE),
    ]


def test_early_results_of_sessions_rise_in_revision_and_are_not_repeated() -> None:
    engine = Engine(plan("30m", emit_every="10s", shards=1))
    engine.send(*at(TEN), *at(TEN + 1, key="b"))
    assert sorted(short(engine.move_clock(10 * SECOND))) == [(0, 30, 1, 0), (1, 31, 1, 0)]
    assert engine.move_clock(30 * SECOND) == []
    engine.send(*at(TEN + 5))
    (early,) = engine.move_clock(40 * SECOND)
    assert (short([early]), early["final"]) == ([(0, 35, 2, 1)], False)
    engine.send(*at(TEN - 5))
    assert short(engine.results[3:]) == [(0, 35, None, 2)]
    assert sorted(short(engine.end())) == [(-5, 35, 3, 0), (1, 31, 1, 1)]


def test_silence_ends_sessions_by_its_length() -> None:
    silent = {"out_of_orderness": "0s", "idle_timeout": "30s", "on_idle": "advance"}
    engine = Engine(plan("5m", event=silent), follow=True)
    engine.send(*at(TEN))
    assert engine.move_clock(299 * SECOND) == []
    assert short(engine.move_clock(302 * SECOND)) == [(0, 5, 1, 0)]
    assert engine.held() == {}


def test_silence_ends_sessions_also_before_there_is_a_watermark() -> None:
    silent = {"out_of_orderness": "6s", "idle_timeout": "30s", "on_idle": "advance"}
    engine = Engine(plan("5m", event=silent), follow=True)
    engine.all_heard = False
    engine.send(*at(TEN))
    assert engine.move_clock(305 * SECOND) == []
    assert short(engine.move_clock(306 * SECOND)) == [(0, 5, 1, 0)]
    assert engine.held() == {}


def test_state_is_what_the_open_sessions_need_and_is_empty_after_them() -> None:
    engine = Engine(plan("5m", allowed_lateness="2m", emit_every="10s", shards=2))
    most = timers = 0
    for minute in range(0, 1000, 2):
        engine.send(*at(minute, key=f"user{minute}"), *at(minute))
        engine.move_clock(minute * SECOND)
        engine.move_watermark(minute * MINUTE)
        most = max(most, sum(len(keys) for keys in engine.held().values()))
        timers = max(timers, engine.timers())
    assert most <= 2 + 1 + (5 + 2 + 2) // 2
    assert timers <= 2 * 6
    engine.end()
    assert engine.held() == {}


def test_what_was_answered_before_a_restart_is_not_opened_by_a_late_event() -> None:
    engine = Engine(plan("30m"))
    engine.send(*at(TEN, TEN + 10))
    engine.move_watermark((TEN + 40) * MINUTE)
    resumed = Engine(plan("30m"), engine.snapshot())
    resumed.send(*at(TEN + 5))
    assert (len(resumed.late), resumed.end()) == (1, [])


def test_a_job_that_goes_on_after_its_input_ended_takes_later_events() -> None:
    engine = Engine(plan("30m", shards=1))
    engine.send(*at(TEN))
    engine.end()
    resumed = Engine(plan("30m", shards=1), engine.snapshot())
    resumed.send(*at(TEN - 1, key="b"), *at(TEN + 1))
    assert len(resumed.late) == 1
    assert short(resumed.end()) == [(1, 31, 1, 0)]


def test_an_event_late_for_all_windows_of_a_metric_comes_out_once() -> None:
    windows = {"tumbling": "1m"}, {"tumbling": "40m"}
    engine = Engine(plan("5m", "30m", windows=windows))
    engine.send(*at(TEN + 1))
    for watermark, late in ((TEN + 6, 0), (TEN + 32, 0), (TEN + 41, 1)):
        engine.move_watermark(watermark * MINUTE)
        engine.send(*at(TEN + 1))
        assert len(engine.late) == late
    assert json.loads(engine.late[0]["payload"])["t"] == (TEN + 1) * MINUTE


def test_an_event_that_only_the_longest_sessions_still_take_is_not_late() -> None:
    engine = Engine(plan("5m", "30m", windows=({"tumbling": "1m"},)))
    engine.send(*at(TEN))
    engine.move_watermark((TEN + 20) * MINUTE)
    engine.send(*at(TEN))
    assert engine.late == []
    assert {r["window"].get("gap_ms", 0) // MINUTE: r["value"] for r in engine.end() + engine.results} == {
        0: 1,
        5: 1,
        30: 2,
    }
