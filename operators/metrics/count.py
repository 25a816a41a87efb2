"""`count`: how many events. Exact."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.metrics.kind import Aggregator, AnswerColumns, Fields, Kind, value_columns


class Count(Kind):
    """Options of `count`; it has none of its own."""

    kind: Literal["count"]
    always_exact: ClassVar[bool] = True

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the counter."""
        return CountAggregator()


class CountAggregator(Aggregator):
    """A partial is the count, 8 bytes little-endian."""

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Count the events of each group."""
        return [count.to_bytes(8, "little") for count in groups.events.tolist()]

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Add."""
        return sum(int.from_bytes(partial, "little") for partial in partials).to_bytes(8, "little")

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return the count; lower and upper equal it."""
        count = int.from_bytes(partial, "little")
        return {"value": count, "lower": count, "upper": count, "confidence": 1.0}

    def columns(self) -> AnswerColumns:
        """Return that the count is a long."""
        return value_columns("long")
