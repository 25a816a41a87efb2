"""The comparison itself, by examples worked out by hand: it accepts what is right and catches what is not."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import duckdb
import pytest
from cluster_runs import Finished
from exact_answers import Tally, compare
from exact_panes import panes

Answer = dict[str, Any]

EVENTS = [(0, "a", 1.0), (10, "a", 2.0), (10, "b", None), (31, "a", 4.0)]
WINDOWS = [{"tumbling": "20ms"}, {"sliding": "20ms", "every": "10ms"}, {"session": "10ms"}]
METRIC = {"name": "total", "kind": "sum", "of": "v", "by": ["k"], "windows": WINDOWS}
EXPECTED = {
    ("tumbling", 20, 0, 20, '["a"]'): (2, [1.0, 2.0]),
    ("tumbling", 20, 0, 20, '["b"]'): (1, []),
    ("tumbling", 20, 20, 40, '["a"]'): (1, [4.0]),
    ("sliding", 10, -10, 10, '["a"]'): (1, [1.0]),
    ("sliding", 10, 0, 20, '["a"]'): (2, [1.0, 2.0]),
    ("sliding", 10, 0, 20, '["b"]'): (1, []),
    ("sliding", 10, 10, 30, '["a"]'): (1, [2.0]),
    ("sliding", 10, 10, 30, '["b"]'): (1, []),
    ("sliding", 10, 20, 40, '["a"]'): (1, [4.0]),
    ("sliding", 10, 30, 50, '["a"]'): (1, [4.0]),
    ("session", 10, 0, 20, '["a"]'): (2, [1.0, 2.0]),
    ("session", 10, 10, 20, '["b"]'): (1, []),
    ("session", 10, 31, 41, '["a"]'): (1, [4.0]),
}


@pytest.fixture
def events(database: duckdb.DuckDBPyConnection) -> duckdb.DuckDBPyConnection:
    database.execute("CREATE TABLE events (time_ms BIGINT, k VARCHAR, v DOUBLE, n BIGINT)")
    database.executemany("INSERT INTO events VALUES (?, ?, ?, 1)", EVENTS)
    return database


def right_answers() -> list[Answer]:
    """The answers of a run that is right."""
    answers = []
    for (type_, step, start, end, key), (count, values) in EXPECTED.items():
        window = {"type": type_, "start_ms": start, "end_ms": end}
        window["gap_ms" if type_ == "session" else "every_ms" if type_ == "sliding" else "size_ms"] = step
        total = sum(values, 0.0)
        answer = {"value": total, "lower": total, "upper": total, "confidence": 1.0, "events": count}
        answers.append({"metric": "total", "key": {"k": key[2:-2]}, "window": window, **answer})
    return answers


def compared(events: duckdb.DuckDBPyConnection, answers: list[Answer]) -> None:
    compare(events, {"metrics": [METRIC]}, Finished({}, answers, answers, [], [], [], []))


def test_the_panes_of_every_type_of_window_are_those_worked_out_by_hand(
    events: duckdb.DuckDBPyConnection,
) -> None:
    found = {
        place: (pane.events, sorted(pane.columns[0]))
        for _, own in panes(events, METRIC, [("v", None)])
        for place, pane in own.items()
    }

    assert found == EXPECTED


def test_right_answers_are_accepted(events: duckdb.DuckDBPyConnection) -> None:
    compared(events, right_answers())


@pytest.mark.parametrize(
    "spoil",
    [
        lambda answers: answers.pop(),
        lambda answers: answers.append({**answers[0], "key": {"k": "c"}}),
        lambda answers: answers.append(answers[0]),
        lambda answers: answers[0].update(events=3),
        lambda answers: answers[0].update(value=3.0000000000000004),
        lambda answers: answers[0].update(value=3),
        lambda answers: answers[0].update(lower=2.9),
        lambda answers: answers[3]["window"].update(start_ms=-11),
    ],
    ids=["missing", "extra", "twice", "events", "last digit", "type", "bound", "window"],
)
def test_one_wrong_answer_is_caught(
    events: duckdb.DuckDBPyConnection, spoil: Callable[[list[Answer]], object]
) -> None:
    answers = copy.deepcopy(right_answers())
    spoil(answers)

    with pytest.raises(AssertionError):
        compared(events, answers)


def test_bounds_that_fail_as_often_as_claimed_are_credible_and_twice_as_often_are_not() -> None:
    assert Tally(0.95, inside=950, outside=50).is_credible()
    assert Tally(0.95, inside=1, outside=1).is_credible()
    assert not Tally(0.95, inside=900, outside=100).is_credible()
    assert not Tally(1.0, inside=1_000, outside=1).is_credible()
    assert not Tally(0.99, inside=0, outside=3).is_credible()
