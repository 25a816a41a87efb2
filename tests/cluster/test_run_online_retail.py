"""A shop's sales: money from prices and quantities, cancellations, the shop's clock across summer time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import duckdb
import pytest
from cluster_runs import run_pipeline, shipped_pipeline
from exact_answers import compare

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

LONDON = ZoneInfo("Europe/London")


def load_sales(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the table of events of the pipeline."""
    database.execute(
        """
        CREATE TABLE events AS SELECT
            epoch_ms(timezone('Europe/London', InvoiceDate)) AS time_ms,
            InvoiceNo AS invoice, StockCode AS stock_code, Description AS description, Quantity AS quantity,
            UnitPrice AS unit_price, CustomerID AS customer, Country AS country,
            Quantity * UnitPrice AS amount
        FROM read_csv(?, header = true, columns = {
            InvoiceNo: 'VARCHAR', StockCode: 'VARCHAR', Description: 'VARCHAR', Quantity: 'BIGINT',
            InvoiceDate: 'TIMESTAMP', UnitPrice: 'DOUBLE', CustomerID: 'BIGINT', Country: 'VARCHAR'})
        """,
        [str(path)],
    )


def test_every_answer_over_days_around_both_clock_changes_is_the_exact_one_or_within_its_bounds(
    project_root: Path, parts_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    path = parts_folder / "online_retail_part.csv.gz"
    pipeline = shipped_pipeline(project_root, "online_retail.yaml", path=str(path), chunk_bytes=64 * 1024)
    load_sales(database, path)

    run = run_pipeline(tmp_path, pipeline)

    assert (run.outcome["events"], run.late, run.rejects) == (18_225, [], [])
    compared = compare(database, pipeline, run)
    assert compared.answers["buyers"] > 0 and compared.answers["visits"] > 500
    # The shop opens at half past seven by its own clock, in winter and summer.
    hours = [answer["window"] for answer in run.of("revenue") if answer["window"]["size_ms"] == 3_600_000]
    opened = {datetime.fromtimestamp(window["start_ms"] / 1000, LONDON).hour for window in hours}
    assert (
        min(opened) == 7
        and len({datetime.fromtimestamp(w["start_ms"] / 1000, LONDON).dst() for w in hours}) == 2
    )


@pytest.mark.slow
def test_every_answer_over_a_year_of_sales_is_the_exact_one_or_within_its_bounds(
    project_root: Path, data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    path = data_folder / "online_retail" / "online_retail.csv.gz"
    pipeline = shipped_pipeline(project_root, "online_retail.yaml", path=str(path))
    month = {"tumbling": "30d"}
    pipeline["metrics"] += [
        {
            "name": "best_of_month",
            "kind": "top_k",
            "of": "stock_code",
            "lg_max_map_size": 10,
            "windows": [month],
        },
        {
            "name": "customers",
            "kind": "distinct",
            "of": "customer",
            "lg_k": 8,
            "windows": [{"tumbling": "1d"}],
        },
        {
            "name": "named_by_country",
            "kind": "frequency",
            "of": "stock_code",
            "by": ["country"],
            "ask": ["85123A", "22423", "84879", "no such code"],
            "epsilon": 0.01,
            "delta": 0.05,
            "windows": [{"tumbling": "7d"}],
        },
        {"name": "last_price", "kind": "last", "of": "unit_price", "by": ["country"], "windows": [month]},
    ]
    load_sales(database, path)

    run = run_pipeline(tmp_path, pipeline)

    assert (run.outcome["events"], run.late, run.rejects) == (541_909, [], [])
    compared = compare(database, pipeline, run)
    # A sketch of 256 registers is off often enough for its claim to be put to the test.
    inside, asked = compared.bounds("customers")
    assert asked > 300 and 0.9 * asked <= inside < asked


def local_times() -> Iterator[str]:
    """Every minute of the nights of both clock changes of 2011, as a clock without a zone shows it."""
    for begin in (datetime(2011, 3, 26, 23, 30), datetime(2011, 10, 29, 23, 30)):
        for minute in range(5 * 60):
            yield (begin + timedelta(minutes=minute)).strftime("%Y-%m-%d %H:%M")


def test_local_times_across_both_clock_changes_are_the_exact_ones(
    tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    shown = list(local_times())
    (tmp_path / "clock.csv").write_text("shown,n\n" + "".join(f"{text},1\n" for text in shown))
    pipeline = {
        "name": "clock",
        "source": {"type": "file", "path": "clock.csv", "format": "csv", "chunk_bytes": 256},
        "event": {
            "fields": {"shown": "string", "n": "long"},
            "time": {"field": "shown", "unit": "%Y-%m-%d %H:%M", "zone": "Europe/London"},
            "out_of_orderness": "2h",
        },
        "metrics": [
            {"name": "minutes", "kind": "count", "windows": [{"tumbling": "1m"}, {"tumbling": "1h"}]},
            {"name": "total", "kind": "sum", "of": "n", "windows": [{"sliding": "1h", "every": "15m"}]},
            {"name": "last", "kind": "last", "of": "shown", "windows": [{"session": "1m"}]},
        ],
    }
    # A time that is shown twice is its first; one that is skipped comes back as another when told in UTC.
    times = [datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=LONDON, fold=0) for text in shown]
    exists = [
        time.astimezone(timezone.utc).astimezone(LONDON).replace(tzinfo=None) == time.replace(tzinfo=None)
        for time in times
    ]
    database.execute("CREATE TABLE events (time_ms BIGINT, shown VARCHAR, n BIGINT)")
    accepted = [
        (int(time.timestamp()) * 1000, text, 1)
        for time, text, real in zip(times, shown, exists, strict=True)
        if real
    ]
    database.executemany("INSERT INTO events VALUES (?, ?, ?)", accepted)

    run = run_pipeline(tmp_path, pipeline)

    skipped = [index + 2 for index, real in enumerate(exists) if not real]
    assert len(skipped) == 60, "the hour from 01:00 to 02:00 of 2011-03-27 does not exist"
    assert [
        (reject["line"], reject["reason"]) for reject in sorted(run.rejects, key=lambda r: r["line"])
    ] == [(line, "bad_time") for line in skipped]
    assert run.late == []
    compared = compare(database, pipeline, run)
    assert compared.answers["minutes"] > 480
