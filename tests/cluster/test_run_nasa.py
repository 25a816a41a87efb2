"""A web server's log: ragged rows, a header in each of two files, read as one stream by one pattern."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import duckdb
import pytest
from cluster_runs import run_pipeline, shipped_pipeline
from exact_answers import compare

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def load_requests(database: duckdb.DuckDBPyConnection, pattern: Path) -> None:
    """Make the table of events of the pipeline; a row has two empty columns more than the header names."""
    database.execute(
        r"""
        CREATE TABLE events AS SELECT
            c[1] AS host, nullif(c[2], '-') AS logname, c[3]::BIGINT * 1000 AS time_ms, c[4] AS method,
            c[5] AS url, c[6]::BIGINT AS response, nullif(nullif(c[7], ''), '-')::BIGINT AS bytes,
            nullif(regexp_extract(c[5], '^/([^/?]+)/', 1), '') AS section
        FROM (
            SELECT string_split(line, chr(9)) AS c FROM read_csv(
                ?, header = false, columns = {line: 'VARCHAR'}, delim = chr(1), quote = '', escape = '')
        ) WHERE c[1] <> 'host'
        """,
        [str(pattern)],
    )


def test_every_answer_over_two_ragged_files_is_the_exact_one_or_within_its_bounds(
    project_root: Path, data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    pattern = data_folder / "nasa_http" / "nasa_1995*.tsv.gz"
    pipeline = shipped_pipeline(project_root, "web_log.yaml", path=str(pattern), chunk_bytes=64 * 1024)
    pipeline["metrics"] += [
        {
            "name": "bytes_by_response",
            "kind": "stats",
            "of": "bytes",
            "by": ["response"],
            "windows": [{"tumbling": "1h"}],
        },
        {
            "name": "errors_by_host",
            "kind": "count",
            "by": ["host"],
            "where": "response >= 400",
            "windows": [{"tumbling": "1d"}],
        },
    ]
    load_requests(database, pattern)
    remembered = [
        {
            "name": "hosts",
            "kind": "first_seen",
            "of": "host",
            "capacity": 2000,
            "windows": [{"tumbling": "1d"}],
        },
        {
            "name": "hosts_exactly",
            "kind": "first_seen",
            "of": "host",
            "exact": True,
            "windows": [{"tumbling": "1d"}],
        },
    ]

    run = run_pipeline(tmp_path, pipeline | {"metrics": pipeline["metrics"] + remembered})

    assert (run.outcome["events"], run.late, run.rejects) == (19_998, [], [])
    compared = compare(database, pipeline, run)
    inside, asked = compared.bounds("sizes")
    assert asked > 400 and inside >= 0.98 * asked
    (hosts,) = database.execute("SELECT count(DISTINCT host) FROM events").fetchone()
    new = {name: sum(r["new"] for r in run.of(name)) for name in ("hosts", "hosts_exactly")}
    assert new["hosts_exactly"] == hosts > 1_500
    assert 0.99 * hosts - 3 * (0.01 * hosts) ** 0.5 <= new["hosts"] <= hosts
    first = Counter((entry["metric"], entry["value"]) for entry in run.first_seen)
    names = {host for (host,) in database.execute("SELECT DISTINCT host FROM events").fetchall()}
    assert {host for metric, host in first if metric == "hosts_exactly"} == names
    assert first.total() == len(first) == sum(new.values())
    assert {sum(r["new"] + r["returning"] for r in run.of(name)) for name in new} == {19_998}
    # What the data set's own description says of both files together.
    assert sum(r["value"] for r in run.of("traffic")) == 246_472_942 + 179_517_299
    by_response = {}
    for answer in run.of("requests"):
        by_response[answer["key"]["response"]] = (
            by_response.get(answer["key"]["response"], 0) + answer["value"]
        )
    assert by_response == {200: 18_058, 304: 1_219, 302: 544, 404: 176, 403: 1}
