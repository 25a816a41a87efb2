"""The order of a file makes no difference to the final answers, given the lateness to do so."""

from __future__ import annotations

import gzip
import random
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cluster_runs import run_pipeline, shipped_pipeline
from exact_answers import compare
from test_run_online_retail import load_sales

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.mark.parametrize(("out_of_orderness", "allowed_lateness"), [("0s", "400d"), ("400d", "0s")])
def test_a_file_in_random_order_gives_the_exact_answers(
    project_root: Path,
    parts_folder: Path,
    tmp_path: Path,
    database: duckdb.DuckDBPyConnection,
    out_of_orderness: str,
    allowed_lateness: str,
) -> None:
    header, *rows = gzip.decompress((parts_folder / "online_retail_part.csv.gz").read_bytes()).splitlines(
        True
    )
    random.Random(7).shuffle(rows)
    path = tmp_path / "shuffled.csv"
    path.write_bytes(header + b"".join(rows))
    pipeline: dict[str, Any] = shipped_pipeline(
        project_root, "online_retail.yaml", path=path.name, chunk_bytes=128 * 1024
    )
    pipeline["event"]["out_of_orderness"] = out_of_orderness
    pipeline["allowed_lateness"] = allowed_lateness
    load_sales(database, path)

    run = run_pipeline(tmp_path, pipeline)

    assert (run.outcome["events"], run.late, run.rejects) == (len(rows), [], [])
    compare(database, pipeline, run)
    fired_again = any(emission["revision"] for emission in run.emissions)
    assert fired_again == (out_of_orderness != "400d")
