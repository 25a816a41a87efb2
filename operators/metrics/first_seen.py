"""`first_seen`: how many events are the first of their value, and how many are of a known one."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from pydantic import Field

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.durations import DurationMs
from operators.metrics.kind import Aggregator, Fields, Kind, typed_column
from sketches.growing_bloom import MAX_CAPACITY

_PARTIAL = struct.Struct("<qq")
_GUESSED_CAPACITY = 100_000


class FirstSeen(Kind):
    """Options of `first_seen`.

    `of` is a column of single values; an event is new where it is the first of its value, whatever its key,
    among those that meet `where`. A value that no event had for `remember`, or up to a quarter longer, is new
    again; without it a value is remembered for ever. `capacity` is how many values are expected: it makes
    state smaller, but more may come. At most the share `rate` of new values is taken for known ones, none
    where `exact` is true, which takes ten times as much state. `value_shards` is into how many pieces values
    are spread; never change it for a job that goes on from a checkpoint.
    """

    kind: Literal["first_seen"]
    of: str
    remember: DurationMs | None = Field(None, ge=1000)
    capacity: int | None = Field(None, ge=1, le=MAX_CAPACITY)
    rate: float = Field(0.01, ge=0.00001, le=0.5)
    exact: bool = False
    value_shards: int = Field(8, ge=1, le=1024)
    takes_sessions: ClassVar[bool] = False
    takes_lists: ClassVar[bool] = False

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return what adds up new and known values."""
        typed_column("first_seen", columns, self.of, ("string", "long", "double", "bool"))
        return FirstSeenAggregator(0.0 if self.exact else self.rate)

    def expected(self) -> int:
        """Return how many values state is made for at first."""
        return self.capacity or _GUESSED_CAPACITY


class FirstSeenAggregator(Aggregator):
    """A partial is how many events were new and how many were not, 8 bytes little-endian each.

    Which is which is known only where values are remembered; what ingest sends to windows by itself are
    events without a value, which are neither.
    """

    def __init__(self, rate: float) -> None:
        """Take the share of new values that is missed at most."""
        self._rate = rate

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Count events without a value."""
        return [_PARTIAL.pack(0, 0)] * groups.count

    def partial(self, new: int, known: int) -> bytes:
        """Write a partial."""
        return _PARTIAL.pack(new, known)

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Add."""
        return _PARTIAL.pack(*map(sum, zip(*map(_PARTIAL.unpack, partials), strict=True)))

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return new events as the value, and known ones beside it.

        No known value is taken for a new one. Of new ones at most the share `rate` is missed, to which two
        standard errors are added for chance.
        """
        new, known = _PARTIAL.unpack(partial)
        missed = new * self._rate / (1.0 - self._rate)
        upper = new + missed + 2.0 * math.sqrt(missed / (1.0 - self._rate))
        return {
            "value": new,
            "lower": new,
            "upper": min(new + known, math.ceil(upper)),
            "new": new,
            "returning": known,
            "confidence": 0.95 if self._rate else 1.0,
        }
