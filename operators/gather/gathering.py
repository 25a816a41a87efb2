"""What a kind says of gathering: by what, for how long, and what becomes of the events of one entity.

An *entity* is one value of a column under one key of the metric: an order, a user. Its events are held in
event time until nothing more can belong to them; then they are *closed*: counted in the slice of a time.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.expressions import Expression
from operators.records import LocalSession


class Closed(NamedTuple):
    """Events of an entity of which it is known what became of them.

    Attributes:
        time_ms: they count in the slice that holds this time.
        events: how many.
        outcome: what the kind's aggregator makes a partial of; None where the events count and no more.
    """

    time_ms: int
    events: int
    outcome: object


class Gathering(ABC):
    """How the events of one entity are brought together; pure logic on the bytes that are held of it.

    Attributes:
        entity: the column whose values are entities.
        span_ms: how long after an event others can belong to it.
        shards: into how many pieces entities are spread.
        conditions: only events for which one of these is true are gathered; none for all events.
    """

    def __init__(self, entity: str, span_ms: int, shards: int, conditions: Sequence[Expression] = ()) -> None:
        """Keep what all kinds have in common."""
        self.entity, self.span_ms, self.shards = entity, span_ms, shards
        self.conditions = tuple(conditions)

    @abstractmethod
    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Return what the events of each group bring, as `take` reads it."""

    @abstractmethod
    def take(self, held: bytes, local: LocalSession, watermark_ms: int) -> tuple[bytes, int]:
        """Add events of a batch to what is held of their entity.

        Args:
            held: what is held of it; empty where nothing is.
            local: the events, none more than the span from the next.
            watermark_ms: what is over at this time is not waited for.

        Returns:
            What is held now, and how many of the events came too late to be added.
        """

    @abstractmethod
    def close(self, held: bytes, watermark_ms: int) -> tuple[bytes, list[Closed]]:
        """Return what is still held at this watermark, and what is closed."""

    @abstractmethod
    def due_ms(self, held: bytes) -> int:
        """Return the watermark at which something of this, which is not empty, is closed."""
