"""Compares trending items with SQL in DuckDB, where each window is joined with all events it is of."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from math import gcd
from typing import Any

import duckdb
from cluster_runs import Finished
from exact_panes import milliseconds

TOLERANCE = 1e-6

_COUNTED = """
WITH starts AS (
    SELECT DISTINCT unnest(range((time_ms // $every) * $every, time_ms - $size, -$every)) AS start_ms
    FROM events
), spans AS (
    SELECT start_ms, least(greatest(start_ms - $against, $whole_from), start_ms) AS after_ms FROM starts
), named AS (SELECT time_ms, {item} AS item FROM events),
counted AS (
    SELECT start_ms, start_ms - after_ms AS seen, item,
           count(*) FILTER (time_ms >= start_ms) AS n, count(*) FILTER (time_ms < start_ms) AS b
    FROM spans JOIN named ON time_ms >= after_ms AND time_ms < start_ms + $size
    WHERE item IS NOT NULL
    GROUP BY ALL
), rated AS (SELECT *, $size / nullif(seen, 0) AS a FROM counted)
SELECT start_ms, item, n, b, b * a AS expected,
       CASE WHEN a IS NULL THEN NULL WHEN n * seen = b * $size THEN 0 ELSE
           sign(n * seen - b * $size) * sqrt(2 * greatest(0,
               CASE WHEN n = 0 THEN 0 ELSE n * ln((1 + a) / a * (n / (n + b))) END
             + CASE WHEN b = 0 THEN 0 ELSE b * ln((1 + a) * (b / (n + b))) END)) END AS score
FROM rated ORDER BY start_ms, n DESC, item
"""
"""Equation 17 of Li and Ma, as printed."""


@dataclass
class Found:
    """What was compared of one metric.

    Attributes:
        windows: how many answers.
        exact: how many of them are exact, since their items and those before them fit into a sketch.
        whole: how many of them were held against all of the time before.
        wanted: how many top items there were to find, at most ten a window.
        hits: how many of those told are as heavy as the last of them.
        rising_wanted: how many rising items there were to find.
        rising_hits: how many of them were told.
    """

    windows: int = 0
    exact: int = 0
    whole: int = 0
    wanted: int = 0
    hits: int = 0
    rising_wanted: int = 0
    rising_hits: int = 0


@dataclass(frozen=True)
class Row:
    """An item of a window as SQL counts it."""

    item: Any
    count: int
    before: int
    expected: float | None
    score: float | None


def compare_trends(events: duckdb.DuckDBPyConnection, metric: dict[str, Any], run: Finished) -> Found:
    """Compare all answers of a `trending` metric of one window without `by`.

    Args:
        events: a database with a table `events` of all accepted events, none of them late.
        metric: the metric as the pipeline file has it.
        run: what the run left.

    Raises:
        AssertionError: where a window is missing or too many, a truth is outside its bounds, or an answer
            that has to be exact is not.
    """
    (window,) = metric["windows"]
    size = milliseconds(window.get("tumbling") or window["sliding"])
    every = milliseconds(window.get("every", window.get("tumbling")))
    against = milliseconds(metric.get("against", "1h"))
    slice_ms = gcd(size, every, against)
    ((first,),) = events.execute("SELECT min(time_ms) FROM events").fetchall()
    ((type_,),) = events.execute(f"SELECT DISTINCT typeof({metric['of']}) FROM events").fetchall()
    item = f"unnest({metric['of']})" if type_.endswith("[]") else metric["of"]
    whole_from = (first // slice_ms + 1) * slice_ms
    given = {"size": size, "every": every, "against": against, "whole_from": whole_from}
    rows = events.execute(_COUNTED.format(item=item), given).fetchall()
    exact = {
        start: [Row(*row[1:]) for row in group] for start, group in groupby(rows, key=lambda row: row[0])
    }
    found = Found()
    for result in run.of(metric["name"]):
        start = result["window"]["start_ms"]
        assert result["window"]["end_ms"] == start + size
        seen = min(max(start - whole_from, 0), against)
        assert result["against_ms"] == seen, result
        found.windows += 1
        found.whole += seen == against
        _compare(metric, result, exact.pop(start, []), found)
    assert not any(row.count for own in exact.values() for row in own), "a window with items is not told"
    return found


def _compare(metric: dict[str, Any], result: dict[str, Any], rows: list[Row], found: Found) -> None:
    least, capacity = metric.get("least", 5), 3 << metric.get("lg_max_map_size", 12) - 2
    now = [row for row in rows if row.count]
    rising = sorted(
        (row for row in now if row.score and row.score > 0 and row.count >= least),
        key=lambda row: (-row.score, -row.count, row.item),
    )[:10]
    by_item = {row.item: row for row in rows}
    for entry in [*result["items"], *result["rising"]]:
        _check_bounds(entry, by_item[entry["item"]])
    if len(now) <= capacity and sum(row.before > 0 for row in rows) <= capacity:
        found.exact += 1
        told = [(entry["item"], entry["count"], entry["lower"]) for entry in result["items"]]
        assert told == [(row.item, row.count, row.count) for row in now[:10]], result
        told_scores = [entry["score"]["value"] for entry in result["rising"]]
        assert len(told_scores) == len(rising), (result, rising)
        for score, row in zip(told_scores, rising, strict=True):
            assert abs(score - row.score) < TOLERANCE, (result, rising)
    last = now[:10][-1].count if now else 0
    found.wanted += len(now[:10])
    found.hits += sum(by_item[entry["item"]].count >= last for entry in result["items"])
    lowest = rising[-1].score if rising else 0
    found.rising_wanted += len(rising)
    found.rising_hits += sum(by_item[e["item"]].score >= lowest - TOLERANCE for e in result["rising"])


def _check_bounds(entry: dict[str, Any], row: Row) -> None:
    assert entry["lower"] <= row.count <= entry["upper"], (entry, row)
    for name, truth in (("before", row.expected), ("score", row.score)):
        figure = entry[name]
        if truth is None:
            assert set(figure.values()) == {None}, (entry, row)
            continue
        assert figure["lower"] - TOLERANCE <= truth <= figure["upper"] + TOLERANCE, (entry, row)
        assert figure["lower"] <= figure["value"] <= figure["upper"], entry
