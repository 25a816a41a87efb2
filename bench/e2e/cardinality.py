"""What it costs that there are more users, or more keys of `by`."""

from __future__ import annotations

from bench.e2e.checks import expect_sums
from bench.e2e.contenders import Contender, measure, product
from bench.e2e.rig import Stage
from bench.e2e.workload import delete, fill
from bench.report.events import BATCH, batches
from bench.report.tables import Report

USERS_AND_KEYS = ((10_000, 10), (1_000_000, 10), (10_000_000, 10), (1_000_000, 10_000))
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
_SPEED = ("users, keys of by", "events/s", "start-up s", "CPU s/million: Java", "Python")
_STATE = ("users, keys of by", "memory MB", "state MB", "checkpoint MB", "checkpoint ms", "state B/event")


def cardinality(stage: Stage, report: Report, events: int) -> None:
    """Measure each of the sizes once, and add a table.

    Args:
        stage: where.
        report: where to.
        events: how many events each run has; as many as users at least, or there are not so many.
    """
    speed, state = [], []
    for users, keys in USERS_AND_KEYS:
        name = f"users-{users}-{keys}"
        made = batches(-(-events // BATCH), users=users, items=keys)
        topic = fill(stage.broker, name, made, events, users)
        found = measure(Contender(name, name, product(METRICS), expect_sums), stage, topic)
        delete(stage.broker, name)
        title = f"{users:,} users, {keys:,} keys"
        speed.append((title, found.events_per_s, found.startup_s, found.java_cpu_s, found.python_cpu_s))
        state.append(
            (
                title,
                found.memory_mb,
                found.state_mb,
                found.checkpoint_mb,
                found.checkpoint_ms,
                found.state_mb * 1e6 / topic.events,
            )
        )
    report.table(f"{events:,} events each", _SPEED, speed)
    report.table("What is held", _STATE, state)
