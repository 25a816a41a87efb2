"""Tumbling and sliding windows over time: silence of the source, what state holds, restarts."""

from __future__ import annotations

import json

from engine import Engine, at, counting_plan, told

from operators.shard_keys import shard_key
from state.clock_state import END_OF_TIME_MS

MINUTE = 60_000
SECOND = 1000


def test_silence_closes_windows_by_its_length_and_never_by_a_jump_to_now() -> None:
    silent = {"out_of_orderness": "0s", "idle_timeout": "30s", "on_idle": "advance"}
    now = 1_000_000 * MINUTE
    engine = Engine(
        counting_plan({"tumbling": "1m"}, {"tumbling": "5m"}, event=silent), follow=True, now_ms=now
    )
    engine.send(*at(0.75))
    engine.send(*at(0.9))  # the watermark is now just below 54 s
    assert engine.move_clock(now + 29_999) == []
    assert told(engine.move_clock(now + 30 * SECOND)) == [(1, 2, 0, True)]
    assert engine.move_clock(now + 4 * MINUTE + 6 * SECOND - 1) == []
    assert told(engine.move_clock(now + 4 * MINUTE + 7 * SECOND)) == [(5, 2, 0, True)]
    assert (engine.held(), engine.move_clock(now + 60 * MINUTE)) == ({}, [])


def test_beats_keep_windows_open_while_the_source_is_active_elsewhere() -> None:
    silent = {"out_of_orderness": "0s", "idle_timeout": "40s", "on_idle": "advance"}
    engine = Engine(counting_plan({"tumbling": "5m"}, event=silent, shards=16), follow=True)
    engine.send(*at(0.75))
    for second in range(10, 600, 10):
        engine.move_clock(second * SECOND)
        engine.send(*at(0.75, key=f"k{second}"))
    assert engine.results == []
    engine.move_clock(640 * SECOND)
    engine.move_clock(900 * SECOND)
    assert len(engine.results) == 60


def test_a_shard_that_was_heard_before_the_others_notices_the_silence_too() -> None:
    silent = {"out_of_orderness": "0s", "idle_timeout": "40s", "on_idle": "advance"}
    engine = Engine(counting_plan({"tumbling": "1m"}, event=silent, shards=16), follow=True)
    engine.send(*at(0.75, key="first"))
    engine.move_clock(5 * SECOND)  # before the next beat
    engine.send(*at(0.75, key="other"))
    engine.move_clock(300 * SECOND)
    assert {r["key"]["k"] for r in engine.results} == {"first", "other"}


def test_a_source_that_falls_silent_before_there_is_a_watermark_has_its_windows_closed_too() -> None:
    silent = {"out_of_orderness": "6s", "idle_timeout": "30s", "on_idle": "advance"}
    engine = Engine(counting_plan({"tumbling": "1m"}, event=silent), follow=True)
    engine.all_heard = False
    engine.send(*at(0.25, 0.5), *at(2.5))
    assert engine.move_clock(30 * SECOND - 1) == []
    # The newest slice begins at two minutes: the watermark is six seconds less, and goes on from there.
    assert told(engine.move_clock(30 * SECOND)) == [(1, 2, 0, True)]
    assert engine.move_clock(65 * SECOND) == []
    assert told(engine.move_clock(66 * SECOND)) == [(3, 1, 0, True)]
    engine.all_heard = True
    engine.send(*at(2.9))
    assert [json.loads(entry["payload"])["t"] for entry in engine.late] == [174_000]
    engine.send(*at(9))
    engine.send(*at(9.5))
    assert len(engine.late) == 1


def test_an_event_late_after_a_silence_comes_out_with_its_payload() -> None:
    silent = {"out_of_orderness": "0s", "idle_timeout": "30s", "on_idle": "advance"}
    engine = Engine(counting_plan({"tumbling": "1m"}, event=silent), follow=True)
    engine.send(*at(0.5))
    engine.move_clock(10 * MINUTE)
    engine.send(*at(0.6))
    engine.send(*at(0.7))
    engine.move_clock(20 * MINUTE)
    engine.send(*at(0.8))
    assert [json.loads(entry["payload"])["t"] for entry in engine.late] == [36_000, 42_000, 48_000]
    assert told(engine.results) == [(1, 1, 0, True)]


