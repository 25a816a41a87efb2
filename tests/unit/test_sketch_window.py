"""Tumbling and sliding windows at work: answers, revisions, late events, early results."""

from __future__ import annotations

import json

from engine import Engine, at, counting_plan, latest, spans, told

MINUTE = 60_000
SECOND = 1000


def test_tumbling_windows_of_five_minutes_answer_when_the_watermark_passes_their_last_millisecond() -> None:
    engine = Engine(counting_plan({"tumbling": "5m"}))
    engine.send(*at(0, 1, 4.99, 5, 9, 21))
    assert engine.move_watermark(5 * MINUTE - 2) == []
    assert told(engine.move_watermark(5 * MINUTE - 1)) == [(5, 3, 0, True)]
    assert told(engine.move_watermark(24 * MINUTE)) == [(10, 2, 0, True)]
    assert told(engine.end()) == [(25, 1, 0, True)]


def test_an_event_of_a_sliding_window_counts_in_five_windows() -> None:
    engine = Engine(counting_plan({"sliding": "5m", "every": "1m"}))
    engine.send(*at(7.5))
    assert told(engine.end()) == [(end, 1, 0, True) for end in (8, 9, 10, 11, 12)]
    assert spans(engine.results)[0] == (3 * MINUTE, 8 * MINUTE)


def test_a_jump_of_the_watermark_answers_in_the_order_of_time() -> None:
    engine = Engine(counting_plan({"sliding": "5m", "every": "1m"}, {"tumbling": "2m"}))
    engine.send(*at(3, 0, 11))
    ends = [end for end, *_ in told(engine.move_watermark(60 * MINUTE))]
    assert ends == sorted(ends) and len(ends) == 8 + 5 + 3


def test_windows_before_the_epoch_and_at_its_edge_are_like_others() -> None:
    engine = Engine(counting_plan({"tumbling": "5m"}))
    engine.send(*at(-5, -0.001, 0, -5.001))
    assert {span: r["value"] for span, r in zip(spans(engine.end()), engine.results, strict=True)} == {
        (-10 * MINUTE, -5 * MINUTE): 1,
        (-5 * MINUTE, 0): 2,
        (0, 5 * MINUTE): 1,
    }


def test_an_offset_shifts_the_windows() -> None:
    engine = Engine(counting_plan({"tumbling": "5m", "offset": "1m"}))
    engine.send(*at(0.5, 1, 5.9, 6))
    assert told(engine.end()) == [(1, 1, 0, True), (6, 2, 0, True), (11, 1, 0, True)]


def test_two_sliding_windows_of_one_size_have_ids_of_their_own() -> None:
    engine = Engine(counting_plan({"sliding": "6m", "every": "2m"}, {"sliding": "6m", "every": "3m"}))
    engine.send(*at(0))
    results = engine.end()
    by_every = {every: [r for r in results if r["window"]["every_ms"] == every * MINUTE] for every in (2, 3)}
    assert [len(found) for found in by_every.values()] == [3, 2]
    assert len(latest(results)) == 5


