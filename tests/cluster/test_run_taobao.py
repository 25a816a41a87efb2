"""What shoppers did, user by user: 84,392 of 84,476 rows are out of order, and the last one is cut off."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cluster_runs import Finished, run_pipeline
from exact_answers import Compared, compare

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

ROWS = 84_476
COLUMNS = ["user_id", "item_id", "category_id", "behavior", "ts"]
CHINESE_DAY = {"tumbling": "1d", "offset": "16h"}


def pipeline_of(path: Path, **event: Any) -> dict[str, Any]:
    """A pipeline over a file of this data set."""
    hour = {"tumbling": "1h"}
    return {
        "name": "shoppers",
        "allowed_lateness": event.pop("allowed_lateness", "0s"),
        "source": {
            "type": "file",
            "path": str(path),
            "format": {"type": "csv", "columns": COLUMNS, "header": False},
            "chunk_bytes": 256 * 1024,
        },
        "event": {
            "fields": {
                "user_id": "long",
                "item_id": "long",
                "category_id": "long",
                "behavior": "string",
                "ts": "long",
            },
            "time": {"field": "ts", "unit": "s"},
            "require": ["user_id", "ts"],
            **event,
        },
        "metrics": [
            {
                "name": "actions",
                "kind": "count",
                "by": ["behavior"],
                "windows": [CHINESE_DAY, {"sliding": "12h", "every": "6h"}],
            },
            {"name": "shoppers", "kind": "distinct", "of": "user_id", "windows": [hour, CHINESE_DAY]},
            {"name": "visits", "kind": "count", "by": ["user_id"], "windows": [{"session": "30m"}]},
            {
                "name": "top_categories",
                "kind": "top_k",
                "of": "category_id",
                "k": 10,
                "windows": [CHINESE_DAY],
            },
            {"name": "top_items", "kind": "top_k", "of": "item_id", "k": 10, "windows": [CHINESE_DAY]},
            {"name": "last_item", "kind": "last", "of": "item_id", "by": ["behavior"], "windows": [hour]},
            {"name": "clock", "kind": "stats", "of": "ts", "by": ["behavior"], "windows": [CHINESE_DAY]},
            {
                "name": "conversion",
                "kind": "ratio",
                "numerator": {"kind": "distinct", "of": "user_id", "where": "behavior = 'buy'"},
                "denominator": {"kind": "distinct", "of": "user_id"},
                "windows": [CHINESE_DAY],
            },
        ],
    }


def load_actions(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the table of events of the pipeline, without the row that is cut off."""
    database.execute(
        """
        CREATE TABLE events AS SELECT ts * 1000 AS time_ms, * FROM read_csv(
            ?, header = false, null_padding = true, columns = {
                user_id: 'BIGINT', item_id: 'BIGINT', category_id: 'BIGINT', behavior: 'VARCHAR',
                ts: 'BIGINT'})
        WHERE ts IS NOT NULL
        """,
        [str(path)],
    )


def check(run: Finished, pipeline: dict[str, Any], database: duckdb.DuckDBPyConnection) -> Compared:
    assert run.outcome["events"] == ROWS
    assert run.late == []
    compared = compare(database, pipeline, run)
    assert compared.answers["visits"] > 10_000
    inside, asked = compared.bounds("shoppers")
    assert asked > 200 and inside >= 0.9 * asked
    return compared


@pytest.fixture
def by_user(data_folder: Path) -> Path:
    return data_folder / "taobao" / "UserBehavior_by_user.csv.gz"


def answered(run: Finished) -> dict[str, dict[str, Any]]:
    """The answers of a run by id, without how often they were sent before."""
    return {answer["id"]: {**answer, "revision": None} for answer in run.answers}


@pytest.mark.slow
def test_a_file_grouped_by_user_gives_the_final_answers_of_the_sorted_one_given_the_lateness(
    by_user: Path, tmp_path_factory: pytest.TempPathFactory, database: duckdb.DuckDBPyConnection
) -> None:
    load_actions(database, by_user)
    rows = gzip.decompress(by_user.read_bytes()).splitlines()
    in_order = tmp_path_factory.mktemp("sorted") / "sorted.csv"
    in_order.write_bytes(
        b"\n".join(sorted(rows[:-1], key=lambda row: int(row.rsplit(b",", 1)[1])) + rows[-1:])
    )

    # Windows fire as the first users go by and are answered again for every user after.
    grouped_pipeline = pipeline_of(by_user, out_of_orderness="0s", allowed_lateness="100d")
    grouped = run_pipeline(tmp_path_factory.mktemp("grouped"), grouped_pipeline)
    sorted_pipeline = pipeline_of(in_order, out_of_orderness="0s")
    straight = run_pipeline(in_order.parent, sorted_pipeline)

    check(grouped, grouped_pipeline, database)
    check(straight, sorted_pipeline, database)
    assert max(emission["revision"] for emission in grouped.emissions) > 5
    assert max(emission["revision"] for emission in straight.emissions) == 0
    approximate = {"top_items"}
    assert {i: a for i, a in answered(grouped).items() if a["metric"] not in approximate} == {
        i: a for i, a in answered(straight).items() if a["metric"] not in approximate
    }


@pytest.mark.slow
def test_a_file_grouped_by_user_gives_the_exact_answers_given_the_disorder(
    by_user: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    load_actions(database, by_user)
    pipeline = pipeline_of(by_user, out_of_orderness="100d")

    run = run_pipeline(tmp_path, pipeline)

    check(run, pipeline, database)
    assert {emission["revision"] for emission in run.emissions} == {0}
    (reject,) = run.rejects
    assert (reject["line"], reject["payload"]) == (ROWS, "100370,1968385,1875258,pv")
    assert reject["file"] == str(by_user)
