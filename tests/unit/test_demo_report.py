from __future__ import annotations

import copy
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path

import duckdb
import polars as pl
import pytest
import yaml
from rich.console import Console

from flink_job.demo.checks import latest
from flink_job.demo.exact import SLIDING_MS, WHOLE_DAY_MS, ExactAnswers, exact_answers
from flink_job.demo.memory import MemoryMeter, growth
from flink_job.demo.report import Totals, report
from flink_job.simulation.simulation import Simulation, SimulatorSpec

SPEC = SimulatorSpec(events=30_000, users=2_000, disorder="2s", bad_share=0.01)


@pytest.fixture(scope="module")
def exact() -> ExactAnswers:
    simulation = Simulation(SPEC)
    return exact_answers([simulation.chunk(0, 10_000), simulation.chunk(10_000, 20_000)])


@pytest.fixture
def results(exact: ExactAnswers) -> list[dict]:
    """What a job without any error would send."""
    sent: list[dict] = []
    for (start, end), answers in exact.windows.items():

        def add(metric: str, events: int, key: dict, *, at: tuple[int, int] = (start, end), **fields) -> None:
            sent.append(
                {
                    "id": f"{metric} {key} {at}",
                    "metric": metric,
                    "key": key,
                    "window": {"start_ms": at[0], "end_ms": at[1]},
                    "events": events,
                    "revision": 0,
                    "final": True,
                    **fields,
                }
            )

        add("unique_users", answers.events, {}, **around(len(answers.users), 0.02), confidence=0.95)
        if end - start != WHOLE_DAY_MS[0]:
            continue
        for action, count in answers.actions.items():
            add("actions", count, {"action": action}, **around(count, 0), confidence=1.0)
            add("value_by_action", count, {"action": action}, **around(sum(answers.values[action]), 0))
        purchases = answers.actions["purchase"]
        add("revenue", purchases, {}, **around(sum(answers.values["purchase"]), 0), confidence=1.0)
        top = sorted(answers.items.items(), key=lambda entry: (-entry[1], entry[0]))[:10]
        items = [{"item": item, "count": count, "lower": count, "upper": count} for item, count in top]
        add("top_items", answers.events, {}, items=items, confidence=1.0)
        asked = [
            {"item": item, "count": answers.items[item] + 40, "lower": 0, "upper": answers.items[item] + 40}
            for item in ("item_0000", "item_0999")
        ]
        add("item_frequency", answers.events, {}, items=asked, confidence=0.99)
        ranks = {str(rank): around(answers.quantile("purchase", rank), 0.05) for rank in (0.5, 0.99)}
        add("basket_value", purchases, {}, quantiles=ranks, confidence=0.99)
        share = len(answers.buyers) / len(answers.users)
        add("conversion", answers.events, {}, **around(share, 0.05), confidence=0.95)
    return sent


def around(exact: float, width: float) -> dict[str, float]:
    """An answer whose value is a little too high and whose bounds hold."""
    value = exact * (1 + width / 2)
    return {"value": value, "lower": value * (1 - width), "upper": value * (1 + width)} if width else {
        "value": exact, "lower": exact, "upper": exact
    }  # fmt: skip


def totals(exact: ExactAnswers, late: int = 0) -> Totals:
    return Totals(exact.events, exact.rejects, late, 2.0)


def find(results: list[dict], metric: str, **key: str) -> dict:
    """The result of a metric over the whole day."""
    return next(
        result
        for result in results
        if result["metric"] == metric
        and result["key"] == key
        and result["window"]["end_ms"] - result["window"]["start_ms"] == WHOLE_DAY_MS[0]
    )


def verdicts(results: list[dict], exact: ExactAnswers, late: int = 0) -> list[tuple[str, str, str]]:
    found = report(results, SPEC, totals(exact, late))
    assert found.within_bounds == all(check.verdict != "wrong" for check in found.checks)
    return [(check.metric, check.what, check.verdict) for check in found.checks if check.verdict != "right"]


def test_the_exact_answers_are_those_of_a_database(exact: ExactAnswers) -> None:
    lines = Simulation(SPEC.model_copy(update={"bad_share": 0.0})).chunk(0, 30_000).splitlines()
    kept = Simulation(SPEC).chunk(0, 30_000).splitlines()
    rows = [json.loads(line) for line, same in zip(lines, kept, strict=True) if line == same]
    events = pl.DataFrame(rows, schema=["user_id", "action", "item_id", "value", "ts"], strict=False)
    assert exact.events == 30_000 and exact.rejects == 30_000 - len(events)
    for size_ms, every_ms in (WHOLE_DAY_MS, SLIDING_MS):
        found = duckdb.sql(
            f"""with windows as (select unnest(range((ts // {every_ms}) * {every_ms}, ts - {size_ms},
                    -{every_ms})) as start, * from events)
                select start, count(*), count(distinct user_id), count(distinct user_id) filter
                (action = 'purchase'), sum(value::decimal(18, 2)) filter (action = 'purchase'),
                quantile_disc(value, 0.95) filter (action = 'purchase'),
                count(*) filter (item_id = 'item_0003')
                from windows group by start"""
        ).fetchall()
        mine = {start: answers for (start, end), answers in exact.windows.items() if end - start == size_ms}
        assert len(found) == len(mine) > 0
        for start, count, users, buyers, revenue, p95, item_3 in found:
            answers = mine[start]
            assert (answers.events, len(answers.users), len(answers.buyers)) == (count, users, buyers)
            assert round(answers.value_of("purchase"), 2) == float(revenue)
            assert answers.quantile("purchase", 0.95) == p95 and answers.items["item_0003"] == item_3


