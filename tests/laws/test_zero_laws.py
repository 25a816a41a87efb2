"""-0.0 and 0.0 are one number: a stream with either has the same answers to the letter, whatever is asked."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from operator_chain import Operators
from rule_job import RuleJob
from rule_job import plan as rule_plan

from operators.metrics import all_kinds
from operators.parsing import CsvFormat, make_parser
from operators.parsing.payloads import Payloads
from operators.plan import Plan

SUM = {"kind": "sum", "of": "x"}
KINDS: dict[str, dict[str, Any]] = {
    "count": {},
    "distinct": {"of": "x"},
    "first_seen": {"of": "x", "exact": True},
    "frequency": {"of": "x", "ask": [0.0, -0.0, 1.5]},
    "funnel": {
        "of": "x", "within": "1m", "exact": True,
        "steps": [{"name": "in", "where": "x = 0.0"},
                  {"name": "out", "where": "down = 0.0 and 1 / x is null"}],
    },
    "last": {"of": "x"},
    "quantiles": {"of": "x"},
    "ratio": {"numerator": SUM, "denominator": SUM},
    "stats": {"of": "x"},
    "sum": {"of": "x"},
    "top_k": {"of": "x"},
    "top_pairs": {"of": "x", "within": "down", "gap": "1s"},
    "trending": {"of": "x", "against": "40ms"},
}  # fmt: skip
NUMBERS = st.sampled_from(["-0.0", "-0", "-0e5", "-0.00", "0.0", "0", "1.5", "-1.5", "null"])
STREAM = st.lists(st.tuples(NUMBERS, st.integers(0, 9)), min_size=1, max_size=12)
BOTH = [("-0.0", 1), ("0.0", 1), ("-0e5", 2), ("1.5", 2)]


def plan(kind: str, **options: Any) -> Plan:
    """Return a plan of one metric of the number itself, and of one by what is derived from it."""
    own = KINDS[kind] | options
    return Plan.model_validate(
        {
            "name": "zero",
            "event": {
                "fields": {"x": "double", "n": "long", "t": "long"},
                "derive": {"down": {"expr": "x * -1"}, "none": {"expr": "coalesce(x * 0, -0.0)"}},
                "time": {"field": "t", "unit": "ms"},
                "out_of_orderness": "0s",
            },
            "metrics": [
                {"name": f"by_{by[0]}", "kind": kind, "by": by, "windows": [{"tumbling": "4ms"}], **own}
                for by in (["x", "n"], ["down", "none"])
            ],
        }
    )


def unsigned(number: str) -> str:
    """Return the number without its sign, but for -1.5."""
    return number if number in ("-1.5", "null") else number.removeprefix("-")


def told(kind: str, stream: list[tuple[str, int]]) -> list[str]:
    """Return all that comes of a stream, each as the JSON that Python writes of it."""
    running = Operators(plan(kind))
    half = len(stream) // 2
    for piece in (stream[:half], stream[half:]):
        if piece:
            running.send(*(f'{{"x": {x}, "n": 0, "t": {t}}}'.encode() for x, t in piece))
    running.end()
    return [*map(json.dumps, running.results), *map(json.dumps, running.first_seen)]


def test_every_kind_is_here() -> None:
    assert set(KINDS) == set(all_kinds())


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=8, deadline=None)
@given(STREAM)
@example([("-0.0", 1), ("0.0", 1), ("-0e5", 2), ("1.5", 2)])
@example([("-0.0", 1), ("-1.5", 2)])
def test_the_sign_of_a_zero_makes_no_difference(kind: str, stream: list[tuple[str, int]]) -> None:
    answers = told(kind, stream)
    assert answers == told(kind, [(unsigned(x), t) for x, t in stream])
    assert not [line for line in answers if "-0.0" in line]


def test_rules_know_one_zero() -> None:
    columns = {
        "different": {"kind": "distinct", "of": "amount", "within": "1h"},
        "before": {"kind": "previous", "of": "amount"},
        "total": {"kind": "sum", "of": "amount", "within": "1h"},
        "off": {"kind": "deviations", "of": "amount", "at_least": 2},
    }
    streams = [[-0.0, 0.0, -0.0, -1.0, -0.0], [0.0, 0.0, 0.0, -1.0, 0.0]]
    alerts = []
    for stream in streams:
        job = RuleJob(rule_plan(columns, {"name": "zero", "when": "amount = 0.0"}, of="amount"))
        alerts.append(json.dumps(job.send(*({"amount": x, "t": t} for t, x in enumerate(stream)))))
        assert len(job.entities()) == 2
    assert alerts[0] == alerts[1] and "-0.0" not in alerts[0]


@pytest.mark.parametrize("zero", ["-0", "-0.0", "-0e5", "-0.0E-3", " -0 "])
def test_a_zero_with_a_sign_in_csv_is_the_number_0(zero: str) -> None:
    spec = CsvFormat(type="csv", columns=["x", "n"])
    parser = make_parser(spec, {"x": ("x", "double"), "n": ("n", "long")})
    parsed = parser.parse(Payloads.from_messages([f"{zero},-0".encode()]))
    assert (parsed.rejects, str(parsed.frame.rows())) == ([], "[(0.0, 0)]")


@pytest.mark.parametrize("around", [[], ["1", "2", "3"] * 40])
@pytest.mark.parametrize("zero", ["-0", "-0.0", "-0e5"])
def test_a_zero_with_a_sign_in_json_is_the_number_0(zero: str, around: list[str]) -> None:
    """Alone it is decoded by itself, among others of one shape by their template."""
    parser = make_parser("json", {"x": ("x", "double"), "n": ("n", "long")})
    numbers = [*around, zero, *around]
    payloads = [f'{{"x": {number}, "n": {number}}}'.encode() for number in numbers]
    parsed = parser.parse(Payloads.from_messages(payloads))
    assert parsed.rejects == []
    expected = [int(float(number)) for number in numbers]
    assert str(parsed.frame.to_dict(as_series=False)) == str({"x": [*map(float, expected)], "n": expected})
