"""A day of events through the job's partials and merges, ending in the state that a window operator holds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator

import numpy as np
import polars as pl

from operators.batch.event_batch import EventBatch
from operators.ingest.partials import MetricPartials
from operators.metric import Metric
from operators.plan import Plan
from operators.records import SliceRecord, decode_record
from state.window_state import WindowState

Event = tuple[str, str, float]
"""Action, item and value."""

USERS_A_BATCH = 20_000
_NOON_MS = 1_700_049_600_000
_NEVER_LATE_MS = -(2**62)
_METRICS = (
    {"name": "users_today", "kind": "distinct", "of": "user_id"},
    {"name": "users_by_action", "kind": "distinct", "of": "user_id", "by": ["action"]},
    {"name": "users_by_item", "kind": "distinct", "of": "user_id", "by": ["item_id"]},
    {"name": "top_items", "kind": "top_k", "of": "item_id"},
    {"name": "item_frequency", "kind": "frequency", "of": "item_id", "ask": ["item_42"]},
    {"name": "value_quantiles", "kind": "quantiles", "of": "value", "at": [0.5, 0.95]},
)
PLAN = Plan.model_validate(
    {
        "name": "day",
        "event": {
            "fields": {"user_id": "string", "action": "string", "item_id": "string", "value": "double"},
            "time": {"kafka_timestamp": True},
        },
        "metrics": [{**metric, "windows": [{"tumbling": "1d"}]} for metric in _METRICS],
    }
)


class HeldMap(dict[bytes, bytes]):
    """A state map in memory."""

    def put(self, key: bytes, value: bytes) -> None:
        """Keep a value."""
        self[key] = value

    def remove(self, key: bytes) -> None:
        """Forget a key."""
        self.pop(key, None)


class DaySketches:
    """The state and the answers of one metric over the day.

    Args:
        metric: the metric.
    """

    def __init__(self, metric: Metric) -> None:
        """Hold nothing yet."""
        self._metric, self._maker = metric, MetricPartials(metric)
        self._shards: dict[str, tuple[HeldMap, HeldMap]] = defaultdict(lambda: (HeldMap(), HeldMap()))

    def add(self, batch: EventBatch) -> None:
        """Merge a batch into the state, as ingest and the window operator do."""
        for shard, encoded in self._maker.records(batch, _NEVER_LATE_MS, lambda _: b"{}", b"{}"):
            record = decode_record(encoded)
            if not isinstance(record, SliceRecord):
                raise TypeError(f"records: expected slices, got {type(record).__name__}")
            self._state(shard).add(record.slice_end_ms, record.packed)

    def entries(self) -> dict[bytes, bytes]:
        """Return every entry of keyed state: shard, map and key, and what is stored."""
        return {
            shard.encode() + name + key: value
            for shard, maps in self._shards.items()
            for name, held in zip((b"/slices/", b"/large/"), maps, strict=True)
            for key, value in held.items()
        }

    def answers(self) -> dict[str, dict[str, object]]:
        """Return the result fields of each key."""
        return {
            key.decode(): self._metric.aggregator.answer(entry.partial, entry.events)
            for shard in self._shards
            for end in self._state(shard).slice_ends()
            for key, entry in self._state(shard).read(end).items()
        }

    def _state(self, shard: str) -> WindowState:
        return WindowState(*self._shards[shard], HeldMap(), self._metric.aggregator.merge)


def sketch_day(
    users: int, events_of: Callable[[int], Iterator[Event]], leave_out: Collection[str] = ()
) -> dict[str, DaySketches]:
    """Sketch a day.

    Args:
        users: how many users there are.
        events_of: the events of a user.
        leave_out: metrics that are not wanted.

    Returns:
        What is held, by metric.
    """
    held = {m.name: DaySketches(m) for m in PLAN.resolved_metrics() if m.name not in leave_out}
    for first in range(0, users, USERS_A_BATCH):
        batch = _batch(range(first, min(first + USERS_A_BATCH, users)), events_of)
        for sketches in held.values():
            sketches.add(batch)
    return held


def _batch(users: range, events_of: Callable[[int], Iterator[Event]]) -> EventBatch:
    rows = [(f"user_{user:07d}", *event) for user in users for event in events_of(user)]
    frame = pl.DataFrame(rows, schema=["user_id", "action", "item_id", "value"], orient="row")
    return EventBatch(frame, np.full(len(rows), _NOON_MS))