def test_events_the_pipeline_refuses_are_not_counted() -> None:
    good = {"user_id": "u", "action": "view", "item_id": None, "value": 1, "ts": 5}
    bad = [
        {**good, "user_id": None},
        {**good, "action": 3},
        {**good, "value": "1"},
        {**good, "value": True},
        {**good, "value": -0.01},
        {**good, "ts": "5"},
        {"user_id": "u", "action": "view"},
        [],
    ]
    lines = [json.dumps(event).encode() for event in [good, *bad]] + [b"", b"{", b'"\xff"']
    answers = exact_answers([b"\n".join(lines)])
    assert (answers.events, answers.rejects) == (12, 11)
    assert answers.whole_run().events == 1 and answers.whole_run().items == {}


def test_windows_of_events_before_the_epoch_and_on_edges_are_right() -> None:
    event = b'{"user_id":"u","action":"view","ts":%d}'
    answers = exact_answers([b"\n".join(event % ts for ts in (-1, 0, 59_999, 60_000))], [(120_000, 60_000)])
    assert {window: found.events for window, found in answers.windows.items()} == {
        (-120_000, 0): 1,
        (-60_000, 60_000): 3,
        (0, 120_000): 3,
        (60_000, 180_000): 1,
    }


def test_a_perfect_run_is_right_in_every_number(exact: ExactAnswers, results: list[dict]) -> None:
    assert verdicts(results, exact) == []
    checked = report(results, SPEC, totals(exact)).checks
    assert {check.metric for check in checked} == {"run", *(result["metric"] for result in results)}


def test_only_the_highest_revision_counts(exact: ExactAnswers, results: list[dict]) -> None:
    early = [{**result, "revision": -1, "final": False, "value": 0} for result in results]
    retracted = {**results[0], "id": "gone", "retracted": True, "value": 0}
    assert verdicts([*results, *early, retracted], exact) == []
    assert latest([*early, *results, retracted]) == results


def test_an_answer_without_its_last_revision_is_wrong(exact: ExactAnswers, results: list[dict]) -> None:
    find(results, "revenue")["final"] = False
    assert ("revenue", "not final", "wrong") in verdicts(results, exact)


def corrupt_value(metric: str, factor: float, **key: str) -> Callable[[list[dict]], None]:
    def corrupt(results: list[dict]) -> None:
        result = find(results, metric, **key)
        for name in ("value", "lower", "upper"):
            result[name] *= factor

    return corrupt


def corrupt_entry(
    metric: str, entries: str, place: int | str, **changes: float
) -> Callable[[list[dict]], None]:
    return lambda results: find(results, metric)[entries][place].update(changes)


@pytest.mark.parametrize(
    ("corrupt", "metric", "what"),
    [
        (corrupt_value("unique_users", 1.2), "unique_users", "value"),
        (corrupt_value("unique_users", 0.8), "unique_users", "value"),
        (corrupt_value("unique_users", float("nan")), "unique_users", "value"),
        (lambda results: find(results, "unique_users").update(value=10**6), "unique_users", "value"),
        (corrupt_value("actions", 1.001, action="click"), "actions", "value"),
        (corrupt_value("revenue", 1.0001), "revenue", "value"),
        (corrupt_value("value_by_action", 0.9999, action="add_cart"), "value_by_action", "value"),
        (corrupt_value("conversion", 1.3), "conversion", "value"),
        (
            corrupt_entry("top_items", "items", 3, lower=10**6, count=10**6, upper=10**6),
            "top_items",
            "item_0003",
        ),
        (corrupt_entry("item_frequency", "items", 0, upper=5, count=5), "item_frequency", "item_0000"),
        (
            corrupt_entry("basket_value", "quantiles", "0.5", value=90, lower=89, upper=91),
            "basket_value",
            "0.5",
        ),
        (
            lambda results: find(results, "basket_value").update(quantiles=None),
            "basket_value",
            "number of entries",
        ),
        (
            lambda results: find(results, "item_frequency").update(items=[]),
            "item_frequency",
            "number of entries",
        ),
        (
            lambda results: find(results, "top_items")["items"].pop(0),
            "top_items",
            "most frequent item left out",
        ),
        (lambda results: find(results, "actions", action="view").update(events=3), "actions", "events"),
        (lambda results: results.remove(find(results, "conversion")), "conversion", "missing"),
        (lambda results: results.remove(results[-20]), "", "missing"),
        (lambda results: results.append(moved(find(results, "revenue"))), "revenue", "unasked"),
    ],
)
def test_each_kind_of_wrong_answer_is_found(
    exact: ExactAnswers, results: list[dict], corrupt: Callable, metric: str, what: str
) -> None:
    corrupt(results)
    found = verdicts(results, exact)
    assert [(verdict, name) for _, name, verdict in found] == [("wrong", what)]
    assert metric in ("", found[0][0])


