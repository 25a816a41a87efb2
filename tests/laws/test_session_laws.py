"""Sessions against a reference that keeps every event and compares each with each."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from engine import Engine, latest
from hypothesis import given, settings
from hypothesis import strategies as st

TICK_MS = 10
EVENT = st.tuples(st.sampled_from(["a", "b", None]), st.integers(-25, 40))
BATCH = st.tuples(st.just("batch"), st.lists(EVENT, min_size=1, max_size=6))
WATERMARK = st.tuples(st.just("watermark"), st.integers(-30, 55))
TICK = st.tuples(st.just("tick"), st.none())
RESTART = st.tuples(st.just("restart"), st.none())


class Reference:
    """Sessions as lists of event times, one list of live sessions a key."""

    def __init__(self, gap: int, lateness: int) -> None:
        self.gap, self.lateness, self.watermark = gap, lateness, -(10**9)
        self.live: dict[Any, list[list[int]]] = {}
        self.answers: dict[tuple, int] = {}
        self.retracted: set[tuple] = set()
        self.late: Counter[tuple] = Counter()
        self.accepted = 0

    def batch(self, events: list[tuple]) -> None:
        for key, time in sorted(events, key=lambda event: event[1]):
            self._take(key, time)

    def advance(self, to: int) -> None:
        before, self.watermark = self.watermark, max(to, self.watermark)
        for key, sessions in self.live.items():
            for session in sessions:
                if before < self._end(session) <= self.watermark:
                    self.answers[key, min(session)] = len(session)
            self.live[key] = [s for s in sessions if self._end(s) + self.lateness > self.watermark]

    def _take(self, key: Any, time: int) -> None:
        held = self.live.setdefault(key, [])
        near = [s for s in held if any(abs(time - other) <= self.gap for other in s)]
        closed = self._end([time]) + self.lateness <= self.watermark
        if closed and not any(min(session) <= time for session in near):
            self.late[key, time] += 1
            return
        self.accepted += 1
        merged = [time, *(other for session in near for other in session)]
        for session in near:
            start = key, min(session)
            if min(session) != min(merged) and start in self.answers:
                del self.answers[start]
                self.retracted.add(start)
        self.live[key] = [s for s in held if s not in near] + [merged]
        if self._end(merged) <= self.watermark:
            self.answers[key, min(merged)] = len(merged)

    def _end(self, session: list[int]) -> int:
        return max(session) + self.gap - 1


def plan(gap: int, lateness: int, early: bool = False) -> dict[str, Any]:
    metric = {"by": ["k"], "windows": [{"session": f"{gap}ms"}], "shards": 3}
    return {
        "name": "law",
        "event": {
            "fields": {"k": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
        },
        "allowed_lateness": f"{lateness}ms",
        "metrics": [
            {"name": "visits", "kind": "count", **metric, **({"emit_every": f"{TICK_MS}ms"} if early else {})}
        ],
    }


def run(the_plan: dict[str, Any], steps: list[tuple], reference: Reference) -> Engine:
    engine = Engine(the_plan)
    engine.send()
    for step, argument in [*steps, ("watermark", 200)]:
        if step == "batch":
            engine.send(*({"k": k, "t": t} for k, t in argument))
            reference.batch(argument)
        elif step == "watermark":
            engine.move_watermark(argument)
            reference.advance(argument)
        elif step == "tick":
            engine.move_clock((engine.now_ms // TICK_MS + 1) * TICK_MS)
        else:
            resumed = Engine(the_plan, engine.snapshot(), now_ms=engine.now_ms)
            resumed.results, resumed.late = engine.results, engine.late
            engine = resumed
    return engine


def named(result: dict[str, Any]) -> tuple:
    return result["key"]["k"], result["window"]["start_ms"]


def check(engine: Engine, reference: Reference) -> None:
    answers = latest(engine.results)
    standing = {named(r): r["value"] for r in answers.values() if not r.get("retracted")}
    assert standing == reference.answers
    payloads = [json.loads(entry["payload"]) for entry in engine.late]
    assert Counter((p["k"], p["t"]) for p in payloads) == reference.late
    assert sum(standing.values()) == reference.accepted
    assert not engine.held()


@settings(max_examples=120, deadline=None)
@given(st.integers(1, 9), st.integers(0, 12), st.lists(BATCH | WATERMARK, max_size=12))
def test_sessions_are_the_connected_groups_of_events(gap, lateness, steps) -> None:
    reference = Reference(gap, lateness)
    engine = run(plan(gap, lateness), steps, reference)
    check(engine, reference)
    retracted = {named(r) for r in engine.results if r.get("retracted")}
    assert retracted == reference.retracted


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 9), st.integers(0, 12), st.lists(BATCH | WATERMARK | TICK, max_size=14))
def test_early_answers_change_no_last_answer_of_a_session(gap, lateness, steps) -> None:
    reference = Reference(gap, lateness)
    engine = run(plan(gap, lateness, early=True), steps, reference)
    check(engine, reference)
    assert all(r["final"] for r in latest(engine.results).values())


@settings(max_examples=120, deadline=None)
@given(st.integers(1, 9), st.integers(0, 12), st.lists(BATCH | WATERMARK | RESTART, max_size=14))
def test_a_restart_at_a_step_of_the_gap_changes_no_outcome(gap, lateness, steps) -> None:
    """Sessions remember the watermark in steps of the gap, so that is where restarts leave no trace."""
    steps = [(s, a // gap * gap if s == "watermark" else a) for s, a in steps]
    reference = Reference(gap, lateness)
    check(run(plan(gap, lateness), steps, reference), reference)


@settings(max_examples=120, deadline=None)
@given(st.integers(2, 9), st.lists(BATCH | WATERMARK | RESTART, max_size=14))
def test_no_restart_lets_a_partial_answer_take_the_place_of_a_final_one(gap, steps) -> None:
    engine = run(plan(gap, 0), steps, Reference(gap, 0))
    assert all(r["revision"] == 0 for r in engine.results if r["final"])
    assert len(latest(engine.results)) == len(engine.results)
