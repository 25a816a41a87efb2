"""The exact contents of every window and key, by SQL in DuckDB: nothing of the product is used.

A table of events has a column `time_ms` and the columns that the pipeline names; conditions of the pipeline
file are SQL, so they are handed to DuckDB as they are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import duckdb

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

Place = tuple[str, int, int, int, str]
"""Type of the window, its `every_ms` or gap or size, start, end, and the key as JSON."""


@dataclass(frozen=True)
class Pane:
    """What is in one window of one key: how many events, and what was asked of each (nulls left out)."""

    events: int
    columns: list[list[Any]]


def milliseconds(duration: str) -> int:
    """Milliseconds of a duration such as 5m."""
    unit = duration.lstrip("0123456789")
    return int(duration[: -len(unit)]) * _UNITS_MS[unit]


def panes(
    events: duckdb.DuckDBPyConnection,
    metric: dict[str, Any],
    wanted: list[tuple[str, str | None]],
) -> Iterator[tuple[dict[str, Any], dict[Place, Pane]]]:
    """Yield every window of a metric with the panes it has.

    Args:
        events: a database with a table `events`.
        metric: the metric as the pipeline file has it.
        wanted: SQL expressions whose values are collected, each with its condition.
    """
    collected = "".join(
        f", list({expression}) FILTER (({expression}) IS NOT NULL AND ({condition or 'true'}))"
        for expression, condition in wanted
    )
    by = list(metric.get("by", []))
    keys = "".join(f", {name}" for name in by)
    for window in metric["windows"]:
        rows = _rows(_source(events, metric, by), window, by)
        query = f"SELECT start_ms, end_ms, count(*){collected}{keys} FROM ({rows}) GROUP BY ALL"
        found = {}
        for start, end, count, *rest in events.execute(query).fetchall():
            values, key = rest[: len(wanted)], rest[len(wanted) :]
            place = (*kind_of(window), start, end, json.dumps(key))
            found[place] = Pane(count, [_flat(own or []) for own in values])
        yield window, found


def kind_of(window: dict[str, str]) -> tuple[str, int]:
    """Type of a window of the pipeline file, and its distance, gap or size in milliseconds."""
    if "session" in window:
        return "session", milliseconds(window["session"])
    if "sliding" in window:
        return "sliding", milliseconds(window["every"])
    return "tumbling", milliseconds(window["tumbling"])


def place_of(result: dict[str, Any], by: list[str]) -> Place:
    """Where a result belongs."""
    window = result["window"]
    step = window.get("every_ms", window.get("gap_ms", window.get("size_ms")))
    assert list(result["key"]) == by
    return (
        window["type"],
        step,
        window["start_ms"],
        window["end_ms"],
        json.dumps(list(result["key"].values())),
    )


def _source(events: duckdb.DuckDBPyConnection, metric: dict[str, Any], by: list[str]) -> str:
    """SQL for the events that count; once for every value of a key column that is multi-valued."""
    types = {row[0]: row[1] for row in events.execute("DESCRIBE events").fetchall()}
    taken_apart = "".join(
        f" REPLACE (unnest(coalesce({name}, [NULL])) AS {name})" for name in by if types[name].endswith("[]")
    )
    return f"SELECT *{taken_apart} FROM events WHERE {metric.get('where') or 'true'}"


def _rows(source: str, window: dict[str, str], by: list[str]) -> str:
    """SQL for the events, each once for every window it is in."""
    if "session" in window:
        return _sessions(source, milliseconds(window["session"]), by)
    size = milliseconds(window.get("tumbling") or window["sliding"])
    every = milliseconds(window["every"]) if "every" in window else size
    offset = milliseconds(window.get("offset", "0s")) % every
    # The newest window that holds the event starts at most `every` before it, the oldest less than `size`.
    newest = f"time_ms - (time_ms - {offset}) % {every}"
    starts = f"SELECT *, unnest(range({newest}, time_ms - {size}, -{every})) AS start_ms FROM ({source})"
    return f"SELECT *, start_ms + {size} AS end_ms FROM ({starts})"


def _sessions(source: str, gap_ms: int, by: list[str]) -> str:
    """A session begins where the event before, of the same key, is more than the gap away."""
    partition = f"PARTITION BY {', '.join(by)}" if by else ""
    order = f"OVER ({partition} ORDER BY time_ms)"
    begins = (
        f"SELECT *, coalesce(time_ms - lag(time_ms) {order} > {gap_ms}, true)::INT AS _begins FROM ({source})"
    )
    so_far = f"OVER ({partition} ORDER BY time_ms RANGE UNBOUNDED PRECEDING)"
    numbered = f"SELECT *, sum(_begins) {so_far} AS _number FROM ({begins})"
    within = f"OVER (PARTITION BY {', '.join([*by, '_number'])})"
    ends = f"min(time_ms) {within} AS start_ms, max(time_ms) {within} + {gap_ms} AS end_ms"
    return f"SELECT *, {ends} FROM ({numbered})"


def _flat(values: list[Any]) -> list[Any]:
    """The values, those of multi-valued columns one by one."""
    if values and isinstance(values[0], list):
        return [value for own in values for value in own]
    return values
