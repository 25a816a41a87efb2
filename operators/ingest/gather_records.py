"""From a batch of events to records for the gather operator: one metric's events by entity."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from operators.batch.event_batch import EventBatch
from operators.batch.groups import key_codes
from operators.ingest.partials import session_records, slice_records
from operators.ingest.selected import LateEvents, Raw, Selected, select
from operators.metric import Metric
from operators.windows.slices import SessionWindow

_GATHER = "@gather"


class GatherRecords:
    """Makes the records of one metric whose events are gathered by entity before windows count them.

    Args:
        metric: the metric.
    """

    def __init__(self, metric: Metric) -> None:
        """Make the metric whose keys are entities, and whose sessions are what is held together."""
        self._metric, self._gather, self._stream = metric, metric.gather, gather_stream(metric)
        self._together = SessionWindow(metric.gather.span_ms)
        self._by_entity = replace(
            metric,
            by=(*metric.by, metric.gather.entity),
            grid=None,
            sessions=(self._together,),
            aggregator=metric.gather,
            allowed_lateness_ms=metric.lateness_ms,
            shards=metric.gather.shards,
        )

    def records(
        self, batch: EventBatch, late_before_ms: int, raw: Raw, origin: bytes
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the shard key and the encoded record of all partials of a batch.

        Events of no entity, and those that no condition holds for, go to the windows at once.

        Args:
            batch: accepted events.
            late_before_ms: the highest watermark that an operator may have.
            raw: gives the payload and position of an event of the batch, a JSON object.
            origin: where the batch comes from, a JSON object.
        """
        metric = self._metric
        selected = select(metric, batch, late_before_ms - metric.delay_ms, raw, origin)
        if selected is None:
            return
        gathered = self._gathered(batch)
        if selected.rows is not None:
            gathered = gathered[selected.rows]
        at_once, first = np.flatnonzero(~gathered), np.flatnonzero(gathered)
        if len(at_once):
            yield from slice_records(metric, selected.only(at_once))
        if len(first):
            rows = first if selected.rows is None else selected.rows[first]
            late = LateEvents(batch, rows, None, late_before_ms, raw)
            entities = Selected(batch, rows, *key_codes(batch, self._by_entity.by, rows), late, origin)
            yield from session_records(self._by_entity, entities, self._together, self._stream)

    def _gathered(self, batch: EventBatch) -> np.ndarray:
        """Return which events are of an entity and meet a condition, `(n,)` bool."""
        wanted = np.ones(len(batch), bool)
        if self._gather.conditions:
            wanted = np.logical_or.reduce([batch.mask(condition) for condition in self._gather.conditions])
        owners = batch.column(self._gather.entity).owners
        if owners is not None:
            there = np.zeros(len(batch), bool)
            there[owners] = True
            wanted = wanted & there
        return wanted


def gather_stream(metric: Metric) -> str:
    """Return the name of the stream of a metric's events by entity."""
    return metric.name + _GATHER


def is_gather_stream(stream: str) -> bool:
    """Return whether a stream is one of events by entity, for the gather operator."""
    return stream.endswith(_GATHER)
