"""Windows of first events: none is answered before what it waits for is there, and none waits for ever.

The engine lets windows see a watermark before what comes with it has come through the stage, as Flink does
after a silence, or the other way round.
"""

from __future__ import annotations

import copy
import json
import random
from collections import Counter
from typing import Any

import pytest
from engine import Engine, Snapshot, latest, spans
from operator_chain import Operators

from operators.plan import Plan
from operators.records import Progress

SECOND, MINUTE = 1_000, 60_000
WINDOWS = [{"tumbling": "4s"}, {"sliding": "8s", "every": "4s"}]


def plan(windows: list[dict[str, str]], event: dict[str, str], **options: Any) -> dict[str, Any]:
    """Return a plan that counts first events of users and, beside that, events, over the same windows."""
    own = {"windows": windows, "shards": 2} | options
    return {
        "name": "shop",
        "event": {
            "fields": {"user": "string", "page": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
        }
        | event,
        "metrics": [
            {"name": "visitors", "kind": "first_seen", "of": "user", "exact": True, **own},
            {"name": "visits", "kind": "count", **own},
        ],
    }


def visit(t: int, user: str | None = "ann", page: str = "a") -> dict[str, Any]:
    return {"user": user, "t": t, "page": page}


def of(metric: str, told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [entry for entry in told if entry["metric"] == metric]


def test_a_backlog_after_a_silence_is_in_its_windows_though_the_watermark_is_ahead_of_it() -> None:
    engine = Engine(plan([{"tumbling": "10s"}], {"out_of_orderness": "0s"}), follow=True)
    engine.send(visit(0, "user 0"))
    engine.send(*(visit(second * SECOND, f"user {second % 40}") for second in range(1, 61)))
    told = of("visitors", engine.results)
    assert [(start // SECOND, end // SECOND) for start, end in spans(told)] == [
        (start, start + 10) for start in range(0, 60, 10)
    ]
    assert [(r["new"], r["returning"], r["revision"]) for r in told] == [(10, 0, 0)] * 4 + [(0, 10, 0)] * 2
    assert engine.late == []


@pytest.mark.parametrize("stages_first", [False, True])
@pytest.mark.parametrize("lateness", ["0s", "3s"])
@pytest.mark.parametrize("seed", range(3))
def test_windows_revisions_and_late_events_are_those_of_a_count_beside_it(
    stages_first: bool, lateness: str, seed: int
) -> None:
    """`count` has no stage: Flink's own watermark decides for it. Restarts included."""
    chance = random.Random(seed)
    shape = plan(WINDOWS, {"out_of_orderness": "1s"}, by=["page"], allowed_lateness=lateness)
    engine = Engine(shape, follow=True, stages_first=stages_first)
    results: list[dict[str, Any]] = []
    late: list[dict[str, Any]] = []
    now = MINUTE
    for _ in range(80):
        now += chance.randrange(4 * SECOND)
        engine.send(
            *(
                visit(
                    now - int(chance.expovariate(1 / (6 * SECOND))),
                    None if chance.random() < 0.2 else f"user {chance.randrange(50)}",
                    chance.choice("ab"),
                )
                for _ in range(chance.randrange(12))
            )
        )
        if chance.random() < 0.1:
            results, late = results + engine.results, late + engine.late
            engine = Engine(shape, engine.snapshot(), follow=True, stages_first=stages_first)
    engine.end()
    results, late = results + engine.results, late + engine.late
    answers = latest(results).values()
    assert answered(of("visitors", answers)) == answered(of("visits", answers))
    assert any(result["revision"] for result in results) == (lateness != "0s")
    assert lost(of("visitors", late)) == lost(of("visits", late))
    assert len(late) > 20


def answered(results: list[dict[str, Any]]) -> dict[tuple[int, int, str], int]:
    return {(*spans([r])[0], r["key"]["page"]): r["events"] for r in results}


def lost(late: list[dict[str, Any]]) -> Counter[str]:
    """Return how many late events there are by place: its own, or that of its batch."""
    counts: Counter[str] = Counter()
    for entry in late:
        counts[str(entry.get("offset", entry.get("batch")))] += entry.get("events", 1)
    return counts


def test_windows_go_on_with_the_watermark_where_most_shards_of_values_have_nothing() -> None:
    engine = Engine(plan([{"tumbling": "10s"}], {"out_of_orderness": "0s"}), follow=True)
    for second in range(0, 60, 5):
        engine.send(visit(second * SECOND))
        reached = engine.watermark_ms
        told = of("visitors", engine.results)
        assert [end for _, end in spans(told)] == [
            end for end in range(10 * SECOND, MINUTE, 10 * SECOND) if end - 1 <= reached
        ]


def test_shards_of_values_tell_windows_at_first_and_at_each_end_of_a_window_and_no_more() -> None:
    engine = Engine(
        plan([{"tumbling": "10s"}], {"out_of_orderness": "0s"}, allowed_lateness="3s"), follow=True
    )
    for second in range(30):
        engine.send(*(visit(second * SECOND + n, f"user {n}") for n in range(30)))
    told = [record for _, record in engine.records if isinstance(record, Progress)]
    # At first, at 10 and 20 seconds, where windows end, and at 3, 13 and 23, where they close.
    assert len(told) == (1 + 2 + 3) * 8 * 2


def test_in_a_silence_windows_close_when_those_of_a_count_do() -> None:
    silent = {"out_of_orderness": "0s", "idle_timeout": "30s", "on_idle": "advance"}
    engine = Engine(plan([{"tumbling": "5m"}, {"tumbling": "1m"}], silent), follow=True)
    engine.send(visit(10 * SECOND))
    engine.send(visit(55 * SECOND, "bob"))  # the stage told nothing since the first watermark
    told = {"visitors": [], "visits": []}
    for now in range(0, 10 * MINUTE, SECOND):
        for result in engine.move_clock(now):
            told[result["metric"]].append((now, *spans([result])[0], result["events"]))
    assert told["visitors"] == told["visits"]
    assert [(now, end) for now, _, end, _ in told["visits"]] == [
        (30 * SECOND, MINUTE),
        (4 * MINUTE + 5 * SECOND, 5 * MINUTE),
    ]
    # What comes for those windows is late for both; what comes for others is not.
    engine.send(visit(58 * SECOND))
    engine.send(visit(20 * MINUTE))
    engine.send(visit(22 * MINUTE))
    assert [entry["metric"] for entry in engine.late] == ["visits", "visitors"]
    engine.end()
    assert answered_without_key(engine, "visitors") == answered_without_key(engine, "visits")


def answered_without_key(engine: Engine, metric: str) -> dict[tuple[int, int], int]:
    return {spans([r])[0]: r["events"] for r in latest(of(metric, engine.results)).values()}


def test_open_windows_are_reported_early_until_all_is_there() -> None:
    engine = Engine(plan([{"tumbling": "1m"}], {"out_of_orderness": "0s"}, emit_every="10s"), follow=True)
    engine.send(visit(0), visit(1, "bob"))
    engine.move_clock(10 * SECOND)
    engine.send(visit(5))
    engine.move_clock(20 * SECOND)
    engine.send(visit(MINUTE, "eve"))
    told = [(r["new"], r["returning"], r["revision"], r["final"]) for r in of("visitors", engine.results)]
    assert told == [(2, 0, 0, False), (2, 1, 1, False), (2, 1, 2, True)]


def test_a_job_that_goes_on_from_a_state_without_progress_hears_of_it_soon() -> None:
    """As one whose metric was added, or that an older version ran: no window waits for ever."""
    shape = plan([{"tumbling": "1m"}], {"out_of_orderness": "0s"})
    engine = Engine(shape, follow=True)
    engine.send(visit(0), visit(1, "bob"))
    older = without_progress(engine.snapshot())
    again = Engine(shape, older, follow=True)
    again.send(visit(2, "eve"))
    again.send(visit(3 * MINUTE))
    assert [(r["new"], r["returning"]) for r in of("visitors", again.results)] == [(3, 0)]


def without_progress(snapshot: Snapshot) -> Snapshot:
    """Return a snapshot as it would be had the stage no timers and the windows no news of it."""
    state = copy.deepcopy(snapshot.state)
    assert any(held.pop(b"progress", None) for held in state["clock"].values())
    timers = {timer for timer in snapshot.event_timers if "@" not in timer[1]}
    assert timers != snapshot.event_timers
    return Snapshot(state, timers, snapshot.clock_timers)


def test_a_shard_that_comes_to_a_watermark_that_is_there_tells_it_at_once() -> None:
    engine = Engine(plan([{"tumbling": "1m"}], {}))
    engine.move_watermark(10 * MINUTE)
    engine.send(visit(9 * MINUTE), visit(11 * MINUTE, "bob"))
    assert [entry["metric"] for entry in engine.late] == ["visits", "visitors"]
    assert engine.results == []


def test_timers_of_a_metric_that_was_taken_out_are_nothing() -> None:
    shape = plan([{"tumbling": "1m"}], {"out_of_orderness": "0s"})
    running = Operators(Plan.model_validate(shape))
    running.send(json.dumps(visit(0)).encode())
    running.timers[True] |= {(0, "gone@seen/3"), (1, "gone/0")}
    running.end()
    assert {(r["metric"], r["events"]) for r in running.results} == {("visitors", 1), ("visits", 1)}


def test_state_is_empty_of_windows_once_they_are_over() -> None:
    engine = Engine(plan(WINDOWS, {"out_of_orderness": "0s"}, allowed_lateness="3s"), follow=True)
    for second in range(300):
        engine.send(visit(second * SECOND, f"user {second % 7}"))
        assert engine.timers() < 60
    engine.end()
    assert {name for name, _ in engine.held()} == {"seen"}
