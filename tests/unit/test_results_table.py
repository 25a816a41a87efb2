"""Results as tables: the last word on every id, in the order of time, whatever the kind."""

from __future__ import annotations

from typing import Any

from rich.console import Console

from flink_job.commands.results_table import latest_results, result_tables

MINUTE = 60_000


def result(start: int = 0, revision: int = 0, **fields: Any) -> dict[str, Any]:
    """Return a result of a count over five minutes; `start` in minutes."""
    window = {
        "type": "tumbling",
        "start_ms": start * MINUTE,
        "end_ms": (start + 5) * MINUTE,
        "size_ms": 5 * MINUTE,
    }
    base = {
        "id": f"{start}", "pipeline": "shop", "metric": "n", "kind": "count", "key": {}, "window": window,
        "events": 7, "value": 7, "lower": 7, "upper": 7, "confidence": 1.0,
        "revision": revision, "final": True,
    }  # fmt: skip
    return base | fields


def shown(*results: dict[str, Any], rows: int = 20) -> str:
    console = Console(width=150, record=True, quiet=True)
    with console.capture() as capture:
        for table in result_tables(list(results), rows):
            console.quiet = False
            console.print(table)
    return capture.get()


def test_the_highest_revision_is_the_answer_in_whatever_order_they_come() -> None:
    given = (result(0, 2, value=9), result(0, 0), result(5, 0), result(0, 1, final=False))
    assert {(r["id"], r["value"]) for r in latest_results(given)} == {("0", 9), ("5", 7)}


def test_a_session_that_was_retracted_is_no_answer_whatever_came_before() -> None:
    given = (result(0, 0), result(0, 1, retracted=True, events=0), result(5, 0))
    assert [r["id"] for r in latest_results(given)] == ["5"]


def test_rows_are_in_the_order_of_time_and_the_oldest_are_left_out() -> None:
    text = shown(*(result(start) for start in (20, 0, 15, 5, 10)), rows=3)
    assert "n (count): the last 3 of 5" in text
    starts = [line.split()[1] for line in text.splitlines() if line.strip().startswith("1970-01-01")]
    assert starts == ["00:10:00", "00:15:00", "00:20:00"]


def test_each_metric_has_a_table_with_its_keys_as_columns() -> None:
    text = shown(result(metric="b", key={"city": "Köln", "age": 7}), result(metric="a"), result(metric="b", key={"city": None, "age": 8}))  # fmt: skip # noqa: E501
    assert text.index("a (count)") < text.index("b (count)")
    assert "city" in text and "age" in text and "Köln" in text


def test_exact_answers_say_so_and_others_show_their_bounds() -> None:
    assert "exact" in shown(result())
    text = shown(result(kind="distinct", value=987.25, lower=971.0, upper=1003.9, confidence=0.95))
    assert "987.25" in text and "971.00 .. 1,003.90" in text and "95%" in text


def test_an_answer_of_nothing_is_shown_as_null() -> None:
    assert "null" in shown(result(kind="ratio", value=None, lower=None, upper=None))


def test_items_quantiles_and_stats_have_a_row_each() -> None:
    items = [
        {"item": "x", "count": 1500, "lower": 1500, "upper": 1500},
        {"item": "y", "count": 3, "lower": 1, "upper": 3},
    ]
    text = shown(result(kind="top_k", items=items))
    assert "x  1,500" in text and "y  3" in text and "1 .. 3" in text
    assert "none" in shown(result(kind="top_k", items=[]))
    quantiles = {
        "0.5": {"value": 2.5, "lower": 2.0, "upper": 3.0},
        "0.99": {"value": None, "lower": None, "upper": None},
    }
    text = shown(result(kind="quantiles", quantiles=quantiles))
    assert "q0.5  2.5" in text and "q0.99  null" in text
    text = shown(result(kind="stats", stats={"count": 2, "min": 1.0, "max": 3.0, "mean": 2.0, "stddev": 1.0}))
    assert text.count("exact") == 5 and "stddev  1.0" in text


def test_rising_items_have_a_row_with_their_score_behind_the_top_items() -> None:
    score = {"value": 12.25, "lower": 11.5, "upper": 12.25}
    item = {"item": "[x]", "count": 30, "lower": 30, "upper": 30}
    text = shown(result(kind="trending", items=[item], rising=[{**item, "score": score}]))
    assert text.index("[x]  30") < text.index("rising: [x]  12.25") and "11.50 .. 12.25" in text


def test_an_early_answer_is_marked() -> None:
    assert "3 early" in shown(result(revision=3, final=False)) and "early" not in shown(result(revision=3))


def test_text_of_users_is_no_markup() -> None:
    assert "[red]x[/red]" in shown(result(key={"k": "[red]x[/red]"}))
    assert "[b]x" in shown(result(kind="last", value="[b]x", lower="[b]x", upper="[b]x"))
    assert "[/]" in shown(result(kind="top_k", items=[{"item": "[/]", "count": 1, "lower": 1, "upper": 1}]))


def test_no_results_make_no_table() -> None:
    assert shown() == ""


def test_pairs_and_steps_have_a_row_each() -> None:
    pair = {"item": ["milk", "[tea]"], "count": 1234, "lower": 1200, "upper": 1234}
    text = shown(result(kind="top_pairs", items=[pair], value=None))
    assert "milk + [tea]  1,234" in text and "1,200 .. 1,234" in text
    steps = [
        {"step": "view", "users": 20, "lower": 20, "upper": 20},
        {"step": "buy", "users": 5.5, "lower": 5.0, "upper": 6.0},
    ]
    text = shown(result(kind="funnel", steps=steps, value=None))
    assert "view  20" in text and "exact" in text and "buy  5.5000" in text and "5.0000 .. 6.0000" in text