def test_windows_that_share_slices_equal_those_counted_one_by_one() -> None:
    windows = {"sliding": "6m", "every": "2m"}, {"sliding": "6m", "every": "3m"}, {"tumbling": "4m"}
    minutes = [(7 * n % 53) / 2 for n in range(60)]
    engine = Engine(counting_plan(*windows))
    for minute in minutes:
        engine.send(*at(minute))
    counted = {
        (size, every, start): sum(start <= minute < start + size for minute in minutes)
        for size, every in ((6, 2), (6, 3), (4, 4))
        for start in range(-12, 60)
        if start % every == 0
    }
    found = {}
    for result in engine.end():
        window = result["window"]
        size, start = window["size_ms"] // MINUTE, window["start_ms"] // MINUTE
        found[size, window.get("every_ms", window["size_ms"]) // MINUTE, start] = result["value"]
    assert found == {pane: count for pane, count in counted.items() if count}


def test_an_event_within_the_allowed_lateness_gives_the_next_revision() -> None:
    engine = Engine(counting_plan({"tumbling": "5m"}, allowed_lateness="1m"))
    engine.send(*at(1), *at(2, key="b"))
    engine.move_watermark(5 * MINUTE + 10)
    assert told(engine.send(*at(3))) == [(5, 2, 1, True)]
    assert told(engine.send(*at(3, 4))) == [(5, 4, 2, True)]
    assert told(engine.send(*at(3, key="c"))) == [(5, 1, 0, True)]
    assert engine.late == []
    assert {r["key"]["k"]: r["value"] for r in latest(engine.results).values()} == {"a": 4, "b": 1, "c": 1}


def test_an_event_at_the_last_moment_of_the_lateness_counts_and_one_after_it_is_late() -> None:
    engine = Engine(counting_plan({"tumbling": "5m"}, allowed_lateness="1m"))
    engine.send(*at(1))
    engine.move_watermark(6 * MINUTE - 2)
    assert told(engine.send(*at(3))) == [(5, 2, 1, True)]
    engine.move_watermark(6 * MINUTE - 1)
    assert engine.send(*at(3)) == []
    assert len(engine.late) == 1


def test_a_late_event_comes_out_with_its_payload_and_position() -> None:
    engine = Engine(counting_plan({"tumbling": "5m"}))
    engine.send(*at(1))
    engine.move_watermark(5 * MINUTE - 1)
    payload = b'{"t": 60000,  "k": "\xc3\xa4", "more": [1]}'
    assert engine.send_raw(payload) == []
    assert engine.late == [
        {
            "payload": payload.decode(),
            "topic": "events",
            "partition": "p0",
            "offset": 1,
            "key": {"k": "ä"},
            "event_time_ms": MINUTE,
            "metric": "n",
            "watermark_ms": 5 * MINUTE - 1,
        }
    ]


def test_an_event_is_late_only_once_all_windows_of_the_metric_have_passed() -> None:
    engine = Engine(counting_plan({"tumbling": "1m"}, {"tumbling": "5m"}))
    engine.send(*at(0.5))
    engine.move_watermark(3 * MINUTE)
    assert (engine.send(*at(0.5)), engine.late) == ([], [])
    assert told(engine.move_watermark(5 * MINUTE)) == [(5, 2, 0, True)]
    engine.send(*at(0.5))
    assert len(engine.late) == 1
    assert [r["revision"] for r in engine.results] == [0, 0]


def test_late_events_that_nobody_foresaw_are_counted_by_key_with_their_batch() -> None:
    punctual = {"out_of_orderness": "0s"}
    engine = Engine(counting_plan({"tumbling": "5m"}, event=punctual), follow=True)
    engine.send(*at(1))
    engine.move_watermark(50 * MINUTE)  # by another worker, which this one does not know of
    engine.send(*at(2, 3), *at(2, key="b"))
    assert [(entry["key"]["k"], entry["events"], entry["payload"]) for entry in engine.late] == [
        ("a", 2, None),
        ("b", 1, None),
    ]
    assert engine.late[0]["batch"] == {
        "first": {"topic": "events", "partition": "p0", "offset": 1},
        "last": {"topic": "events", "partition": "p0", "offset": 3},
    }


def test_an_event_of_several_hashtags_is_late_once_and_counts_for_each() -> None:
    the_plan = counting_plan({"tumbling": "5m"}, by=["tags"])
    the_plan["event"]["fields"]["text"] = "string"
    the_plan["event"]["derive"] = {"tags": {"from": "text", "extract": r"#(\w+)", "all": True}}
    engine = Engine(the_plan)
    engine.send({"t": 0, "text": "#sun #sea"}, {"t": 1, "text": "none"}, {"t": 2}, {"t": 3, "text": "#sea"})
    counts = {r["key"]["tags"]: r["value"] for r in engine.move_watermark(5 * MINUTE)}
    assert counts == {"sun": 1, "sea": 2, None: 1}
    engine.send({"t": 4, "text": "#sun #sea #wind"}, {"t": 5, "text": "#sea"})
    assert [json.loads(entry["payload"])["t"] for entry in engine.late] == [4, 5]


def test_early_results_rise_in_revision_and_unchanged_windows_are_not_sent_again() -> None:
    engine = Engine(counting_plan({"tumbling": "5m"}, emit_every="10s", shards=1))
    engine.send(*at(1), *at(1, key="b"))
    assert told(engine.move_clock(10 * SECOND)) == [(5, 1, 0, False), (5, 1, 0, False)]
    assert engine.move_clock(30 * SECOND) == []
    engine.send(*at(2))
    assert engine.move_clock(39 * SECOND) == []
    assert told(engine.move_clock(40 * SECOND)) == [(5, 2, 1, False)]
    final = engine.move_watermark(5 * MINUTE)
    assert sorted((r["key"]["k"], r["value"], r["revision"], r["final"]) for r in final) == [
        ("a", 2, 2, True),
        ("b", 1, 1, True),
    ]
    assert engine.move_clock(5 * MINUTE) == []


def test_late_and_early_results_share_one_count_of_revisions() -> None:
    engine = Engine(counting_plan({"sliding": "4m", "every": "2m"}, emit_every="10s", allowed_lateness="10m"))
    engine.send(*at(1))
    engine.move_clock(10 * SECOND)
    engine.move_watermark(2 * MINUTE)
    engine.send(*at(1))
    engine.move_clock(20 * SECOND)
    engine.move_watermark(4 * MINUTE)
    assert told(engine.results) == [
        (2, 1, 0, False),
        (4, 1, 0, False),
        (2, 1, 1, True),
        (2, 2, 2, True),
        (4, 2, 1, False),
        (4, 2, 2, True),
    ]
