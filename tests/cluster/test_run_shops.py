"""The shop's pipelines as they are shipped: a simulated shop, a year of real orders, clicks on real pages."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import combinations
from pathlib import Path
from typing import Any

import duckdb
import pytest
from cluster_runs import Finished, run_pipeline, shipped_pipeline
from exact_answers import compare

from flink_job.simulation.simulation import Simulation, SimulatorSpec
from flink_job.sinks.file_sink import read_lines

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

EVENTS = 30_000
DAY_MS = 86_400_000
NOT_COMPARED_BY_SQL = ("first_seen", "top_pairs", "funnel")


def by_sql(pipeline: dict[str, Any]) -> dict[str, Any]:
    """The pipeline with those metrics only whose exact answers come from SQL."""
    metrics = [metric for metric in pipeline["metrics"] if metric["kind"] not in NOT_COMPARED_BY_SQL]
    return pipeline | {"metrics": metrics}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Iterator[tuple[Finished, Path]]:
    """A run of the shop, and its folder, which has the events as `events.jsonl`."""
    folder = tmp_path_factory.mktemp("shop")
    pipeline = shipped_pipeline(project_root, "ecommerce.yaml", events=EVENTS)
    (folder / "events.jsonl").write_bytes(Simulation(SimulatorSpec(**pipeline["source"])).chunk(0, EVENTS))
    for entry in pipeline["similar"]:
        entry["items"]["path"] = str(project_root / "pipelines" / "shop_items.jsonl")
    yield run_pipeline(folder, pipeline), folder


def events_of(folder: Path) -> list[dict[str, Any]]:
    events = [json.loads(line) for line in (folder / "events.jsonl").read_bytes().splitlines()]
    return [{"text": None} | event for event in events]


def output(folder: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in read_lines(folder / ".sketchstream" / "ecommerce" / name)]


def test_the_shops_numbers_are_exact_or_within_their_bounds(
    shop: tuple[Finished, Path], project_root: Path, database: duckdb.DuckDBPyConnection
) -> None:
    run, folder = shop
    database.execute(
        "CREATE TABLE events AS SELECT ts AS time_ms, * FROM read_json(?, columns = {user_id: 'VARCHAR', "
        "action: 'VARCHAR', item_id: 'VARCHAR', value: 'DOUBLE', quantity: 'BIGINT', text: 'VARCHAR', "
        "ts: 'BIGINT'})",
        [str(folder / "events.jsonl")],
    )
    assert (run.outcome["events"], run.late, run.rejects) == (EVENTS, [], [])
    compare(database, by_sql(shipped_pipeline(project_root, "ecommerce.yaml")), run)

    users = {event["user_id"] for event in events_of(folder)}
    buyers = {event["user_id"] for event in events_of(folder) if event["action"] == "purchase"}
    assert sum(answer["new"] for answer in run.of("first_purchases")) == len(buyers)
    assert 0.98 * len(users) <= sum(answer["new"] for answer in run.of("new_visitors")) <= len(users)
    greeted = [event["value"] for event in run.first_seen if event["metric"] == "first_purchases"]
    assert Counter(greeted) == dict.fromkeys(buyers, 1)


def test_users_go_through_the_shop_as_counted_one_by_one(shop: tuple[Finished, Path]) -> None:
    run, folder = shop
    times: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for event in sorted(events_of(folder), key=lambda event: event["ts"]):
        times[event["user_id"]][event["action"]].append(event["ts"])
    reached = Counter()
    for own in times.values():
        steps = 0
        for entry in own["view"]:
            cart = next((t for t in own["add_cart"] if entry < t <= entry + 600_000), None)
            buy = cart and next((t for t in own["purchase"] if cart < t <= entry + 600_000), None)
            steps = max(steps, 1 + (cart is not None) + bool(buy))
        reached.update(range(1, steps + 1))
    (sales,) = run.of("sales")
    assert [step["step"] for step in sales["steps"]] == ["view", "cart", "buy"]
    for number, step in enumerate(sales["steps"], 1):
        assert step["lower"] <= reached[number] <= step["upper"]
    assert reached[1] > reached[2] > reached[3] > 50


def test_each_event_is_enriched_and_each_question_answered_once(shop: tuple[Finished, Path]) -> None:
    _, folder = shop
    events, enriched, answers = events_of(folder), output(folder, "enriched"), output(folder, "similar")
    assert len(enriched) == EVENTS
    new = Counter(event["user_id"] for event in enriched if event["is_new_user"])
    assert set(new.values()) == {1} and len(new) >= 0.98 * len({event["user_id"] for event in events})
    asked = Counter(answer["answer"] for answer in answers)
    assert asked["like_this"] == sum(event["action"] == "view" for event in events)
    assert asked["found"] == sum(event["text"] is not None for event in events)
    for answer in answers:
        items = [item["item"] for item in answer["items"]]
        assert len(set(items)) == 10 and answer["query"].get("item") not in items
        scores = [item["score"] for item in answer["items"]]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.slow
def test_a_year_of_orders_is_counted_as_sql_and_sets_count_it(
    project_root: Path, data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    path = data_folder / "online_retail" / "online_retail.csv.gz"
    pipeline = shipped_pipeline(project_root, "orders.yaml", path=str(path))
    database.execute(
        """
        CREATE TABLE events AS SELECT *, quantity * unit_price AS amount,
            invoice NOT LIKE 'C%' AND invoice NOT LIKE 'A%' AND quantity > 0 AS is_sale
        FROM (SELECT epoch_ms(timezone('Europe/London', InvoiceDate)) AS time_ms, InvoiceNo AS invoice,
            StockCode AS stock_code, Quantity AS quantity, UnitPrice AS unit_price, CustomerID AS customer
        FROM read_csv(?, header = true, columns = {
            InvoiceNo: 'VARCHAR', StockCode: 'VARCHAR', Description: 'VARCHAR', Quantity: 'BIGINT',
            InvoiceDate: 'TIMESTAMP', UnitPrice: 'DOUBLE', CustomerID: 'BIGINT', Country: 'VARCHAR'}))
        """,
        [str(path)],
    )

    run = run_pipeline(tmp_path, pipeline)

    assert (run.outcome["events"], run.late, run.rejects) == (541_909, [], [])
    compare(database, by_sql(pipeline), run)
    firsts = database.execute(
        "SELECT first // (7 * 86400000), count(*) FROM (SELECT min(time_ms) AS first FROM events "
        "WHERE is_sale AND customer IS NOT NULL GROUP BY customer) GROUP BY 1"
    ).fetchall()
    told = {a["window"]["start_ms"] // (7 * DAY_MS): a["new"] for a in run.of("new_customers") if a["new"]}
    assert told == dict(firsts)
    exact = pairs_by_window(database)
    assert len(run.of("bought_together")) == len(exact) > 12
    for answer in run.of("bought_together"):
        counts = exact[answer["window"]["start_ms"] // (28 * DAY_MS)]
        for pair in answer["items"]:
            assert pair["lower"] <= counts[tuple(pair["item"])] <= pair["upper"]


def pairs_by_window(database: duckdb.DuckDBPyConnection) -> dict[int, Counter[tuple[str, str]]]:
    """How many invoices have two items, by the window of an invoice's last line."""
    rows = database.execute(
        "SELECT max(time_ms) // (28 * 86400000::BIGINT), list(DISTINCT stock_code) FROM events WHERE is_sale "
        "GROUP BY invoice"
    ).fetchall()
    found: dict[int, Counter[tuple[str, str]]] = defaultdict(Counter)
    for window, codes in rows:
        found[window].update(combinations(sorted(codes), 2) if len(codes) <= 50 else ())
    return found


