"""Pairs of a year of invoices and the ways of shoppers, gathered by a real job: against SQL."""

from __future__ import annotations

import gzip
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cluster_runs import Finished, run_pipeline

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

DAY_MS = 86_400_000
SOLD = "invoice NOT LIKE 'C%' AND invoice NOT LIKE 'A%' AND quantity > 0"
GAP_MS = 30 * 60_000
CHINESE_DAY = {"tumbling": "1d", "offset": "16h"}


def load_sales(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the table of lines that were sold, each with the number of its order.

    An order is an invoice, or the part of one that is more than the gap away from the rest.
    """
    database.execute(
        f"""
        CREATE TABLE sold AS SELECT epoch_ms(timezone('Europe/London', InvoiceDate)) AS time_ms,
            InvoiceNo AS invoice, StockCode AS stock_code, Quantity AS quantity
        FROM read_csv(?, header = true, columns = {{
            InvoiceNo: 'VARCHAR', StockCode: 'VARCHAR', Description: 'VARCHAR', Quantity: 'BIGINT',
            InvoiceDate: 'TIMESTAMP', UnitPrice: 'DOUBLE', CustomerID: 'BIGINT', Country: 'VARCHAR'}})
        WHERE {SOLD}
        """,
        [str(path)],
    )


def frequent_codes(database: duckdb.DuckDBPyConnection, count: int) -> list[str]:
    """The codes that are on most invoices."""
    query = "SELECT stock_code FROM sold GROUP BY 1 ORDER BY count(DISTINCT invoice) DESC, 1 LIMIT ?"
    return [code for (code,) in database.execute(query, [count]).fetchall()]


def expected_pairs(
    database: duckdb.DuckDBPyConnection, codes: list[str] | None, days: int, max_items: int
) -> dict[int, tuple[list[tuple[str, str, int]], int, int, int]]:
    """By window of so many days: pairs with their count, highest first; orders, too large ones, lines."""
    among = "true" if codes is None else "list_contains(?, stock_code)"
    database.execute(
        f"""
        CREATE OR REPLACE TABLE lines AS
        WITH marked AS (
            SELECT *, coalesce(time_ms - lag(time_ms) OVER (PARTITION BY invoice ORDER BY time_ms)
                > {GAP_MS}, true)::INT AS begins FROM sold WHERE {among}),
        numbered AS (
            SELECT *, sum(begins) OVER (PARTITION BY invoice ORDER BY time_ms
                RANGE UNBOUNDED PRECEDING) AS number FROM marked)
        SELECT invoice, number, stock_code,
            max(time_ms) OVER (PARTITION BY invoice, number) // {days * DAY_MS} AS w FROM numbered
        """,
        [] if codes is None else [codes],
    )
    database.execute(
        """
        CREATE OR REPLACE TABLE items AS SELECT DISTINCT w, invoice, number, stock_code AS c FROM lines;
        CREATE OR REPLACE TABLE orders AS SELECT w, invoice, number, count(*) AS n FROM items GROUP BY ALL
        """
    )
    pairs: dict[int, list[tuple[str, str, int]]] = defaultdict(list)
    query = f"""
        SELECT a.w, a.c, b.c, count(*) AS n FROM items a JOIN items b USING (invoice, number)
        JOIN orders o USING (invoice, number) WHERE a.c < b.c AND o.n <= {max_items}
        GROUP BY ALL ORDER BY n DESC, a.c, b.c
        """
    for window, one, other, count in database.execute(query).fetchall():
        pairs[window].append((one, other, count))
    totals = f"""
        SELECT w, count(*), count(*) FILTER (n > {max_items}), any_value(m) FROM orders
        JOIN (SELECT w, count(*) AS m FROM lines GROUP BY w) USING (w) GROUP BY w
        """
    return {
        window: (pairs[window], orders, oversized, lines)
        for window, orders, oversized, lines in database.execute(totals).fetchall()
    }


def test_pairs_of_a_year_of_invoices_are_the_exact_ones(
    data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    path = data_folder / "online_retail" / "online_retail.csv.gz"
    load_sales(database, path)
    codes = frequent_codes(database, 200)
    among = ", ".join(f"'{code}'" for code in codes)
    pairs = {"kind": "top_pairs", "of": "stock_code", "within": "invoice"}
    fields = {"invoice": "InvoiceNo", "stock_code": "StockCode", "sold_at": "InvoiceDate"}
    pipeline = {
        "name": "invoices",
        "source": {"type": "file", "path": str(path), "format": {"type": "csv"}},
        "event": {
            "fields": {name: {"path": column, "type": "string"} for name, column in fields.items()}
            | {"quantity": {"path": "Quantity", "type": "long"}},
            "time": {"field": "sold_at", "unit": "%Y-%m-%d %H:%M:%S", "zone": "Europe/London"},
            "out_of_orderness": "0s",
        },
        "metrics": [
            {"name": "year", "where": f"{SOLD} and stock_code in ({among})", "max_items": 200}
            | {"windows": [{"tumbling": "730d"}]}
            | pairs,
            {"name": "month", "where": SOLD, "k": 40, "lg_max_map_size": 20}
            | {"windows": [{"tumbling": "30d"}]}
            | pairs,
        ],
    }

    run = run_pipeline(tmp_path, pipeline)

    assert (run.outcome["events"], run.late, run.rejects) == (541_909, [], [])
    (year,) = run.of("year")
    ((truth, orders, oversized, lines),) = expected_pairs(database, codes, 730, 200).values()
    assert items_of(year) == truth[:10]
    assert items_of(year)[:3] == [
        ("22386", "85099B", 825),
        ("22697", "22699", 768),
        ("21931", "85099B", 724),
    ]
    assert (year["orders"], year["oversized_orders"], year["events"]) == (orders, 0, lines) and not oversized
    expected = expected_pairs(database, None, 30, 50)
    found = {answer["window"]["start_ms"] // (30 * DAY_MS): answer for answer in run.of("month")}
    assert set(found) == set(expected) and len(found) > 12
    for window, (truth, orders, oversized, lines) in expected.items():
        told = found[window]
        assert (told["orders"], told["oversized_orders"], told["events"]) == (orders, oversized, lines)
        assert items_of(told) == truth[:40], window
    assert sum(answer["oversized_orders"] for answer in found.values()) > 1000


def items_of(answer: dict[str, Any]) -> list[tuple[str, str, int]]:
    """The pairs of an answer whose counts are exact."""
    assert all(item["lower"] == item["count"] == item["upper"] for item in answer["items"])
    return [(*item["item"], item["count"]) for item in answer["items"]]


def load_actions(database: duckdb.DuckDBPyConnection, path: Path) -> None:
    """Make the table of events, without the row that is cut off."""
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


def expected_steps(
    database: duckdb.DuckDBPyConnection, within_ms: int, size_ms: int, every_ms: int, offset_ms: int
) -> dict[int, list[int]]:
    """By start of the window: how many users reached view, cart and buy."""
    query = f"""
        WITH reached AS (
            SELECT v.user_id, v.time_ms AS t0, c.time_ms AS t1, b.time_ms AS t2
            FROM (SELECT * FROM events WHERE behavior = 'pv') v
            ASOF LEFT JOIN (SELECT * FROM events WHERE behavior = 'cart') c
                ON v.user_id = c.user_id AND v.time_ms < c.time_ms
            ASOF LEFT JOIN (SELECT * FROM events WHERE behavior = 'buy') b
                ON c.user_id = b.user_id AND c.time_ms < b.time_ms),
        placed AS (
            SELECT *, unnest(range(
                t0 - (t0 - {offset_ms}) % {every_ms}, t0 - {size_ms}, -{every_ms})) AS start FROM reached)
        SELECT start, count(DISTINCT user_id),
            count(DISTINCT user_id) FILTER (t1 <= t0 + {within_ms}),
            count(DISTINCT user_id) FILTER (t2 <= t0 + {within_ms})
        FROM placed GROUP BY start
        """
    return {start: counts for start, *counts in database.execute(query).fetchall()}


@pytest.mark.parametrize(
    "in_order",
    [pytest.param(True, id="by time"), pytest.param(False, id="by user", marks=pytest.mark.slow)],
)
def test_steps_of_shoppers_are_the_exact_ones_or_within_their_bounds(
    data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection, in_order: bool
) -> None:
    """In order, entries are closed all the time; by user, all at the end."""
    path = data_folder / "taobao" / "UserBehavior_by_user.csv.gz"
    load_actions(database, path)
    if in_order:
        rows = gzip.decompress(path.read_bytes()).splitlines()[:-1]
        path = tmp_path / "sorted.csv"
        path.write_bytes(b"\n".join(sorted(rows, key=lambda row: int(row.rsplit(b",", 1)[1]))))
    columns = {"user_id": "long", "item_id": "long", "category_id": "long", "behavior": "string"}
    steps = [("view", "pv"), ("cart", "cart"), ("buy", "buy")]
    funnel = {
        "kind": "funnel",
        "of": "user_id",
        "steps": [{"name": name, "where": f"behavior = '{behavior}'"} for name, behavior in steps],
    }
    sliding = {"sliding": "12h", "every": "3h"}
    windows = [CHINESE_DAY, sliding]
    pipeline = {
        "name": "ways",
        "source": {
            "type": "file",
            "path": str(path),
            "format": {"type": "csv", "columns": [*columns, "ts"], "header": False},
            "chunk_bytes": 128 * 1024,
        },
        "event": {
            "fields": columns | {"ts": "long"},
            "time": {"field": "ts", "unit": "s"},
            "require": ["user_id", "ts"],
            "out_of_orderness": "0s" if in_order else "100d",
        },
        "metrics": [
            {"name": "exact_1d", "within": "1d", "exact": True, "windows": windows} | funnel,
            {"name": "exact_1h", "within": "1h", "exact": True, "windows": windows} | funnel,
            {"name": "estimated", "within": "1d", "lg_k": 8, "windows": windows} | funnel,
        ],
    }

    run = run_pipeline(tmp_path, pipeline)

    assert run.late == [] and len(run.rejects) == (not in_order)
    inside = asked = 0
    for name, within_ms in (("exact_1d", DAY_MS), ("exact_1h", 3_600_000), ("estimated", DAY_MS)):
        for size_ms, every_ms, offset_ms in (
            (DAY_MS, DAY_MS, DAY_MS * 2 // 3),
            (DAY_MS // 2, DAY_MS // 8, 0),
        ):
            expected = expected_steps(database, within_ms, size_ms, every_ms, offset_ms)
            found = steps_by_start(run, name, size_ms)
            # A window with other events than views is answered too.
            assert set(expected) <= set(found)
            for start, told in found.items():
                truth = expected.get(start, [0, 0, 0])
                if name == "estimated":
                    inside += sum(t["lower"] <= n <= t["upper"] for t, n in zip(told, truth, strict=True))
                    asked += 3
                else:
                    assert [t["users"] for t in told] == truth, (name, start)
                    assert [t["upper"] for t in told] == [t["lower"] for t in told] == truth
    assert asked > 200 and 0.93 * asked <= inside
    day = steps_by_start(run, "exact_1d", DAY_MS)
    assert max(told[2]["users"] for told in day.values()) > 50


def steps_by_start(run: Finished, metric: str, size_ms: int) -> dict[int, list[dict[str, Any]]]:
    """The steps of a metric's windows of one size, by their start."""
    return {
        answer["window"]["start_ms"]: answer["steps"]
        for answer in run.of(metric)
        if answer["window"]["size_ms"] == size_ms
    }
