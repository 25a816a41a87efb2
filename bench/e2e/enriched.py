"""What it costs to send each event out again, with what is known of its user and of the stream."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from statistics import median
from typing import Any

from bench.e2e.checks import Check, expect_product
from bench.e2e.contenders import Contender, measure, product_job
from bench.e2e.meter import Measured
from bench.e2e.rig import Stage
from bench.e2e.workload import Topic, committed, fill
from bench.report.events import BATCH, USERS, batches
from bench.report.tables import Report

_TOPIC = "to-enrich"
_ENRICH = {"user": "user_id", "action": "action", "value": "value", "capacity": USERS}
_MISSED = 0.012
_WITHOUT, _WITH = "five metrics", "five metrics, each event out again"
_COLUMNS = ("way", "events/s", "least", "most", "CPU s/million: Java", "Python", "memory MB", "state MB")


def enriched(stage: Stage, report: Report, events: int, rounds: int) -> None:
    """Measure the five metrics with and without `enrich`, in turn, and add a table.

    Args:
        stage: where.
        report: where to.
        events: how many events there are.
        rounds: how often.
    """
    topic = fill(stage.broker, _TOPIC, batches(-(-events // BATCH)), events, users=USERS)
    ways = (
        Contender(_WITHOUT, _TOPIC, product_job(), expect_product),
        Contender(_WITH, _TOPIC, product_job(enrich=_ENRICH), _expect_all_again(expect_product)),
    )
    runs: dict[str, list[Measured]] = {way.name: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            found = measure(way, stage, topic)
            runs[way.name].append(found)
            print(f"{way.name}: {found.events_per_s:,.0f} events/s", file=sys.stderr, flush=True)
    report.table("Rate and cost", _COLUMNS, [_row(name, found) for name, found in runs.items()])
    rates = {name: median(run.events_per_s for run in found) for name, found in runs.items()}
    report.note(f"With enriching {rates[_WITH] / rates[_WITHOUT]:.2f} of the rate without.")


def _row(name: str, found: list[Measured]) -> tuple[Any, ...]:
    rates = [run.events_per_s for run in found]
    others = ("java_cpu_s", "python_cpu_s", "memory_mb", "state_mb")
    return (
        name,
        median(rates),
        min(rates),
        max(rates),
        *(median(getattr(run, other) for run in found) for other in others),
    )


def _expect_all_again(also: Check) -> Check:
    """Return the check that each event came out once, and each user was new once or, seldom, never."""

    def check(stage: Stage, topic: Topic, found: Measured) -> None:
        also(stage, topic, found)
        new: dict[str, int] = {}

        def take(value: bytes) -> None:
            event: Mapping[str, Any] = json.loads(value)
            new[event["user_id"]] = new.get(event["user_id"], 0) + event["is_new_user"]

        events = committed(stage.broker.address, "bench-enriched", take)
        missed = sum(count == 0 for count in new.values())
        if events != topic.truth.events or max(new.values()) > 1 or missed > _MISSED * len(new):
            raise RuntimeError(
                f"expected {topic.truth.events:,} enriched events and nobody new twice, got {events:,}, "
                f"{max(new.values())} times new at most, {missed:,} users of {len(new):,} missed"
            )

    return check
