"""Weights near the limit of longs through all operators: every answer against Python's integers."""

from __future__ import annotations

import json
from collections import Counter
from fractions import Fraction
from typing import Any

from engine import Engine, latest
from hypothesis import given, settings
from hypothesis import strategies as st
from operator_chain import Operators
from rule_inputs import Running

from operators.plan import Plan
from operators.rules.rule_spec import Rule

ITEMS = [f"i{number}" for number in range(40)]
MOST_EXACT = 24
"""How many items a sketch of lg_max_map_size 5 keeps."""
WEIGHT = st.integers(2**62, 2**63 - 1) | st.sampled_from([0, 1, 2**63 - 1, None])
EVENT = st.tuples(st.sampled_from(["a", "b", None]), st.sampled_from(ITEMS), st.integers(0, 50), WEIGHT)
# A batch of all items at once makes sketches overflow, too.
ALL_ITEMS = st.lists(WEIGHT, min_size=40, max_size=40).map(
    lambda weights: [("a", item, 7, weight) for item, weight in zip(ITEMS, weights, strict=True)]
)
BATCH = st.tuples(st.just("batch"), st.lists(EVENT, min_size=1, max_size=12) | ALL_ITEMS)
STEPS = st.lists(
    BATCH | st.tuples(st.just("watermark"), st.integers(0, 80)) | st.tuples(st.just("restart"), st.none()),
    min_size=1,
    max_size=8,
)
FIELDS = {"k": "string", "item": "string", "t": "long", "w": "long"}
WINDOWS = [{"tumbling": "20ms"}, {"sliding": "30ms", "every": "10ms"}, {"session": "5ms"}]


def plan(*windows: dict[str, str]) -> dict[str, Any]:
    by = {"by": ["k"], "windows": list(windows), "shards": 2}
    first = {"kind": "sum", "of": "w", "where": "item = 'i0'"}
    return {
        "name": "law",
        "event": {"fields": FIELDS, "time": {"field": "t", "unit": "ms"}},
        "allowed_lateness": "1s",
        "metrics": [
            {"name": "top", "kind": "top_k", "of": "item", "k": 99, "weight": "w", "lg_max_map_size": 5} | by,
            {"name": "often", "kind": "frequency", "of": "item", "ask": ITEMS, "weight": "w"} | by,
            {"name": "sum", "kind": "sum", "of": "w"} | by,
            {"name": "stats", "kind": "stats", "of": "w"} | by,
            {"name": "share", "kind": "ratio", "numerator": first, "denominator": {"kind": "sum", "of": "w"}}
            | by,
        ],
    }


def sent(events: list[tuple]) -> list[dict[str, Any]]:
    return [{"k": k, "item": item, "t": t, "w": w} for k, item, t, w in events]


def check(result: dict[str, Any], came: list[tuple]) -> None:
    """Hold a result against the events of its key in its window."""
    window, key = result["window"], result["key"]["k"]
    end_ms = window["end_ms"]
    own = [e for e in came if e[0] == key and window["start_ms"] <= e[2] < end_ms]
    assert result["events"] == len(own)
    exact: Counter[str] = Counter()
    for _, item, _, weight in own:
        exact[item] += weight or 0
    total, weights = exact.total(), [w for *_, w in own if w is not None]
    if result["metric"] == "sum":
        assert result["value"] == result["lower"] == result["upper"] == total
    elif result["metric"] == "stats":
        told = result["stats"]
        assert (told["count"], told["min"]) == (len(weights), min(weights, default=None))
        assert told["mean"] == (float(Fraction(total, len(weights))) if weights else None)
    elif result["metric"] == "share":
        assert result["value"] == (exact["i0"] / total if total else None)
    elif result["metric"] == "often":
        assert [entry["item"] for entry in result["items"]] == ITEMS and result["confidence"] == 0.99
        for entry in result["items"]:
            assert entry["lower"] <= exact[entry["item"]] <= entry["upper"] == entry["count"]
            assert entry["count"] - exact[entry["item"]] <= Fraction(5, 1000) * total
    else:
        check_top(result, exact, total)


