"""trending: a window's top items and the rising ones, against counting one by one."""

from __future__ import annotations

import math
import random
from base64 import b64decode
from collections import Counter
from typing import Any

import numpy as np
import pytest
from datasketches import frequent_strings_sketch
from engine import Engine, latest, spans
from pydantic import ValidationError

from operators.metrics.kind import Before
from operators.metrics.trending import Trending, burst_score
from operators.shard_keys import shard_key
from sketches.top_k import TopK

MINUTE = 60_000
HOUR = 60 * MINUTE
FIVE_MINUTES = {"tumbling": "5m"}


def plan(*windows: dict[str, str], name: str = "trends", kind: str = "trending", **options: Any) -> dict:
    own = {"least": 2} if kind == "trending" else {}
    metric = {"name": name, "kind": kind, "of": "tags", "windows": list(windows or (FIVE_MINUTES,)), **own}
    return {
        "name": "talk",
        "event": {
            "fields": {"text": "string", "t": "long", "room": "string", "n": "long"},
            "derive": {"tags": {"from": "text", "extract": r"#(\w+)", "all": True}},
            "time": {"field": "t", "unit": "ms"},
        },
        "metrics": [metric | options],
    }


def said(minute: float, text: str, times: int = 1, **more: Any) -> list[dict[str, Any]]:
    return [{"t": int(minute * MINUTE), "text": text, **more}] * times


def told(entries: list[dict[str, Any]]) -> list[tuple[str, int, float | None]]:
    """Return item, count and what was expected of each entry, all of them exact."""
    for entry in entries:
        assert entry["lower"] == entry["upper"] == entry["count"]
        assert entry["before"]["lower"] == entry["before"]["upper"] == entry["before"]["value"]
        assert entry["score"]["lower"] == entry["score"]["upper"] == entry["score"]["value"]
    return [(entry["item"], entry["count"], entry["before"]["value"]) for entry in entries]


def by_end(results: list[dict[str, Any]]) -> dict[float, dict[str, Any]]:
    return {r["window"]["end_ms"] / MINUTE: r for r in latest(results).values()}


def printed_formula(on: int, off: int, alpha: float) -> float:
    """Equation 17 of Li and Ma, as it is printed; for on > alpha * off > 0."""
    first = on * math.log((1 + alpha) / alpha * (on / (on + off)))
    return math.sqrt(2) * math.sqrt(first + off * math.log((1 + alpha) * (off / (on + off))))


def test_hashtags_of_text_are_counted_by_five_minutes_and_held_against_the_hour_before() -> None:
    engine = Engine(plan(against="1h", least=3))
    engine.send(*said(0.5, "the first slice is not seen whole: #tea", 50))
    for minute in range(5, 65):
        engine.send(*said(minute, "#tea with #milk"), *said(minute, "#tea again", minute % 2))
    engine.send(*said(65, "#tea", 7), *said(66, "#lemon #tea", 4), *said(69.99, "#milk", 2))
    engine.end()

    result = by_end(engine.results)[70]

    assert spans([result]) == [(65 * MINUTE, 70 * MINUTE)]
    assert told(result["items"]) == [("tea", 11, 7.5), ("lemon", 4, 0.0), ("milk", 2, 5.0)]
    assert told(result["rising"]) == [("lemon", 4, 0.0), ("tea", 11, 7.5)]
    assert (result["against_ms"], result["confidence"], result["events"]) == (HOUR, 1.0, 13)
    scores = {entry["item"]: entry["score"]["value"] for entry in result["items"]}
    assert scores["tea"] == pytest.approx(printed_formula(11, 90, 5 / 60))
    assert scores["milk"] < 0 < scores["tea"] < scores["lemon"]


