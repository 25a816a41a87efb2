"""How far users come: events of steps in the order of time, and the furthest step each entry reaches."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.expressions import Expression
from operators.gather.gathering import Closed, Gathering
from operators.records import LocalSession
from state.gather_state import (
    HAPPENED_TYPE,
    Happened,
    first_happened_ms,
    read_happened,
    write_happened,
)


class Entries(Gathering):
    """Gathers what users did and follows each entry, an event of the first step, through the others.

    A step is reached by the first event of it that is later than the one by which the step before was
    reached, and no later than `within_ms` after the entry. That is the furthest any choice of events leads.

    Args:
        user: the column whose values are users.
        within_ms: how long after the entry a step can be reached.
        steps: the condition of each step.
        shards: into how many pieces users are spread.
    """

    def __init__(self, user: str, within_ms: int, steps: Sequence[Expression], shards: int) -> None:
        """Keep the options."""
        super().__init__(user, within_ms, shards, steps)

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Return what happened in each group, by time; at one time by steps."""
        rows = np.arange(len(batch)) if groups.rows is None else groups.rows
        ids = np.zeros(len(rows), np.int64) if groups.ids is None else groups.ids
        steps = np.zeros(len(rows), np.uint16)
        for number, condition in enumerate(self.conditions):
            steps |= batch.mask(condition)[rows].astype(np.uint16) << np.uint16(number)
        order = np.lexsort((steps, batch.time_ms[rows], ids))
        ids, times, steps = ids[order], batch.time_ms[rows][order], steps[order]
        begins = np.ones(len(order), bool)
        begins[1:] = (np.diff(ids) != 0) | (np.diff(times) != 0) | (steps[1:] != steps[:-1])
        starts = np.flatnonzero(begins)
        happened = np.empty(len(starts), HAPPENED_TYPE)
        happened["time_ms"], happened["steps"] = times[starts], steps[starts]
        happened["events"] = np.diff(np.append(starts, len(order)))
        bounds = np.searchsorted(ids[starts], np.arange(groups.count + 1)).tolist()
        return [write_happened(happened[start:end]) for start, end in pairwise(bounds)]

    def take(self, held: bytes, local: LocalSession, watermark_ms: int) -> tuple[bytes, int]:
        """Add events; late are those from which, were they entries, no step could be reached any more."""
        came = read_happened(local.partial)
        in_time = [one for one in came if one.time_ms + self.span_ms > watermark_ms]
        late = sum(one.events for one in came) - sum(one.events for one in in_time)
        if not in_time:
            return held, late
        before = read_happened(held)
        if not before or before[-1][:2] < in_time[0][:2]:
            return write_happened([*before, *in_time]), late
        counts: Counter[tuple[int, int]] = Counter()
        for time_ms, steps, events in (*before, *in_time):
            counts[time_ms, steps] += events
        return write_happened([Happened(*at, events) for at, events in sorted(counts.items())]), late

    def close(self, held: bytes, watermark_ms: int) -> tuple[bytes, list[Closed]]:
        """Close the events after which so much time is over that none can follow them any more.

        The outcome of an entry is the number of the furthest step it reached, from 0; others have none.
        """
        happened = read_happened(held)
        left = bisect_right(happened, watermark_ms - self.span_ms, key=lambda one: one.time_ms)
        times = [
            [one.time_ms for one in happened if one.steps >> number & 1]
            for number in range(len(self.conditions))
        ]
        closed = [
            Closed(one.time_ms, one.events, self._furthest(one.time_ms, times) if one.steps & 1 else None)
            for one in happened[:left]
        ]
        return write_happened(happened[left:]), closed

    def due_ms(self, held: bytes) -> int:
        """Return the watermark at which the first event is closed."""
        return first_happened_ms(held) + self.span_ms

    def _furthest(self, entry_ms: int, times: list[list[int]]) -> int:
        reached_ms = entry_ms
        for number in range(1, len(times)):
            after = bisect_right(times[number], reached_ms)
            if after == len(times[number]) or times[number][after] > entry_ms + self.span_ms:
                return number - 1
            reached_ms = times[number][after]
        return len(times) - 1
