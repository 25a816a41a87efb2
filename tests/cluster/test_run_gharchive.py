"""What happened on GitHub in two hours: events that truly arrived out of order, by three seconds at most."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest
from cluster_runs import run_pipeline
from exact_answers import compare

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ROWS = 15_129
SECOND = {"tumbling": "1s"}


def pipeline_of(path: Path, out_of_orderness: str) -> dict[str, Any]:
    """A pipeline over this file, a few dozen events a batch."""
    return {
        "name": "github",
        "source": {"type": "file", "path": str(path), "format": "json", "chunk_bytes": 8 * 1024},
        "event": {
            "fields": {
                "happened": {"path": "created_at", "type": "string"},
                "event_type": {"path": "type", "type": "string"},
                "actor": "string",
                "repo": "string",
                "org": "string",
                "size": "long",
            },
            "derive": {"owner": {"from": "repo", "extract": "^([^/]+)/"}},
            "time": {"field": "happened", "unit": "iso8601"},
            "out_of_orderness": out_of_orderness,
        },
        "metrics": [
            {"name": "seconds", "kind": "count", "windows": [SECOND]},
            {
                "name": "events",
                "kind": "count",
                "by": ["org", "event_type"],
                "windows": [{"tumbling": "10m"}],
            },
            {
                "name": "trending",
                "kind": "top_k",
                "of": "repo",
                "where": "event_type = 'WatchEvent'",
                "windows": [{"sliding": "1h", "every": "10m"}],
            },
            {
                "name": "actors",
                "kind": "distinct",
                "of": "actor",
                "by": ["event_type"],
                "windows": [{"tumbling": "1m"}],
            },
            {
                "name": "commits",
                "kind": "sum",
                "of": "size",
                "by": ["event_type"],
                "windows": [{"tumbling": "1m"}],
            },
            {
                "name": "owners",
                "kind": "frequency",
                "of": "owner",
                "ask": ["KenanSulayman", "google"],
                "epsilon": 0.002,
                "delta": 0.01,
                "windows": [{"tumbling": "5m"}],
            },
            {"name": "sprees", "kind": "count", "by": ["actor"], "windows": [{"session": "5m"}]},
        ],
    }


def load_events(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the table of events of the pipeline."""
    database.execute(
        """
        CREATE TABLE events AS SELECT
            epoch_ms(created_at::TIMESTAMPTZ) AS time_ms, "type" AS event_type, actor, repo, org, size,
            split_part(repo, '/', 1) AS owner
        FROM read_json(?, format = 'newline_delimited', columns = {
            created_at: 'VARCHAR', "type": 'VARCHAR', actor: 'VARCHAR', repo: 'VARCHAR', org: 'VARCHAR',
            size: 'BIGINT'})
        """,
        [str(path)],
    )


def test_disorder_within_what_is_allowed_changes_no_answer(
    data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    path = data_folder / "gharchive" / "gharchive_slim.jsonl.gz"
    pipeline = pipeline_of(path, "3s")
    load_events(database, path)

    run = run_pipeline(tmp_path, pipeline)

    assert (run.outcome["events"], run.late, run.rejects) == (ROWS, [], [])
    compared = compare(database, pipeline, run)
    assert compared.answers["seconds"] == 5_367
    inside, asked = compared.bounds("actors")
    assert asked > 1_000 and inside >= 0.9 * asked


def test_disorder_beyond_what_is_allowed_is_late_and_never_lost(
    data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    path = data_folder / "gharchive" / "gharchive_slim.jsonl.gz"
    pipeline = pipeline_of(path, "0s")
    pipeline["metrics"] = pipeline["metrics"][:1]
    load_events(database, path)

    run = run_pipeline(tmp_path, pipeline)

    # Each event is in the answer of its second or in the late output, never in both.
    answered = {answer["window"]["start_ms"]: answer["value"] for answer in run.answers}
    late: dict[int, int] = {}
    for entry in run.late:
        assert entry["metric"] == "seconds" and entry["event_time_ms"] < entry["watermark_ms"]
        late[entry["event_time_ms"]] = late.get(entry["event_time_ms"], 0) + 1
    truth = dict(database.execute("SELECT time_ms, count(*) FROM events GROUP BY ALL").fetchall())
    assert {second: answered.get(second, 0) + late.get(second, 0) for second in truth} == truth
    assert 0 < len(run.late) <= 49
    assert run.outcome["late"] == len(run.late)