@pytest.mark.slow
def test_clicks_by_product_are_the_exact_ones(
    project_root: Path, data_folder: Path, tmp_path: Path, database: duckdb.DuckDBPyConnection
) -> None:
    pattern = data_folder / "nasa_http" / "nasa_1995*.tsv.gz"
    pipeline = shipped_pipeline(project_root, "product_clicks.yaml", path=str(pattern))
    prefix = pipeline["event"]["derive"]["product"]["extract"].replace(
        "${PREFIX:-/product/}", "/shuttle/missions/"
    )
    database.execute(
        r"""
        CREATE TABLE events AS SELECT c[1] AS host, c[3]::BIGINT * 1000 AS time_ms, c[5] AS url,
            nullif(regexp_extract(c[5], '^/shuttle/missions/([^/?]+)', 1), '') AS product
        FROM (
            SELECT string_split(line, chr(9)) AS c FROM read_csv(
                ?, header = false, columns = {line: 'VARCHAR'}, delim = chr(1), quote = '', escape = '')
        ) WHERE c[1] <> 'host'
        """,
        [str(pattern)],
    )
    pipeline["event"]["derive"]["product"]["extract"] = prefix
    run = run_pipeline(tmp_path, pipeline)
    assert (run.outcome["events"], run.late, run.rejects) == (19_998, [], [])
    compared = compare(database, pipeline, run)
    assert compared.answers["clicks"] > 500
