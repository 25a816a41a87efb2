"""Edits of Wikipedia: nulls in key columns, booleans, hashtags as a multi-valued column, all-null windows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from cluster_runs import run_pipeline, shipped_pipeline
from exact_answers import compare

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

NULL_METRICS: list[dict[str, Any]] = [
    {"name": "metro_sum", "kind": "sum", "of": "metro_code", "windows": [{"tumbling": "1m"}]},
    {"name": "metro_last", "kind": "last", "of": "metro_code", "windows": [{"tumbling": "1m"}]},
    {"name": "metro_distinct", "kind": "distinct", "of": "metro_code", "windows": [{"tumbling": "1m"}]},
    {"name": "metro_top", "kind": "top_k", "of": "metro_code", "windows": [{"tumbling": "1m"}]},
    {
        "name": "metro_quantiles",
        "kind": "quantiles",
        "of": "metro_code",
        "at": [0, 0.5, 1],
        "windows": [{"tumbling": "1m"}],
    },
    {
        "name": "metro_named",
        "kind": "frequency",
        "of": "metro_code",
        "ask": [501, 803],
        "epsilon": 0.01,
        "delta": 0.05,
        "windows": [{"tumbling": "1m"}],
    },
]
"""Every kind that takes a number, over a column that is null in most windows."""


def load_edits(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the table of events of the pipeline."""
    database.execute(
        r"""
        CREATE TABLE events AS SELECT
            epoch_ms("time"::TIMESTAMPTZ) AS time_ms, channel, comment, page, "user",
            isRobot AS is_robot, isAnonymous AS is_anonymous, countryName AS country,
            metroCode AS metro_code, added, delta,
            regexp_extract_all(comment, '#([\p{L}\p{N}_]+)', 1) AS hashtags
        FROM read_json(?, format = 'newline_delimited', columns = {
            "time": 'VARCHAR', channel: 'VARCHAR', comment: 'VARCHAR', page: 'VARCHAR', "user": 'VARCHAR',
            isRobot: 'BOOLEAN', isAnonymous: 'BOOLEAN', countryName: 'VARCHAR', metroCode: 'BIGINT',
            added: 'BIGINT', delta: 'BIGINT'})
        """,
        [str(path)],
    )


def check(root: Path, path: Path, folder: Path, database: duckdb.DuckDBPyConnection, edits: int) -> None:
    pipeline = shipped_pipeline(root, "wikipedia.yaml", path=str(path), chunk_bytes=256 * 1024)
    pipeline["metrics"] += NULL_METRICS
    load_edits(database, path)

    run = run_pipeline(folder, pipeline)

    assert (run.outcome["events"], run.late, run.rejects) == (edits, [], [])
    compared = compare(database, pipeline, run)
    assert min(compared.answers.values()) > 0
    inside, asked = compared.bounds("editors")
    assert inside >= 0.9 * asked > 0
    keys = [answer["key"] for answer in run.of("edits_by_country")]
    assert {"country": None} in keys and len(keys) > 10
    assert any(answer["stats"]["count"] == 0 for answer in run.of("metro_codes"))
    assert any(answer["stats"]["count"] > 0 for answer in run.of("metro_codes"))


def test_every_answer_over_the_first_edits_of_a_day_is_the_exact_one_or_within_its_bounds(
    project_root: Path, parts_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    check(project_root, parts_folder / "wikiticker_part.json.gz", tmp_path, database, 4_500)


@pytest.mark.slow
def test_every_answer_over_a_day_of_edits_is_the_exact_one_or_within_its_bounds(
    project_root: Path, data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    path = data_folder / "wikiticker" / "wikiticker-2015-09-12-sampled.json.gz"
    check(project_root, path, tmp_path, database, 39_244)

    # What the data set's own description says of the whole day.
    totals = database.execute("SELECT count(*) FILTER (is_robot), sum(added) FROM events").fetchall()
    assert totals == [(15_420, 9_385_573)]
