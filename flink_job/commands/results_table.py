"""Results as tables, one a metric: what the print sink shows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from operators.durations import format_duration
from operators.plain_text import in_one_line

ROWS_SHOWN = 20


def latest_results(results: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the last word on every id: the highest revision, retracted ones left out."""
    latest: dict[str, dict[str, Any]] = {}
    for result in results:
        if result["id"] not in latest or result["revision"] > latest[result["id"]]["revision"]:
            latest[result["id"]] = result
    return [result for result in latest.values() if not result.get("retracted")]


def result_tables(results: list[dict[str, Any]], rows: int = ROWS_SHOWN) -> Iterator[Table]:
    """Yield a table a metric, in the order of time, the newest windows where there are too many.

    Args:
        results: the last word on every id.
        rows: how many windows and keys a table shows at most.
    """
    by_metric: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for result in results:
        by_metric[result["metric"]].append(result)
    for metric, own in sorted(by_metric.items()):
        own.sort(key=lambda r: (r["window"]["end_ms"], r["window"]["start_ms"], json.dumps(r["key"])))
        title = f"{metric} ({own[0]['kind']})"
        if len(own) > rows:
            title += f": the last {rows} of {len(own):,}"
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD)
        keys = list(own[0]["key"])
        for name in ("window", *keys, "events", "answer", "bounds", "conf.", "rev."):
            justify = "right" if name in ("events", "answer", "bounds") else "left"
            table.add_column(plain(name), justify=justify, no_wrap=name == "window")
        for result in own[-rows:]:
            for number, (answer, bounds) in enumerate(_answers(result)):
                if number:
                    table.add_row(*[""] * (len(keys) + 2), plain(answer), plain(bounds), "", "")
                    continue
                revision = str(result["revision"]) + ("" if result["final"] else " early")
                confidence = f"{result.get('confidence', 1):.0%}"
                shown = [plain(str(result["key"][key])) for key in keys]
                table.add_row(
                    _window(result["window"]),
                    *shown,
                    f"{result['events']:,}",
                    plain(answer),
                    plain(bounds),
                    confidence,
                    revision,
                )
        yield table


def plain(text: str) -> Text:
    """Return a table cell for text of an event: one line, control characters escaped, no markup."""
    return Text(in_one_line(text))


def _answers(result: dict[str, Any]) -> list[tuple[str, str]]:
    if "items" in result:
        rows = [(f"{_item(i['item'])}  {i['count']:,}", _bounds(i)) for i in result["items"]]
        return (rows or [("none", "")]) + [_risen(entry) for entry in result.get("rising", ())]
    if "steps" in result:
        return [(f"{s['step']}  {_number(s['users'])}", _bounds(s)) for s in result["steps"]]
    if "quantiles" in result:
        return [(f"q{rank}  {_number(q['value'])}", _bounds(q)) for rank, q in result["quantiles"].items()]
    if "stats" in result:
        return [(f"{name}  {_number(value)}", "exact") for name, value in result["stats"].items()]
    return [(_number(result["value"]), _bounds(result))]


def _risen(entry: dict[str, Any]) -> tuple[str, str]:
    """Return a rising item with its burst score."""
    return f"rising: {_item(entry['item'])}  {_number(entry['score']['value'])}", _bounds(entry["score"])


def _item(item: Any) -> str:
    """Return an item as text; a pair as its two items."""
    return " + ".join(map(str, item)) if isinstance(item, list) else str(item)


def _bounds(answer: dict[str, Any]) -> str:
    exact = answer.get("value", answer.get("count", answer.get("users")))
    if answer["lower"] == answer["upper"] == exact:
        return "exact"
    return f"{_number(answer['lower'])} .. {_number(answer['upper'])}"


def _number(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, float):
        return f"{value:,.4f}" if 0 < abs(value) < 10 else f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _window(window: dict[str, Any]) -> str:
    """Return start, length and, if it slides, distance to the next: `2026-01-01 00:13:00 +5m/1m`."""
    start = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=window["start_ms"])
    every = f"/{format_duration(window['every_ms'])}" if "every_ms" in window else ""
    length_ms = window["end_ms"] - window["start_ms"]
    length = format_duration(length_ms)
    if window["type"] == "session":
        length = str(timedelta(seconds=round(length_ms / 1000)))
    shown = start.isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00").removesuffix(".000")
    return f"{shown} +{length}{every}"
