"""Tumbling and sliding windows against a reference that follows Flink's rules event by event."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from fractions import Fraction
from typing import Any

from engine import Engine, latest
from hypothesis import given, settings
from hypothesis import strategies as st

TICK_MS = 10
KEYS = st.sampled_from(["a", "b", "c", None])
EVENT = st.tuples(KEYS, st.integers(-25, 30), st.sampled_from([0.1, 0.7, -3.0, 1e16, None]))
SPEC = st.integers(1, 9).flatmap(
    lambda size: st.tuples(st.just(size), st.integers(1, size), st.integers(0, 12))
)
SPECS = st.lists(SPEC, min_size=1, max_size=3, unique_by=lambda spec: (spec[0], spec[1], spec[2] % spec[1]))
BATCH = st.tuples(st.just("batch"), st.lists(EVENT, min_size=1, max_size=6))
SINGLE = st.tuples(st.just("batch"), st.lists(EVENT, min_size=1, max_size=1))
WATERMARK = st.tuples(st.just("watermark"), st.integers(-30, 45))
TICK = st.tuples(st.just("tick"), st.none())
RESTART = st.tuples(st.just("restart"), st.none())


class Reference:
    """Windows as sets of events: an event is assigned to windows, each window decides whether it is late.

    Nothing is known of slices, shards or partials. A restart changes nothing.
    """

    def __init__(self, specs: list[tuple[int, int, int]], lateness: int) -> None:
        self.specs, self.lateness, self.watermark = specs, lateness, -(10**9)
        self.panes: dict[tuple, list[tuple]] = defaultdict(list)
        self.revisions: Counter[tuple] = Counter()
        self.early: dict[tuple, int] = {}
        self.finals: dict[tuple, tuple[int, float]] = {}
        self.late: Counter[tuple] = Counter()

    def batch(self, events: list[tuple]) -> None:
        touched = defaultdict(set)
        for number, (key, time, value) in enumerate(events):
            panes = [
                (spec, key, start)
                for spec in self.specs
                for start in range(time - spec[0] + 1, time + 1)
                if (start - spec[2]) % spec[1] == 0
            ]
            open_ = [p for p in panes if p[2] + p[0][0] - 1 + self.lateness > self.watermark]
            if not open_:
                self.late[key, time, value] += 1
            for pane in open_:
                self.panes[pane].append((time, value))
                touched[pane].add(number)
        for pane in touched:
            if self._ended(pane):
                self._answer(pane)

    def advance(self, to: int) -> None:
        before, self.watermark = self.watermark, max(to, self.watermark)
        for pane in list(self.panes):
            if before < pane[2] + pane[0][0] - 1 <= self.watermark:
                self._answer(pane)

    def tick(self) -> None:
        for pane, events in self.panes.items():
            if not self._ended(pane) and self.early.get(pane) != len(events):
                self.early[pane] = len(events)
                self.revisions[pane] += 1

    def _ended(self, pane: tuple) -> bool:
        return pane[2] + pane[0][0] - 1 <= self.watermark

    def _answer(self, pane: tuple) -> None:
        total = sum(Fraction(value) for _, value in self.panes[pane] if value is not None)
        self.finals[pane] = (len(self.panes[pane]), float(total))
        self.revisions[pane] += 1


def plan(specs: list[tuple[int, int, int]], lateness: int, early: bool) -> dict[str, Any]:
    windows = [
        {"tumbling": f"{size}ms", "offset": f"{offset}ms"}
        if size == every
        else {"sliding": f"{size}ms", "every": f"{every}ms", "offset": f"{offset}ms"}
        for size, every, offset in specs
    ]
    metric = {"by": ["k"], "windows": windows, "shards": 3} | (
        {"emit_every": f"{TICK_MS}ms"} if early else {}
    )
    return {
        "name": "law",
        "event": {
            "fields": {"k": "string", "t": "long", "v": "double"},
            "time": {"field": "t", "unit": "ms"},
        },
        "allowed_lateness": f"{lateness}ms",
        "metrics": [
            {"name": "events", "kind": "count", **metric},
            {"name": "total", "kind": "sum", "of": "v", **metric},
        ],
    }


def run(the_plan: dict[str, Any], steps: list[tuple], reference: Reference) -> Engine:
    """Drive engine and reference side by side; return the last engine, with the outputs of all its lives."""
    engine = Engine(the_plan)
    engine.send()  # no watermark comes before a batch, and the first one, even an empty one, wakes all shards
    for step, argument in [*steps, ("watermark", 200)]:
        if step == "batch":
            engine.send(*({"k": k, "t": t} | ({} if v is None else {"v": v}) for k, t, v in argument))
            reference.batch(argument)
        elif step == "watermark":
            engine.move_watermark(argument)
            reference.advance(argument)
        elif step == "tick":
            engine.move_clock((engine.now_ms // TICK_MS + 1) * TICK_MS)
            reference.tick()
        else:
            resumed = Engine(the_plan, engine.snapshot(), now_ms=engine.now_ms)
            resumed.results, resumed.late = engine.results, engine.late
            engine = resumed
    return engine


def pane_of(result: dict[str, Any], specs: list[tuple[int, int, int]]) -> tuple:
    window = result["window"]
    (spec,) = [
        spec
        for spec in specs
        if spec[0] == window["size_ms"]
        and spec[1] == window.get("every_ms", spec[0])
        and (window["start_ms"] - spec[2]) % spec[1] == 0
    ]
    assert window["type"] == ("tumbling" if spec[0] == spec[1] else "sliding")
    assert window["end_ms"] == window["start_ms"] + spec[0]
    return spec, result["key"]["k"], window["start_ms"]


def check(engine: Engine, reference: Reference, specs: list[tuple[int, int, int]]) -> None:
    of_metric = {name: [r for r in engine.results if r["metric"] == name] for name in ("events", "total")}
    for name, number in (("events", 0), ("total", 1)):
        answers = {pane_of(r, specs): r for r in latest(of_metric[name]).values()}
        assert {pane: r["value"] for pane, r in answers.items()} == {
            pane: final[number] for pane, final in reference.finals.items()
        }
        assert all(r["final"] and r["events"] == reference.finals[pane][0] for pane, r in answers.items())
        late = [entry for entry in engine.late if entry["metric"] == name]
        payloads = [told_of(entry) for entry in late]
        assert Counter(payloads) == reference.late
    assert not engine.held()


def told_of(entry: dict[str, Any]) -> tuple:
    """Return key, time and value of a late event, from what the late output says and from its payload."""
    payload = json.loads(entry["payload"])
    assert entry["key"] == {"k": payload["k"]} and entry["event_time_ms"] == payload["t"]
    return payload["k"], payload["t"], payload.get("v")


@settings(max_examples=150, deadline=None)
@given(SPECS, st.integers(0, 8), st.lists(BATCH | WATERMARK, max_size=12))
def test_windows_answer_as_flink_would(specs, lateness, steps) -> None:
    reference = Reference(specs, lateness)
    check(run(plan(specs, lateness, False), steps, reference), reference, specs)


@settings(max_examples=120, deadline=None)
@given(SPECS, st.integers(0, 8), st.lists(BATCH | WATERMARK | RESTART, max_size=12))
def test_a_restart_with_a_new_watermark_changes_no_outcome(specs, lateness, steps) -> None:
    reference = Reference(specs, lateness)
    check(run(plan(specs, lateness, False), steps, reference), reference, specs)


@settings(max_examples=120, deadline=None)
@given(SPECS, st.integers(0, 8), st.lists(SINGLE | WATERMARK | TICK | RESTART, max_size=14))
def test_every_early_final_and_late_answer_is_one_revision(specs, lateness, steps) -> None:
    reference = Reference(specs, lateness)
    engine = run(plan(specs, lateness, True), steps, reference)
    check(engine, reference, specs)
    sent = Counter(pane_of(r, specs) for r in engine.results if r["metric"] == "events")
    assert sent == reference.revisions
