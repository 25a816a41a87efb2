"""What it costs to remember two million users, and how well they are remembered."""

from __future__ import annotations

import json
import sys
from typing import Any

from bench.e2e.checks import Check
from bench.e2e.contenders import METRICS, Contender, measure, product_job
from bench.e2e.meter import Measured
from bench.e2e.rig import Stage
from bench.e2e.workload import Topic, committed, fill
from bench.report.events import BATCH, batches
from bench.report.tables import Report

USERS, RATE = 2_000_000, 0.01
_TOPIC = "remembered"
_NEWCOMERS = {
    "name": "newcomers",
    "kind": "first_seen",
    "of": "user_id",
    "rate": RATE,
    "windows": [{"tumbling": "10s"}],
}
_WAYS: tuple[tuple[str, dict[str, Any] | None, float | None], ...] = (
    # What is remembered, with which options, and how many bytes a user may take.
    ("nobody", None, None),
    ("users, sized in advance", {"capacity": USERS}, 1.25),
    ("users, grown", {}, 2.5),
    ("users, exact", {"exact": True}, None),
)
_COLUMNS = ("remembered", "events/s", "whole run s", "CPU s/million: Java", "Python", "memory MB", "state MB")
_TRUTH = ("remembered", "new", "missed %", "bytes/user")


def first_seen(stage: Stage, report: Report, events: int) -> None:
    """Measure the five metrics with and without a sixth that remembers users, and add tables.

    Args:
        stage: where.
        report: where to.
        events: how many events there are, as many as users at least; all users come equally often.
    """
    count = max(events, USERS)
    topic = fill(stage.broker, _TOPIC, batches(-(-count // BATCH), users=USERS, in_turn=True), count)
    speed, truth = [], []
    runs: dict[str, Measured] = {}
    for name, options, bytes_a_user in _WAYS:
        told: list[int] = []
        metrics = METRICS if options is None else [*METRICS, _NEWCOMERS | options]
        contender = Contender(name, _TOPIC, product_job(metrics), _expect_users(told, options))
        found = runs[name] = measure(contender, stage, topic)
        print(f"{name}: {found.events_per_s:,.0f} events/s", file=sys.stderr, flush=True)
        speed.append(
            (
                name,
                found.events_per_s,
                found.whole_s,
                found.java_cpu_s,
                found.python_cpu_s,
                found.memory_mb,
                found.state_mb,
            )
        )
        if told:
            own = found.seen_bytes / USERS
            if not own:
                raise RuntimeError(f"{name}: nothing is told of the state in which values are remembered")
            truth.append((name, told[0], 100 * (1 - told[0] / USERS), own))
            if bytes_a_user is not None:
                report.verdict(
                    f"{name}, at most {bytes_a_user} bytes a user: {own:.2f} seen", own <= bytes_a_user
                )
    report.table("Rate and cost", _COLUMNS, speed)
    report.table(f"Of {USERS:,} users", _TRUTH, truth)
    times = runs["users, sized in advance"].events_per_s / runs["nobody"].events_per_s
    report.verdict(f"with first_seen, at least half the rate without: {times:.2f} seen", times >= 0.5)


def _expect_users(told: list[int], options: dict[str, Any] | None) -> Check:
    """Return the check that nobody is new twice and few are missed; how many were new is left in `told`."""

    def check(stage: Stage, topic: Topic, _: Measured) -> None:
        answers: dict[str, dict[str, Any]] = {}

        def take(value: bytes) -> None:
            result = json.loads(value)
            if result["metric"] == "newcomers":
                answers[result["id"]] = result

        committed(stage.broker.address, "bench-results", take)
        if options is None:
            return
        new = sum(answer["new"] for answer in answers.values())
        both = new + sum(answer["returning"] for answer in answers.values())
        least = USERS if options.get("exact") else USERS * (1 - RATE) - 3 * (USERS * RATE) ** 0.5
        if both != topic.truth.events or not least <= new <= USERS:
            wanted = f"{least:,.0f} to {USERS:,} new users of {topic.truth.events:,} events"
            raise RuntimeError(f"expected {wanted}, got {new:,} of {both:,}")
        told.append(new)

    return check
