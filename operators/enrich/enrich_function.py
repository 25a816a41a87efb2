"""Enriching in Flink: the operator of the running estimates, and the one that knows users."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from pyflink.common import Row
from pyflink.datastream import KeyedProcessFunction, RuntimeContext

from operators.enrich.enriched_lines import enriched_lines
from operators.enrich.running import Running
from operators.first_seen.gauges import SeenGauges
from operators.first_seen.seen_shards import SeenShards
from operators.plan import Plan
from operators.records import AnnotatedRecord, decode_annotated, decode_enrich, encode
from state import descriptors

_NAME = "enrich"


class RunningFunction(KeyedProcessFunction):
    """Gives records the running estimates; all of them have one key.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json = plan_json

    def open(self, runtime_context: RuntimeContext) -> None:
        """Wrap the state."""
        plan = Plan.model_validate_json(self._plan_json)
        self._running = Running(plan.enrich, runtime_context.get_map_state(descriptors.RUNNING))
        group = runtime_context.get_metrics_group()
        group.gauge("running_state_bytes", lambda: self._running.state_bytes)

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take one record behind its shard."""
        yield Row(value[0], encode(self._running.on_record(decode_enrich(value[1]))))


class EnrichFunction(KeyedProcessFunction):
    """Tells new users from known ones and writes events; keyed by shard of the user.

    Blocks of JSON lines come out, one a record, with newlines between them.

    Args:
        plan_json: the plan, as JSON.
        with_keys: whether each line carries its user, see `enriched_lines`.
    """

    def __init__(self, plan_json: str, with_keys: bool) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json, self._with_keys = plan_json, with_keys

    def open(self, runtime_context: RuntimeContext) -> None:
        """Wrap the state and read the history."""
        plan = Plan.model_validate_json(self._plan_json)
        user, types = plan.enrich.user, plan.event.column_types()
        seen = runtime_context.get_map_state(descriptors.SEEN)
        self._shards = SeenShards(plan.enrich, user, types[user], seen)
        self._key = user if self._with_keys else None
        group = runtime_context.get_metrics_group()
        SeenGauges(group, _NAME, self._shards.state)
        self._enriched = group.counter("enriched")

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take one record."""
        record, shard = decode_annotated(value), ctx.get_current_key()
        is_new = new_users(self._shards, shard, record)
        self._shards.forget(shard, ctx.timer_service().current_watermark())
        self._enriched.inc(len(is_new))
        yield enriched_lines(record, is_new, self._key)


def new_users(shards: SeenShards, shard: str, record: AnnotatedRecord) -> pl.Series:
    """Return whether each event of a record is the first of its user; null where it has none."""
    owners = np.frombuffer(record.owners, "<i4").astype(np.int64)
    times = np.frombuffer(record.times, "<i8")
    hashes = np.frombuffer(record.users, "<u8").reshape(-1, 2).astype(np.uint64)
    there = owners >= 0
    first = np.zeros(len(owners), bool)
    first[there] = shards.first_events(shard, hashes, owners[there], times[there])
    return pl.Series(first).set(pl.Series(~there), None)
