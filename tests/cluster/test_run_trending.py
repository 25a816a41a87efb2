"""The shipped pipeline of what trends, and repositories of GitHub, against SQL over the same events."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from cluster_runs import Finished, run_pipeline, shipped_pipeline
from exact_trends import Found, compare_trends

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def load_edits(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the table of events of the shipped pipeline."""
    database.execute(
        r"""
        CREATE TABLE events AS SELECT
            epoch_ms("time"::TIMESTAMPTZ) AS time_ms, channel, page,
            regexp_extract_all(comment, '#([\p{L}\p{N}_]+)', 1) AS hashtags,
            regexp_extract_all(comment, '((?:WP|Project):[A-Z0-9]+)', 1) AS shortcuts
        FROM read_json(?, format = 'newline_delimited', columns = {
            "time": 'VARCHAR', channel: 'VARCHAR', comment: 'VARCHAR', page: 'VARCHAR'})
        """,
        [str(path)],
    )


def run_edits(root: Path, path: Path, folder: Path, database: duckdb.DuckDBPyConnection) -> dict[str, Found]:
    pipeline = shipped_pipeline(root, "trending.yaml", path=str(path), chunk_bytes=256 * 1024)
    load_edits(database, path)
    run = run_pipeline(folder, pipeline)
    assert (run.late, run.rejects) == ([], [])
    return compared(database, pipeline, run)


def compared(
    database: duckdb.DuckDBPyConnection, pipeline: dict[str, Any], run: Finished
) -> dict[str, Found]:
    found = {metric["name"]: compare_trends(database, metric, run) for metric in pipeline["metrics"]}
    for name, own in found.items():
        print(name, own)
        assert own.windows > 0 and own.hits >= 0.95 * own.wanted > 0, name
    return found


def test_trending_items_of_the_first_edits_of_a_day_are_those_of_sql(
    project_root: Path, parts_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    found = run_edits(project_root, parts_folder / "wikiticker_part.json.gz", tmp_path, database)
    assert all(own.exact == own.windows > own.whole > 0 for own in found.values())
    assert all(own.rising_wanted > 0 for own in found.values())


@pytest.mark.slow
def test_trending_items_of_a_day_of_edits_are_those_of_sql(
    project_root: Path, data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    path = data_folder / "wikiticker" / "wikiticker-2015-09-12-sampled.json.gz"
    found = run_edits(project_root, path, tmp_path, database)
    assert all(own.exact == own.windows for own in found.values())
    assert found["trending_pages"].windows > 1_350 and found["trending_pages"].whole > 1_300
    assert all(own.rising_hits == own.rising_wanted > 80 for own in found.values())


@pytest.mark.slow
def test_repositories_that_do_not_all_fit_into_a_sketch_are_found_with_true_bounds(
    data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    path = data_folder / "gharchive" / "gharchive_slim.jsonl.gz"
    window = {"sliding": "5m", "every": "1m"}
    options = {"kind": "trending", "of": "repo", "windows": [window]}
    pipeline = {
        "name": "github",
        "source": {"type": "file", "path": str(path), "format": "json", "chunk_bytes": 64 * 1024},
        "event": {
            "fields": {"happened": {"path": "created_at", "type": "string"}, "repo": "string"},
            "time": {"field": "happened", "unit": "iso8601"},
            "out_of_orderness": "3s",
        },
        "metrics": [
            {"name": "repositories", **options},
            {"name": "in_less_memory", "lg_max_map_size": 10, **options},
        ],
    }
    database.execute(
        """
        CREATE TABLE events AS SELECT epoch_ms(created_at::TIMESTAMPTZ) AS time_ms, repo
        FROM read_json(?, format = 'newline_delimited', columns = {created_at: 'VARCHAR', repo: 'VARCHAR'})
        """,
        [str(path)],
    )
    run = run_pipeline(tmp_path, pipeline)
    assert (run.late, run.rejects) == ([], [])
    found = compared(database, pipeline, run)
    assert found["repositories"].whole >= 55
    assert found["in_less_memory"].exact < found["repositories"].exact <= found["repositories"].windows
    for own in found.values():
        assert own.rising_hits >= 0.9 * own.rising_wanted > 100
