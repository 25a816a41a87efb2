"""The demo's report on single events: right for a job without error, wrong for each kind of one."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from flink_job.demo.exact import ExactAnswers, exact_answers
from flink_job.demo.processor import ProcessorReport, processor_report
from flink_job.simulation.simulation import Simulation, SimulatorSpec
from operators.enrich.enrich_spec import EnrichSpec

ITEMS = Path(__file__).resolve().parents[2] / "pipelines" / "shop_items.jsonl"
SPEC = SimulatorSpec(events=5_000, users=800)
Events = list[dict[str, Any]]


@pytest.fixture(scope="module")
def exact() -> ExactAnswers:
    return exact_answers([Simulation(SPEC).chunk(0, 5_000)])


@pytest.fixture
def enriched() -> Events:
    """What a job without any error would send."""
    seen: set[str] = set()
    counts: dict[str, int] = {}
    sent = []
    for line in Simulation(SPEC).chunk(0, 5_000).splitlines():
        event = json.loads(line)
        user, action = event["user_id"], event["action"]
        counts[action] = counts.get(action, 0) + 1
        is_new, seen = user not in seen, seen | {user}
        told = {"is_new_user": is_new, "unique_users_est": len(seen), f"{action}_count_est": counts[action]}
        sent.append(event | told)
    return sent


@pytest.fixture
def answers(enriched: Events) -> Events:
    items = [{"item": f"item_{number:04d}", "score": 0.5} for number in range(10)]
    asked = (event for event in enriched if event["action"] == "view")
    return [{"query": {"item": event["item_id"]}, "items": list(items)} for event in asked]


def told(enriched: Events, answers: Events, exact: ExactAnswers) -> ProcessorReport:
    spec = EnrichSpec(user="user_id", action="action", capacity=800)
    return processor_report(enriched, answers, exact.whole_run(), spec, ITEMS)


def test_a_run_without_error_is_right(enriched: Events, answers: Events, exact: ExactAnswers) -> None:
    shown = told(enriched, answers, exact)
    assert shown.is_right and shown.accuracy == 1.0
    assert (shown.events, shown.told_new, shown.told_twice) == (5_000, shown.users, 0)
    assert shown.unique_users == shown.users == len({event["user_id"] for event in enriched})
    assert sum(count for count, _ in shown.actions.values()) == 5_000
    sizes = {row.answer: row.sketch_bytes for row in shown.footprints}
    assert sizes["similar items"] > 1000 * 64 * 4 and sizes["is_new_user"] < 2_000
    assert json.loads(json.dumps(shown.as_json()))["is_right"] is True


def twice(enriched: Events, answers: Events) -> None:
    next(event for event in enriched if not event["is_new_user"])["is_new_user"] = True


def lost(enriched: Events, answers: Events) -> None:
    enriched.pop()


def many_missed(enriched: Events, answers: Events) -> None:
    for event in [event for event in enriched if event["is_new_user"]][:40]:
        event["is_new_user"] = False


def counted_too_low(enriched: Events, answers: Events) -> None:
    for event in enriched:
        if event["action"] == "click":
            event["click_count_est"] = min(event["click_count_est"], 100)


def unanswered(enriched: Events, answers: Events) -> None:
    answers[7]["items"] = []


@pytest.mark.parametrize("spoil", [twice, lost, many_missed, counted_too_low, unanswered])
def test_each_kind_of_error_is_found(
    spoil: Callable[[Events, Events], None], enriched: Events, answers: Events, exact: ExactAnswers
) -> None:
    spoil(enriched, answers)
    shown = told(enriched, answers, exact)
    assert not shown.is_right
    assert "WRONG" in printed(shown)


def test_the_report_shows_new_and_returning_users_with_ten_items(
    enriched: Events, answers: Events, exact: ExactAnswers
) -> None:
    text = printed(told(enriched, answers, exact))
    assert "new" in text and "returning" in text and "purchase" in text
    assert "0000 0001 0002 0003 0004 0005 0006 0007 0008 0009" in text
    assert "is_new_user was right for 100.000% of 5,000 events" in text
    assert "as stated" in text


def printed(shown: ProcessorReport) -> str:
    console = Console(file=io.StringIO(), width=200)
    console.print(shown)
    return console.file.getvalue()
