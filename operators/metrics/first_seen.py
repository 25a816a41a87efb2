"""`first_seen`: how many events are the first of their value, and how many are of a known one."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.first_seen.remembering import Remembering
from operators.metrics.kind import Aggregator, AnswerColumns, Fields, Kind, typed_column
from sketches.errors import BadData

_PARTIAL = struct.Struct("<qq")


class FirstSeen(Kind, Remembering):
    """Options of `first_seen`.

    `of` is a column of single values; an event is new where it is the first of its value, whatever its key,
    among those that meet `where`. The other options say how values are remembered.
    """

    kind: Literal["first_seen"]
    of: str
    takes_sessions: ClassVar[bool] = False
    takes_lists: ClassVar[bool] = False

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return what adds up new and known values."""
        typed_column("first_seen", columns, self.of, ("string", "long", "double", "bool"))
        return FirstSeenAggregator(0.0 if self.exact else self.rate)


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
        return _PARTIAL.pack(*map(sum, zip(*map(_read, partials), strict=True)))

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return new events as the value, and known ones beside it.

        No known value is taken for a new one. Of new ones at most the share `rate` is missed, to which two
        standard errors are added for chance.
        """
        new, known = _read(partial)
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

    def columns(self) -> AnswerColumns:
        """Return those of the counts."""
        names = ("value", "lower", "upper", "new", "returning")
        return AnswerColumns(dict.fromkeys(names, "long"), "value")


def _read(partial: bytes) -> tuple[int, int]:
    if len(partial) != _PARTIAL.size:
        raise BadData(f"expected new and known values in {_PARTIAL.size} bytes, got {len(partial)}")
    return _PARTIAL.unpack(partial)