def check_top(result: dict[str, Any], exact: Counter[str], total: int) -> None:
    assert result["confidence"] == 1.0
    listed = [(e["item"], e["count"], e["lower"], e["upper"]) for e in result["items"]]
    if sum(weight > 0 for weight in exact.values()) <= MOST_EXACT:
        ordered = sorted(((i, w) for i, w in exact.items() if w), key=lambda entry: (-entry[1], entry[0]))
        assert listed == [(item, weight, weight, weight) for item, weight in ordered]
    for item, count, lower, upper in listed:
        assert lower <= exact[item] <= upper == count
        assert (upper - lower) * 2**5 <= Fraction(7, 2) * total
    heavy = {item for item, weight in exact.items() if weight * 2**5 > Fraction(7, 2) * total}
    assert heavy <= {item for item, *_ in listed}


@settings(max_examples=20, deadline=None)
@given(STEPS, st.lists(EVENT, min_size=1, max_size=3))
def test_bounds_hold_the_truth_over_batches_windows_revisions_and_restarts(steps, too_late) -> None:
    the_plan, came = plan(*WINDOWS), []
    engine = Engine(the_plan)
    engine.send()  # wakes all shards
    for step, argument in steps:
        if step == "batch":
            engine.send(*sent(argument))
            came += argument
        elif step == "watermark":
            engine.move_watermark(argument)
        else:
            before = engine
            engine = Engine(the_plan, before.snapshot(), now_ms=before.now_ms)
            engine.results, engine.late, engine.rejects = before.results, before.late, before.rejects
            engine.move_watermark(before.watermark_ms)
    engine.move_watermark(10_000)
    told = [r for r in latest(engine.results).values() if not r.get("retracted")]
    assert {r["metric"] for r in told} == ({m["name"] for m in the_plan["metrics"]} if came else set())
    for result in told:
        assert result["final"]
        check(result, came)
    results = len(engine.results)
    engine.send(*sent(too_late))
    assert engine.end() == [] and len(engine.results) == results and engine.rejects == []
    weights = Counter(json.loads(entry["payload"])["w"] for entry in engine.late)
    # Each metric tells of time windows and of sessions by themselves.
    assert set(weights) == {w for *_, w in too_late}


@settings(max_examples=8, deadline=None)
@given(st.lists(st.lists(EVENT, min_size=1, max_size=8) | ALL_ITEMS, min_size=1, max_size=5), WEIGHT)
def test_rules_on_results_beyond_64_bits_speak_of_what_is_true(batches, level) -> None:
    level = level or 0
    the_plan = Plan.model_validate(plan({"tumbling": "20ms"}) | {"allowed_lateness": "0s"})
    operators = Operators(the_plan, for_rules=True)
    ordered = sorted((event for batch in batches for event in batch), key=lambda event: event[2])
    for start in range(0, len(ordered), 10):
        operators.send(*(json.dumps(event).encode() for event in sent(ordered[start : start + 10])))
    operators.end()
    assert operators.late == []
    lines = [json.loads(line) for _, own in operators.final for line in own]
    assert len(lines) == len(operators.results)
    rules = [
        Rule.model_validate({"name": name, "metric": metric, "when": when, "clear": "false"})
        for name, metric, when in (
            ("much", "sum", f"value > {level}"),
            ("item", "top", f"lower > {level}"),
            ("twice", "sum", f"value > {2.0 * level}"),
        )
    ]
    alerts = Running(the_plan, rules).send_together(*lines)
    found = {name: set() for name in ("much", "item", "twice")}
    for alert in alerts:
        found[alert["rule"]].add(tuple(alert["key"].values()))
    sums = [(r["key"]["k"], r["value"]) for r in lines if r["metric"] == "sum"]
    assert found["much"] == {(key,) for key, value in sums if value > level}
    assert found["twice"] == {(key,) for key, value in sums if float(value) > 2.0 * level}
    tops = [(r["key"]["k"], entry) for r in lines if r["metric"] == "top" for entry in r["items"]]
    assert found["item"] == {(key, entry["item"]) for key, entry in tops if entry["lower"] > level}
    for result in lines:
        check(result, ordered)
