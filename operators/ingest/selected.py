"""The events of a batch that count for one metric, with their keys, and those of them that may be late."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups, compact, key_codes
from operators.metric import Metric
from operators.records import LateCandidate

Raw = Callable[[int], bytes]


@dataclass(frozen=True)
class Selected:
    """The events of a batch that count for a metric, and the keys they have.

    `rows` are the events, None for all; `codes` the number of each one's key in `keys`, None where there is
    one key only; `origin` says where the batch comes from.
    """

    batch: EventBatch
    rows: np.ndarray | None
    codes: np.ndarray | None
    keys: list[bytes]
    late: LateEvents
    origin: bytes

    @property
    def times(self) -> np.ndarray:
        """Event time of each of them."""
        return self.batch.time_ms if self.rows is None else self.batch.time_ms[self.rows]

    def only(self, which: np.ndarray) -> Selected:
        """Return some of them, with the keys that they have.

        Args:
            which: `(m,)` bool, or the numbers of those that are wanted among these, ascending.
        """
        rows = (np.arange(len(self.batch)) if self.rows is None else self.rows)[which]
        codes, keys = self.codes, self.keys
        if codes is not None:
            present, codes = compact(codes[which], len(keys))
            keys = [keys[number] for number in present.tolist()]
        return Selected(self.batch, rows, codes, keys, self.late.only(rows), self.origin)

    def groups(self, count: int, ids: np.ndarray | None) -> Groups:
        """Return them in groups of these numbers."""
        return Groups(count, self.rows, ids, len(self.batch))


class LateEvents:
    """The events of one metric that may be late, taken out of a batch only where they are asked for."""

    def __init__(
        self, batch: EventBatch, rows: np.ndarray | None, events: np.ndarray | None, before_ms: int, raw: Raw
    ) -> None:
        self.before_ms = before_ms
        self._batch, self._raw = batch, raw
        self._rows = np.arange(len(batch)) if rows is None else rows
        self._events = events
        self._sent: set[int] = set()
        self._ids: np.ndarray | None = None
        self._order = self._bounds = np.empty(0, np.int64)

    def only(self, rows: np.ndarray) -> LateEvents:
        """Return those that are in some rows only."""
        return LateEvents(self._batch, rows, self._events, self.before_ms, self._raw)

    def candidates(self, ids: np.ndarray | None, keys: dict[int, bytes]) -> list[LateCandidate]:
        """Return the events of these groups; an event with several keys comes once."""
        found = []
        for group, key in keys.items():
            for row in self._rows_of(ids, group):
                event = row if self._events is None else int(self._events[row])
                if self._events is None or event not in self._sent:
                    self._sent.add(event)
                    found.append(LateCandidate(key, int(self._batch.time_ms[row]), self._raw(event)))
        return found

    def _rows_of(self, ids: np.ndarray | None, group: int) -> list[int]:
        if ids is None:
            return self._rows.tolist()
        if self._ids is not ids:
            self._ids, self._order = ids, np.argsort(ids, kind="stable")
            self._bounds = np.append(0, np.cumsum(np.bincount(ids)))
        return self._rows[self._order[self._bounds[group] : self._bounds[group + 1]]].tolist()


def select(
    metric: Metric, batch: EventBatch, late_before_ms: int, raw: Raw, origin: bytes
) -> Selected | None:
    """Return the events that count for a metric; None where there are none.

    Args:
        metric: the metric.
        batch: accepted events.
        late_before_ms: the highest watermark that the window operator may have.
        raw: gives the payload and position of an event of the batch, a JSON object.
        origin: where the batch comes from, a JSON object.
    """
    events = None
    rows = None if metric.condition is None else np.flatnonzero(batch.mask(metric.condition))
    if metric.exploded is not None:
        counts = np.ones(len(batch), bool) if metric.condition is None else batch.mask(metric.condition)
        batch, events = batch.exploded(metric.exploded)
        rows = np.flatnonzero(counts[events])
    if not len(batch) or (rows is not None and not len(rows)):
        return None
    late = LateEvents(batch, rows, events, late_before_ms, raw)
    return Selected(batch, rows, *key_codes(batch, metric.by, rows), late, origin)