def test_what_is_held_against_grows_with_what_was_seen_and_at_first_there_is_nothing() -> None:
    engine = Engine(plan(against="20m"))
    for minute in range(3, 45):
        engine.send(*said(minute, "#a", 2))
    engine.end()
    results = by_end(engine.results)
    # The first slice is the one from 0 to 5, cut off by the start; the first seen whole is that from 5 to 10.
    assert {end: r["against_ms"] // MINUTE for end, r in results.items()} == {
        5: 0, 10: 0, 15: 5, 20: 10, 25: 15, 30: 20, 35: 20, 40: 20, 45: 20,
    }  # fmt: skip
    assert results[10]["items"] == [
        {"item": "a", "count": 10, "lower": 10, "upper": 10}
        | {name: {"value": None, "lower": None, "upper": None} for name in ("before", "score")}
    ]
    assert results[10]["rising"] == []
    assert [told(results[end]["items"]) for end in (15, 20, 40)] == [[("a", 10, 10.0)]] * 3


def test_silence_in_the_time_before_was_seen_too() -> None:
    engine = Engine(plan(against="1h"))
    engine.send(*said(0, "#a"))
    engine.send(*said(58, "#b", 3), *said(61, "#b #a", 4))
    engine.end()
    result = by_end(engine.results)[65]
    assert result["against_ms"] == 55 * MINUTE
    assert told(result["rising"]) == [("a", 4, 0.0), ("b", 4, 3 * 5 / 55)]


