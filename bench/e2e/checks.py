"""How what a run found is held against the exact answers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime, timezone
from typing import Any

from bench.e2e.meter import Measured
from bench.e2e.rig import Stage
from bench.e2e.workload import LONG_WINDOW_MS, WINDOW_MS, Topic, committed

_USERS_OFF_BY = 0.03
_ROWS_SEEN = 0.9

Check = Callable[[Stage, Topic, Measured], None]
"""Raises RuntimeError unless the job did its work."""


def expect_product(stage: Stage, topic: Topic, _: Measured) -> None:
    """Hold the product's results, late events and rejects against the truth."""
    answers: dict[str, dict[str, Any]] = {}

    def take(value: bytes) -> None:
        result = json.loads(value)
        answers[result["id"]] = result

    committed(stage.broker.address, "bench-results", take)
    late, rejects = (
        committed(stage.broker.address, f"bench-{output}", lambda _: None) for output in ("late", "rejects")
    )
    sums = {name: 0.0 for name in ("actions", "revenue")}
    users: dict[tuple[int, int], float] = {}
    for answer in answers.values():
        window = answer["window"]
        if answer["metric"] in sums:
            sums[answer["metric"]] += answer["value"]
        elif answer["metric"] == "unique_users":
            users[window["end_ms"] - window["start_ms"], window["start_ms"]] = answer["value"]
    truth = topic.truth
    _expect("late events", late, 0)
    _expect("rejects", rejects, truth.rejects)
    _expect("events", sums["actions"], truth.events)
    _expect_near("revenue", sums["revenue"], truth.revenue)
    _expect("windows", len(users), len(truth.users))
    for window, exact in truth.users.items():
        _expect_near(f"users of the window {window}", users.get(window, 0), exact, _USERS_OFF_BY)


def expect_sums(stage: Stage, topic: Topic, _: Measured) -> None:
    """Hold the number of events and the revenue of the product's results against the truth, nothing more."""
    sums = {"actions": 0.0}

    def take(value: bytes) -> None:
        result = json.loads(value)
        if result["metric"] == "actions":
            sums["actions"] += result["value"]

    committed(stage.broker.address, "bench-results", take)
    _expect("events", sums["actions"], topic.truth.events)


def expect_rows(_: Stage, topic: Topic, measured: Measured) -> None:
    """See to it that the function that does nothing was given the rows."""
    if measured.rows < _ROWS_SEEN * sum(topic.ends):
        raise RuntimeError(f"expected {sum(topic.ends):,} rows, the function saw {measured.rows:,.0f}")


def expect_exact(share: float, windows: int) -> Check:
    """Return the check of a job that keeps exact answers.

    Args:
        share: how much of each partition it reads.
        windows: how many windows an event is in.
    """

    def check(stage: Stage, topic: Topic, _: Measured) -> None:
        rows: list[dict[str, Any]] = []
        committed(stage.broker.address, "bench-results", lambda value: rows.append(json.loads(value)))
        _expect("events", sum(row["events"] for row in rows), windows * sum(topic.part(share)))
        if share == 1:
            revenue = sum(row["amount"] or 0 for row in rows if row["metric"] in ("users", "revenue"))
            _expect_near("revenue", revenue, windows * topic.truth.revenue)
        users: dict[int, int] = {}
        for row in rows:
            if row["metric"] == "users":
                start = _start_ms(row["window_start"])
                users[start] = users.get(start, 0) + row["users"]
        length = LONG_WINDOW_MS if windows > 1 else WINDOW_MS
        truth = [(start, exact) for (own, start), exact in topic.truth.users.items() if own == length]
        # The last ones may have been cut short.
        whole = max(0, int(share * len(truth)) - windows)
        for start, exact in truth[:whole]:
            _expect(f"users of the window from {start}", users.get(start, 0), exact)

    return check


def _start_ms(start: int | str) -> int:
    if isinstance(start, int):
        return start
    return int(datetime.fromisoformat(start).replace(tzinfo=timezone.utc).timestamp() * 1000)


def _expect(what: str, found: float, expected: float) -> None:
    if found != expected:
        raise RuntimeError(f"{what}: expected {expected:,}, got {found:,}")


def _expect_near(what: str, found: float, expected: float, off_by: float = 1e-9) -> None:
    if not math.isclose(found, expected, rel_tol=off_by):
        raise RuntimeError(f"{what}: expected {expected:,}, got {found:,}")
