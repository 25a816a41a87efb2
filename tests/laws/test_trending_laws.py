"""Trending items against a reference that counts event by event, across late events and restarts."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from typing import Any

import pytest
from engine import Engine, latest
from hypothesis import example, given, settings
from hypothesis import strategies as st

K, LEAST, LATE_END = 3, 2, 400
EVENT = st.tuples(st.sampled_from("ab"), st.integers(-25, 40), st.sampled_from("uvwxyz"))
SPEC = st.integers(1, 6).flatmap(
    lambda size: st.tuples(st.just(size), st.integers(1, size), st.integers(0, 6))
)
SPECS = st.lists(SPEC, min_size=1, max_size=2, unique_by=lambda spec: (spec[0], spec[1], spec[2] % spec[1]))
BATCH = st.tuples(st.just("batch"), st.lists(EVENT, min_size=1, max_size=12))
WATERMARK = st.tuples(st.just("watermark"), st.integers(-30, 50))
RESTART = st.tuples(st.just("restart"), st.none())
Pane = tuple[tuple[int, int, int], str, int]


class Reference:
    """Keeps every event that was in time for a window; a window counts those in it and those before it."""

    def __init__(self, specs: list[tuple[int, int, int]], before: int, lateness: int) -> None:
        self.specs, self.before, self.lateness, self.watermark = specs, before, lateness, -(10**9)
        self.slice = math.gcd(before, *(number for spec in specs for number in spec))
        self.whole_from = 10**9
        self.events: list[tuple[str, int, str]] = []
        self.late: Counter[tuple] = Counter()
        self.finals: dict[Pane, dict[str, Any]] = {}

    def batch(self, events: list[tuple[str, int, str]]) -> None:
        in_time = [event for event in events if any(map(self._takes, self._panes(event, 0)))]
        self.late.update(event for event in events if event not in in_time)
        self.events += in_time
        for _, time, _ in in_time:
            self._begins(time)
        touched = {pane for event in in_time for pane in self._panes(event, self.before)}
        for pane in touched:
            if self._takes(pane) and self._ended(pane):
                self._answer(pane)

    def advance(self, to: int) -> None:
        before, self.watermark = self.watermark, max(to, self.watermark)
        self._begins(self.watermark)
        panes = {pane for event in self.events for pane in self._panes(event, 0)}
        for pane in panes:
            if before < pane[2] + pane[0][0] - 1 <= self.watermark:
                self._answer(pane)

    def _begins(self, time: int) -> None:
        # All that is known of slices: the one within which the stream begins is not seen whole.
        self.whole_from = min(self.whole_from, (time // self.slice + 1) * self.slice)

    def _panes(self, event: tuple[str, int, str], before: int) -> list[Pane]:
        key, time, _ = event
        return [
            (spec, key, start)
            for spec in self.specs
            for start in range(time - spec[0] + 1, time + before + 1)
            if (start - spec[2]) % spec[1] == 0
        ]

    def _takes(self, pane: Pane) -> bool:
        return pane[2] + pane[0][0] - 1 + self.lateness > self.watermark

    def _ended(self, pane: Pane) -> bool:
        return pane[2] + pane[0][0] - 1 <= self.watermark

    def _answer(self, pane: Pane) -> None:
        (size, *_), key, start = pane
        after = min(max(start - self.before, self.whole_from), start)
        own = [(time, item) for of, time, item in self.events if of == key]
        now = Counter(item for time, item in own if start <= time < start + size)
        earlier = Counter(item for time, item in own if after <= time < start)
        if now:
            self.finals[pane] = told(now, earlier, size, start - after)


def told(now: Counter[str], earlier: Counter[str], size: int, seen: int) -> dict[str, Any]:
    ranked = sorted(now, key=lambda item: (-now[item], item))
    entries = {item: entry(item, now[item], earlier[item], size, seen) for item in ranked}
    rising = [item for item in ranked if seen and now[item] >= LEAST and entries[item]["score"]["value"] > 0]
    rising.sort(key=lambda item: -entries[item]["score"]["value"])
    return {
        "events": now.total(),
        "against_ms": seen,
        "items": [entries[item] for item in ranked[:K]],
        "rising": [entries[item] for item in rising[:K]],
    }


def entry(item: str, count: int, before: int, size: int, seen: int) -> dict[str, Any]:
    expected = before * size / seen if seen else None
    score = li_ma(count, before, size, seen) if seen else None
    return {
        "item": item,
        **dict.fromkeys(("count", "lower", "upper"), count),
        "before": dict.fromkeys(("value", "lower", "upper"), expected),
        "score": dict.fromkeys(("value", "lower", "upper"), score),
    }


def li_ma(on: int, off: int, time_on: int, time_off: int) -> float:
    """The formula as it is printed, equation 17, with a sign."""
    if on * time_off == off * time_on:
        return 0.0
    alpha = time_on / time_off
    first = on * math.log((1 + alpha) / alpha * on / (on + off))
    second = off * math.log((1 + alpha) * off / (on + off)) if off else 0
    return math.copysign(math.sqrt(max(2 * (first + second), 0)), on * time_off - off * time_on)


def plan(specs: list[tuple[int, int, int]], before: int, lateness: int) -> dict[str, Any]:
    windows = [
        {"sliding": f"{size}ms", "every": f"{every}ms", "offset": f"{offset}ms"}
        for size, every, offset in specs
    ]
    options = {"of": "item", "k": K, "least": LEAST, "against": f"{before}ms", "by": ["k"], "shards": 1}
    return {
        "name": "law",
        "event": {
            "fields": {"k": "string", "t": "long", "item": "string"},
            "time": {"field": "t", "unit": "ms"},
        },
        "allowed_lateness": f"{lateness}ms",
        "metrics": [{"name": "trends", "kind": "trending", "windows": windows, **options}],
    }


def run(the_plan: dict[str, Any], steps: list[tuple], reference: Reference) -> Engine:
    engine = Engine(the_plan)
    engine.send()
    for step, argument in [*steps, ("watermark", LATE_END)]:
        if step == "batch":
            engine.send(*({"k": k, "t": t, "item": item} for k, t, item in argument))
            reference.batch(argument)
        elif step == "watermark":
            engine.move_watermark(argument)
            reference.advance(argument)
        else:
            resumed = Engine(the_plan, engine.snapshot())
            resumed.results, resumed.late = engine.results, engine.late
            engine = resumed
    return engine


def rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: rounded(own) for name, own in value.items()}
    if isinstance(value, list):
        return [rounded(own) for own in value]
    return pytest.approx(value, abs=2e-6) if isinstance(value, float) else value


@settings(max_examples=100, deadline=None)
@example([(1, 1, 0), (3, 1, 0)], 1, 1, [("watermark", 0), ("batch", [("a", 0, "u"), ("b", -2, "u")])])
@given(SPECS, st.integers(1, 14), st.integers(0, 8), st.lists(BATCH | WATERMARK | RESTART, max_size=12))
def test_every_answer_counts_the_window_and_the_time_before_it_as_far_as_it_was_seen(
    specs, before, lateness, steps
) -> None:
    reference = Reference(specs, before, lateness)
    engine = run(plan(specs, before, lateness), steps, reference)

    found: dict[Pane, dict[str, Any]] = {}
    for result in latest(engine.results).values():
        window = result["window"]
        found[pane_of(window, result["key"]["k"], specs)] = result
        assert window["end_ms"] - window["start_ms"] == window["size_ms"]
    assert found.keys() == reference.finals.keys()
    for pane, expected in reference.finals.items():
        assert {name: found[pane][name] for name in expected} == rounded(expected), pane
    late: defaultdict[tuple, int] = defaultdict(int)
    for lost in engine.late:
        late[lost["key"]["k"], lost["event_time_ms"]] += 1
    assert late == Counter((key, time) for key, time, _ in reference.late.elements())
    assert not engine.held()


def pane_of(window: dict[str, Any], key: str, specs: list[tuple[int, int, int]]) -> Pane:
    size, start = window["size_ms"], window["start_ms"]
    (spec,) = [
        spec
        for spec in specs
        if (spec[0], spec[1]) == (size, window.get("every_ms", size)) and (start - spec[2]) % spec[1] == 0
    ]
    return spec, key, start