def test_a_window_with_events_only_before_it_is_not_reported() -> None:
    engine = Engine(plan({"sliding": "5m", "every": "1m"}, against="1h", by=["room"], shards=1))
    engine.send(*said(2.5, "#a", room="x"), *said(30.5, "#a", room="y"))
    engine.end()
    found = {(r["key"]["room"], r["window"]["end_ms"] // MINUTE) for r in engine.results}
    assert found == {("x", end) for end in range(3, 8)} | {("y", end) for end in range(31, 36)}


def test_ids_and_windows_are_those_of_any_other_metric_of_this_name() -> None:
    events = [*said(1, "#a"), *said(7, "#b")]
    windows = {"tumbling": "5m"}, {"sliding": "5m", "every": "1m"}
    trends, tops = (Engine(plan(*windows, kind=kind)) for kind in ("trending", "top_k"))
    trends.send(*events)
    tops.send(*events)
    assert [(r["id"], r["window"], r["events"]) for r in trends.end()] == [
        (r["id"], r["window"], r["events"]) for r in tops.end()
    ]


def test_an_event_in_time_for_its_window_changes_the_windows_that_look_back_on_it() -> None:
    engine = Engine(plan(against="20m", allowed_lateness="6m"))
    for minute in (1, 6, 11):
        engine.send(*said(minute, "#a #b"))
    engine.move_watermark(15 * MINUTE)
    assert told(by_end(engine.results)[15]["items"]) == [("a", 1, 1.0), ("b", 1, 1.0)]

    again = engine.send(*said(9.9, "#a", 3))

    assert [(r["window"]["end_ms"] // MINUTE, r["revision"]) for r in again] == [(10, 1), (15, 1)]
    assert told(again[1]["items"]) == [("a", 1, 4.0), ("b", 1, 1.0)]
    engine.send(*said(4.9, "#a", 3))
    assert len(engine.late) == 3, "what only windows to come would look back on is late for its own"
    engine.send(*said(16, "#a"))
    engine.end()
    assert told(by_end(engine.results)[20]["items"]) == [("a", 1, 5 * 5 / 10)]


def test_early_answers_of_an_open_window_are_held_against_the_time_before_too() -> None:
    engine = Engine(plan(against="1h", emit_every="10s"))
    engine.send(*said(1, "#a"))
    engine.send(*said(7, "#a", 2), *said(11, "#a", 3))
    engine.move_watermark(10 * MINUTE)
    (early,) = [r for r in engine.move_clock(10_000) if r["window"]["end_ms"] == 15 * MINUTE]
    assert (early["final"], told(early["items"])) == (False, [("a", 3, 2.0)])
    assert engine.move_clock(30_000) == []
    (final,) = engine.end()
    assert (final["final"], final["revision"], told(final["items"])) == (True, 1, [("a", 3, 2.0)])


def test_a_restart_forgets_neither_the_time_before_nor_how_much_of_it_was_seen() -> None:
    the_plan = plan(against="1h")
    engine = Engine(the_plan)
    engine.send(*said(1, "#a"), *said(7, "#a", 6))
    engine.move_watermark(12 * MINUTE)
    resumed = Engine(the_plan, engine.snapshot())
    resumed.send(*said(31, "#a", 6))
    (result,) = [r for r in resumed.end() if r["window"]["end_ms"] == 35 * MINUTE]
    assert result["against_ms"] == 25 * MINUTE and told(result["items"]) == [("a", 6, 6 / 5)]


@pytest.mark.parametrize("beat_first", [True, False])
def test_a_shard_that_hears_of_time_before_it_has_data_has_seen_that_there_was_none(beat_first) -> None:
    engine = Engine(plan(against="1h", by=["room"], shards=1))
    if beat_first:
        engine.send()
    engine.move_watermark(3 * MINUTE)
    if not beat_first:
        engine.send()
    engine.move_watermark(40 * MINUTE)
    engine.send(*said(41, "#a", 3, room="x"))
    (result,) = engine.end()
    assert result["against_ms"] == 35 * MINUTE and told(result["rising"]) == [("a", 3, 0.0)]


def test_a_job_that_goes_on_after_its_input_ended_holds_new_windows_against_the_old() -> None:
    the_plan = plan(against="1h")
    engine = Engine(the_plan)
    engine.send(*said(1, "#a"), *said(7, "#a", 6))
    engine.end()
    resumed = Engine(the_plan, engine.snapshot())
    resumed.send(*said(8, "#a"), *said(31, "#a", 6))
    assert len(resumed.late) == 1
    (result,) = resumed.end()
    assert result["against_ms"] == 25 * MINUTE and told(result["items"]) == [("a", 6, 6 / 5)]
    assert resumed.end() == []


def test_what_is_over_stays_over_when_the_input_ends_long_after_the_last_event() -> None:
    the_plan = plan(against="1h")
    engine = Engine(the_plan)
    engine.send(*said(1, "#a"), *said(7, "#a"))
    engine.move_watermark(50 * MINUTE)
    engine.end()
    resumed = Engine(the_plan, engine.snapshot())
    resumed.send(*said(20, "#a"))
    assert (len(resumed.late), resumed.end()) == (1, [])


def test_a_late_event_comes_out_with_its_payload_though_windows_to_come_look_back_on_its_time() -> None:
    engine = Engine(plan(against="1h"), follow=True)
    engine.send(*said(1, "#a"), *said(30, "#a"))
    engine.send(*said(2, "#late"), *said(31, "#a"))
    (late,) = engine.late
    assert "#late" in late["payload"] and late["event_time_ms"] == 2 * MINUTE


def test_state_is_the_slices_that_windows_to_come_look_back_on_and_goes_with_them() -> None:
    engine = Engine(plan({"sliding": "5m", "every": "1m"}, against="20m", allowed_lateness="2m"))
    most = timers = 0
    for minute in range(80):
        engine.send(*said(minute, "#a"))
        engine.move_watermark(minute * MINUTE)
        most = max(most, len(engine.held()["slices", shard_key("trends", 0)]))
        timers = max(timers, engine.timers())
    assert most <= 1 + 20 + 5 + 2 + 1 and timers <= 6
    engine.move_watermark(120 * MINUTE)
    assert engine.held() == {} and engine.end() == []


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_with_more_items_than_fit_the_true_counts_and_scores_lie_within_their_bounds(seed) -> None:
    chosen = random.Random(seed)
    engine = Engine(plan(against="1h", lg_max_map_size=6, k=40))
    events = [(chosen.randrange(70 * MINUTE), int(2000 * chosen.random() ** 4)) for _ in range(6000)]
    events += [(66 * MINUTE, 1999)] * 50 + [(67 * MINUTE, 0)] * 30 + [(0, 0)]
    chosen.shuffle(events)
    for at in range(0, len(events), 500):
        engine.send(*({"t": t, "text": f"#i{item}"} for t, item in events[at : at + 500]))
    engine.end()
    result = by_end(engine.results)[70]
    now = Counter(f"i{item}" for t, item in events if t >= 65 * MINUTE)
    before = Counter(f"i{item}" for t, item in events if 5 * MINUTE <= t < 65 * MINUTE)
    assert len(now) > 48 and result["against_ms"] == HOUR
    assert any(entry["score"]["lower"] < entry["score"]["upper"] for entry in result["items"])
    for entry in [*result["items"], *result["rising"]]:
        item = entry["item"]
        assert entry["lower"] <= now[item] <= entry["upper"] == entry["count"]
        assert entry["upper"] - entry["lower"] <= 3.5 * now.total() / 2**6
        assert entry["before"]["lower"] <= before[item] / 12 <= entry["before"]["upper"]
        assert entry["before"]["lower"] <= entry["before"]["value"] <= entry["before"]["upper"]
        score = burst_score(now[item], before[item], 1, 12)
        assert entry["score"]["lower"] <= score <= entry["score"]["upper"]
        assert entry["score"]["lower"] <= entry["score"]["value"] <= entry["score"]["upper"]
    assert result["rising"][0]["item"] == "i1999" != result["items"][0]["item"] == "i0"
    lowest = [entry["score"]["lower"] for entry in result["rising"]]
    assert lowest == sorted(lowest, reverse=True) and lowest[-1] > 0
    assert all(entry["lower"] >= 2 for entry in result["rising"])
    # All bounds are as wide as these: whatever surely comes often enough and rises within them is told.
    wide = max(entry["upper"] - entry["lower"] for entry in result["items"])
    wide_before = max(entry["before"]["upper"] - entry["before"]["lower"] for entry in result["items"]) * 12
    surely = {
        item
        for item, count in now.items()
        if count - wide >= 2 and burst_score(count - wide, before[item] + round(wide_before), 1, 12) > 0
    }
    assert "i1999" in surely <= {entry["item"] for entry in result["rising"]}


def test_how_many_are_told_and_how_often_they_must_come_is_asked_for() -> None:
    events = [said(1, "#x"), said(6, "#x")]
    events += [said(11, f"#a{number}", number) for number in range(1, 9)]
    engine = Engine(plan(against="1h", k=3, least=6))
    engine.send(*(event for own in events for event in own))
    engine.end()
    result = by_end(engine.results)[15]
    assert [entry["item"] for entry in result["items"]] == ["a8", "a7", "a6"]
    assert [entry["item"] for entry in result["rising"]] == ["a8", "a7", "a6"]
    engine = Engine(plan(against="1h", k=3, least=8))
    engine.send(*(event for own in events for event in own))
    engine.end()
    assert [entry["item"] for entry in by_end(engine.results)[15]["rising"]] == ["a8"]


def test_what_rises_goes_by_what_is_certain_of_it_not_by_what_may_be() -> None:
    kind = Trending(kind="trending", of="tag", least=20, lg_max_map_size=5)
    now, before = TopK(5), TopK(5)
    now.update_many(["known", "unknown", "rare"], np.array([30, 24, 19]))
    before.update_many([f"other{n}" for n in range(60)], np.full(60, 9))
    before.update_many(["known"], np.array([1]))
    assert before.lower_bound("unknown") == before.estimate("unknown") == 0 < before.upper_bound("unknown")
    partials = Before(before.serialize(), HOUR, 5 * MINUTE)

    rising = kind.build({"tag": "string"}).answer_against(now.serialize(), 73, partials)["rising"]

    assert [entry["item"] for entry in rising] == ["known", "unknown"]
    assert rising[0]["score"]["value"] < rising[1]["score"]["value"]
    assert rising[0]["score"]["lower"] > rising[1]["score"]["lower"]


def test_an_item_that_may_not_have_come_often_enough_is_not_told_as_rising() -> None:
    now = TopK(5)
    now.update_many([f"item{n}" for n in range(60)], np.arange(10, 70))
    kind = Trending(kind="trending", of="tag", least=30, k=60, lg_max_map_size=5)
    answer = kind.build({"tag": "string"}).answer_against(now.serialize(), 60, Before(None, HOUR, MINUTE))
    doubtful = {entry["item"] for entry in answer["items"] if entry["lower"] < 30 <= entry["upper"]}
    assert doubtful and all(entry["score"]["lower"] > 0 for entry in answer["items"])
    assert {entry["item"] for entry in answer["rising"]} == {
        entry["item"] for entry in answer["items"] if entry["lower"] >= 30
    }


def test_items_keep_their_json_types_and_windows_without_values_have_no_items() -> None:
    engine = Engine(plan(of="n", against="1h"), with_sketch=True)
    engine.send(*said(1, "", n=5), *said(6, "", 2, n=7), *said(6, "", 2, n=50), *said(12, ""))
    engine.end()
    _, second, third = engine.results
    assert [entry["item"] for entry in second["items"]] == [7, 50], "ties go by number"
    assert (third["items"], third["rising"], third["events"]) == ([], [], 1)
    sketch = frequent_strings_sketch.deserialize(b64decode(second["sketch"]))
    assert (sketch.get_estimate("7"), sketch.get_estimate("5")) == (2, 0), "the window's own items only"


def test_the_score_is_the_printed_formula_and_zero_where_the_rates_are_the_same() -> None:
    for on, off, window, time in [(30, 120, 5, 60), (3, 1, 1, 1), (1000, 11_000, 5, 60), (2, 1, 5, 55)]:
        assert burst_score(on, off, window, time) == pytest.approx(printed_formula(on, off, window / time))
    assert burst_score(7, 84, 5 * MINUTE, HOUR) == burst_score(0, 0, 5, 60) == 0.0
    assert burst_score(7, 77, 5 * MINUTE, 55 * MINUTE) == 0.0
    assert burst_score(0, 12, 5, 60) < 0


def test_the_score_rises_with_the_count_and_falls_with_the_count_before() -> None:
    counts = [0, 1, 2, 3, 10, 99, 100, 101, 10**6, 10**6 + 1]
    for window, time in [(5, 60), (5, 5), (60, 5), (300_000, 3_600_000)]:
        scores = np.array([[burst_score(on, off, window, time) for off in counts] for on in counts])
        assert (np.diff(scores, axis=0) > 0).all()
        assert (np.diff(scores, axis=1) < 0).all()


@pytest.mark.parametrize(("rate", "time"), [(20, 12), (200, 12), (50, 1)])
def test_a_score_of_items_that_come_steadily_is_above_three_as_seldom_as_chance_has_it(rate, time) -> None:
    random_ = np.random.default_rng(rate + time)
    now, before = random_.poisson(rate, 40_000), random_.poisson(rate * time, 40_000)
    scores = np.array(
        [burst_score(*pair, 1, time) for pair in zip(now.tolist(), before.tolist(), strict=True)]
    )
    assert abs(scores.mean()) < 0.05 and scores.std() == pytest.approx(1, abs=0.03)
    assert 20 <= (scores > 3).sum() <= 110  # 54 of a normal distribution


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"windows": [{"session": "5m"}]}, "windows: trending takes tumbling and sliding windows"),
        ({"against": "0s"}, "greater than 0"),
        ({"against": "1d"}, None),
        ({"against": "4d", "windows": [{"sliding": "5m", "every": "10s"}]}, "and the 345600000 ms before it"),
        ({"of": "nothing"}, "metrics.trends.of: there is no column 'nothing'"),
        ({"weight": "n"}, "weight"),
        ({"least": 0}, "greater than or equal to 1"),
    ],
)
def test_wrong_options_are_refused(options, message) -> None:
    if message is None:
        Engine(plan(**options))
        return
    with pytest.raises(ValidationError, match=message):
        Engine(plan(**options))