def moved(result: dict) -> dict:
    other = copy.deepcopy(result)
    other["id"] = "moved"
    other["window"]["start_ms"] += WHOLE_DAY_MS[0]
    return other


def test_an_answer_just_outside_its_bounds_is_told_but_not_wrong(
    exact: ExactAnswers, results: list[dict]
) -> None:
    corrupt_value("unique_users", 1.02)(results)  # the value is 3 % too high, its bounds are 2 % away
    assert verdicts(results, exact) == [("unique_users", "value", "outside")]
    assert report(results, SPEC, totals(exact)).within_bounds


def test_events_lost_on_the_way_are_wrong(exact: ExactAnswers, results: list[dict]) -> None:
    lost = Totals(exact.events - 1, exact.rejects + 1, 0, 2.0)
    found = report(results, SPEC, lost)
    assert [check.what for check in found.checks if check.verdict == "wrong"] == ["events read", "rejects"]
    assert not found.within_bounds


def test_late_events_explain_low_answers_but_no_high_ones(exact: ExactAnswers, results: list[dict]) -> None:
    corrupt_value("revenue", 0.9)(results)
    assert verdicts(results, exact, late=5) == [("revenue", "value", "late")]
    corrupt_value("revenue", 1.3)(results)
    assert verdicts(results, exact, late=5) == [("revenue", "value", "wrong")]


def test_an_unknown_metric_is_passed_over(exact: ExactAnswers, results: list[dict]) -> None:
    assert verdicts([*results, {**results[0], "id": "x", "metric": "mine"}], exact) == []


def test_the_report_prints_at_any_width_and_as_json(exact: ExactAnswers, results: list[dict]) -> None:
    found = report(results, SPEC, totals(exact))
    for width in (60, 120):
        text = io.StringIO()
        Console(file=text, width=width).print(found)
        assert "30,000" in text.getvalue() and "unique_users" in text.getvalue()
        assert "15,000 events/s" in " ".join(text.getvalue().split())
    plain = json.loads(json.dumps(found.as_json(), allow_nan=False))
    assert plain["within_bounds"] is True
    assert plain["totals"] == {"events": 30_000, "rejects": exact.rejects, "late": 0, "elapsed_s": 2.0}
    assert {row["answer"] for row in plain["memory"]} >= {"unique_users", "top_items", "basket_value"}


def test_wrong_answers_are_shown_whatever_their_window(exact: ExactAnswers, results: list[dict]) -> None:
    small = next(result for result in results if result["window"]["start_ms"] == 1_767_225_600_000 - 240_000)
    small.update(events=7_654_321)
    text = io.StringIO()
    Console(file=text, width=140).print(report(results, SPEC, totals(exact)))
    assert "7,654,321" in text.getvalue() and "1 WRONG" in text.getvalue()


def test_nothing_came_and_nothing_was_expected() -> None:
    found = report([], SPEC.model_copy(update={"events": 0}), Totals(0, 0, 0, 0.0))
    assert found.within_bounds
    Console(file=io.StringIO()).print(found)


def test_an_endless_source_is_compared_as_far_as_it_was_read(
    exact: ExactAnswers, results: list[dict]
) -> None:
    endless = SPEC.model_copy(update={"events": None})
    assert report(results, endless, totals(exact)).within_bounds


def test_memory_counts_each_object_once() -> None:
    name, meter = "a name of some length", MemoryMeter()
    names = {name}
    assert meter.size(names, [name]) == sys.getsizeof(names) + sys.getsizeof(name) + sys.getsizeof([name])
    assert meter.size(names, name) == 0


def test_sketches_win_from_some_cardinality_on() -> None:
    rows = growth([10, 1_000, 50_000])
    assert rows[0].sketch_bytes < rows[0].set_bytes and rows[2].sketch_bytes * 50 < rows[2].set_bytes
    assert rows[2].sketch_bytes < 17_000
    assert all(abs(row.estimate / row.distinct - 1) < 0.03 for row in rows)


def test_the_demo_pipeline_asks_what_the_report_compares(results: list[dict]) -> None:
    text = (Path(__file__).parents[2] / "pipelines" / "demo.yaml").read_text(encoding="utf-8")
    metrics = yaml.safe_load(text)["metrics"]
    assert {metric["name"] for metric in metrics} == {result["metric"] for result in results}
    windows = {metric["name"]: metric["windows"] for metric in metrics}
    assert windows.pop("unique_users") == [{"tumbling": "1d"}, {"sliding": "5m", "every": "1m"}]
    assert all(window == [{"tumbling": "1d"}] for window in windows.values())
    assert {metric["name"]: metric.get("where") for metric in metrics if "where" in metric} == {
        "revenue": "action = 'purchase'",
        "basket_value": "action = 'purchase'",
    }