def test_without_advance_silence_closes_nothing() -> None:
    engine = Engine(counting_plan({"tumbling": "1m"}, event={"out_of_orderness": "0s"}), follow=True)
    engine.send(*at(0.5))
    assert engine.move_clock(10_000 * MINUTE) == []


def test_state_is_what_the_open_windows_need_and_is_empty_after_them() -> None:
    options = {"allowed_lateness": "2m", "emit_every": "10s", "shards": 2}
    engine = Engine(counting_plan({"sliding": "5m", "every": "1m"}, {"tumbling": "2m"}, **options))
    most = timers = 0
    for minute in range(200):
        engine.send(*at(minute, key="a"), *at(minute + 0.5, key="b"))
        engine.move_clock(minute * 10 * SECOND)
        engine.move_watermark(minute * MINUTE)
        most = max(most, *(len(keys) for keys in engine.held().values()))
        timers = max(timers, engine.timers())
    assert (
        most <= 1 + (5 + 2 + 1) + 3
    )  # the index and the slices of a window and its lateness; or its revisions
    assert timers <= 2 * 6
    engine.end()
    assert engine.held() == {}


def test_large_partials_are_forgotten_with_their_slices() -> None:
    the_plan = counting_plan({"tumbling": "5m"}) | {
        "metrics": [{"name": "u", "kind": "distinct", "of": "k", "windows": [{"tumbling": "5m"}]}]
    }
    engine = Engine(the_plan)
    engine.send(*({"k": f"u{n}", "t": 0} for n in range(5000)))
    assert ("large", shard_key("u", 0)) in engine.held()
    (result,) = engine.end()
    assert result["lower"] <= 5000 <= result["upper"]
    assert engine.held() == {}


def test_what_was_answered_before_a_restart_is_not_opened_by_a_late_event() -> None:
    engine = Engine(counting_plan({"tumbling": "5m"}))
    engine.send(*at(1, 2))
    engine.move_watermark(5 * MINUTE)
    resumed = Engine(counting_plan({"tumbling": "5m"}), engine.snapshot())
    resumed.send(*at(3), *at(6))
    resumed.move_watermark(4 * MINUTE)
    assert (resumed.results, len(resumed.late)) == ([], 1)
    assert told(resumed.end()) == [(10, 1, 0, True)]


def test_a_shard_without_data_remembers_what_is_late_across_a_restart() -> None:
    the_plan = counting_plan({"tumbling": "5m"}, shards=16)
    engine = Engine(the_plan)
    engine.send(*at(1))
    engine.move_watermark(30 * MINUTE)
    resumed = Engine(the_plan, engine.snapshot())
    resumed.send(*(event for n in range(50) for event in at(2, key=f"k{n}")))
    assert (len(resumed.late), resumed.end()) == (50, [])


def test_a_shard_that_first_hears_of_a_watermark_leaves_closed_windows_closed() -> None:
    engine = Engine(counting_plan({"sliding": "2m", "every": "1m"}))
    engine.move_watermark(MINUTE)
    engine.send(*at(0.5))
    assert told(engine.end()) == [(2, 1, 0, True)]


def test_a_job_that_goes_on_after_its_input_ended_takes_later_events() -> None:
    engine = Engine(counting_plan({"tumbling": "5m"}, shards=2))
    engine.send(*at(1))
    assert len(engine.end()) == 1
    assert engine.watermark_ms == END_OF_TIME_MS
    resumed = Engine(counting_plan({"tumbling": "5m"}, shards=2), engine.snapshot())
    resumed.send(*at(2), *at(7))
    assert len(resumed.late) == 1
    assert told(resumed.end()) == [(10, 1, 0, True)]
