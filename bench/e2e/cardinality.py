"""What it costs that there are more users, or more keys of `by`."""

from __future__ import annotations

import sys
from itertools import product

from bench.e2e.checks import expect_sums
from bench.e2e.contenders import Contender, measure, product_job
from bench.e2e.rig import Stage
from bench.e2e.workload import delete, fill
from bench.report.events import BATCH, batches
from bench.report.tables import Report

USERS, KEYS = (10_000, 1_000_000, 10_000_000), (10, 10_000)
_EVENTS_WITH_MANY_KEYS = 2_000_000
METRICS = [
    {"name": "users_today", "kind": "distinct", "of": "user_id", "windows": [{"tumbling": "1d"}]},
    {
        "name": "users_by_item",
        "kind": "distinct",
        "of": "user_id",
        "by": ["item_id"],
        "windows": [{"tumbling": "5m"}],
    },
    {"name": "actions", "kind": "count", "by": ["item_id"], "windows": [{"tumbling": "5m"}]},
]
_SPEED = ("users, keys of by", "events", "events/s", "start-up s", "CPU s/million: Java", "Python")
_STATE = ("users, keys of by", "memory MB", "state MB", "checkpoint MB", "checkpoint ms")


def cardinality(stage: Stage, report: Report, events: int) -> None:
    """Measure each of the sizes once, and add a table.

    Args:
        stage: where.
        report: where to.
        events: how many events a run has that has few keys; as many as users at least.
    """
    speed, state = [], []
    for keys, users in product(KEYS, USERS):
        name = f"users-{users}-{keys}"
        count = max(users, events if keys < 1_000 else _EVENTS_WITH_MANY_KEYS)
        made = batches(-(-count // BATCH), users=users, items=keys, in_turn=True)
        topic = fill(stage.broker, name, made, count)
        found = measure(Contender(name, name, product_job(METRICS), expect_sums), stage, topic)
        delete(stage.broker, name)
        title = f"{users:,} users, {keys:,} keys"
        speed.append(
            (title, topic.events, found.events_per_s, found.startup_s, found.java_cpu_s, found.python_cpu_s)
        )
        state.append((title, found.memory_mb, found.state_mb, found.checkpoint_mb, found.checkpoint_ms))
        print(f"{title}: {found.events_per_s:,.0f} events/s", file=sys.stderr, flush=True)
    report.table("Rate and cost", _SPEED, speed)
    report.table("What is held", _STATE, state)
