"""What happened on GitHub in two hours: events that truly arrived out of order, by three seconds at most.

Behind them come the first of them once more, two hours late.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cluster_runs import run_pipeline
from exact_answers import compare

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ROWS = 15_129
LATE_ROWS = 200
SECOND = {"tumbling": "1s"}


def pipeline_of(path: Path, out_of_orderness: str) -> dict[str, Any]:
    """A pipeline over this file, some seventy events a batch."""
    return {
        "name": "github",
        "source": {"type": "file", "path": str(path), "format": "json", "chunk_bytes": 16 * 1024},
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


@pytest.mark.slow
def test_disorder_within_what_is_allowed_changes_no_answer_and_what_is_beyond_is_late_and_never_lost(
    data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    recorded = gzip.decompress((data_folder / "gharchive" / "gharchive_slim.jsonl.gz").read_bytes())
    lines = recorded.splitlines(keepends=True)
    # Not of those who are active to the end: a spree that goes on takes what belongs into it, however late.
    last_seen = {event["actor"]: event["created_at"] for event in map(json.loads, lines)}
    gone = [line for line in lines if last_seen[json.loads(line)["actor"]] < "2015-01-01T01:30:00Z"]
    too_late = gone[:LATE_ROWS]
    (tmp_path / "1-recorded.jsonl").write_bytes(recorded)
    (tmp_path / "2-first-again.jsonl").write_bytes(b"".join(too_late))
    # One worker: of two, one may be done with its share before the other begins, and nothing is late then.
    pipeline = pipeline_of(Path("*.jsonl"), "3s") | {"parallelism": 1}
    load_events(database, tmp_path / "1-recorded.jsonl")

    run = run_pipeline(tmp_path, pipeline)

    assert (run.outcome["events"], run.outcome["late"], run.rejects) == (ROWS + LATE_ROWS, len(run.late), [])
    compared = compare(database, pipeline, run)
    assert compared.answers["seconds"] == 5_367
    assert max(emission["revision"] for emission in run.emissions) == 0
    inside, asked = compared.bounds("actors")
    assert asked > 1_000 and inside >= 0.9 * asked
    by_metric: dict[str, list[tuple[int, str]]] = {}
    for entry in run.late:
        assert entry["file"] == str(tmp_path / "2-first-again.jsonl")
        assert entry["event_time_ms"] < 1_420_071_000_000 < 1_420_075_800_000 < entry["watermark_ms"]
        by_metric.setdefault(entry["metric"], []).append((entry["line"], entry["payload"]))
    sent = [(number, line.decode().rstrip("\n")) for number, line in enumerate(too_late, 1)]
    watched = [(number, text) for number, text in sent if json.loads(text)["type"] == "WatchEvent"]
    assert {metric: sorted(own) for metric, own in by_metric.items()} == {
        metric["name"]: watched if metric["name"] == "trending" else sent for metric in pipeline["metrics"]
    }
