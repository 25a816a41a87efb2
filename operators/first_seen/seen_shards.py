"""Shards of values: which values each is of, what it remembers them in, and which events are their first.

With `remember` values are remembered by period, a quarter of it long: a value is known while one of the last
five periods, the current one included, has it.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from operators.first_seen.history import history_hashes
from operators.first_seen.remembering import PERIODS, Remembering
from operators.shard_keys import shard_number
from sketches.exact_set import ExactSet
from sketches.growing_bloom import GrowingBloom
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ByteMap
from state.seen_state import Members, SeenState

_GROWTH, _GROWTH_SPREAD = 1.3, 0.3


def shards_of(hashes: np.ndarray, spec: Remembering) -> np.ndarray:
    """Return the shard of each value, `(n,) int64`.

    The word of a hash that picks the shard is not the one that picks bits of a filter.

    Args:
        hashes: `(n, 2) uint64`.
        spec: how many shards there are.
    """
    return (hashes[:, 1] % np.uint64(spec.value_shards)).astype(np.int64)


class SeenShards:
    """Tells the first events of values, shard by shard.

    Args:
        spec: how values are remembered.
        column: the column that they are of.
        type_: its type.
        seen: the map of the current shard.

    Raises:
        HistoryProblem: the history cannot be read.
    """

    def __init__(self, spec: Remembering, column: str, type_: str, seen: ByteMap) -> None:
        """Read the history; of state nothing is read yet."""
        self._spec = spec
        self._period_ms = None if spec.remember is None else -(-spec.remember // PERIODS)
        before = None if spec.history is None else history_hashes(spec.history, column, type_)
        new = partial(_new_members, spec, before)
        if spec.exact:
            self.state = SeenState(seen, new, ExactSet.deserialize, (-1, 2))
        else:
            self.state = SeenState(seen, new, GrowingBloom.deserialize, (-1,))

    def first_events(
        self, shard: str, hashes: np.ndarray, owners: np.ndarray, times: np.ndarray
    ) -> np.ndarray:
        """Remember the values of some events, and tell which events are the first of theirs.

        Args:
            shard: names the shard at hand.
            hashes: of the different values, `(n, 2) uint64`.
            owners: the number of each event's value, `(m,) int64`.
            times: the time of each event, `(m,) int64` milliseconds.

        Returns:
            `(m,) bool`.
        """
        first = np.zeros(len(owners), bool)
        rows = _member_rows(hashes, self._spec)
        periods = np.zeros(len(times), np.int64) if self._period_ms is None else self._period(times)
        for period in np.unique(periods).tolist():
            events = np.flatnonzero(periods == period)
            values, places = np.unique(owners[events], return_index=True)
            oldest = period if self._period_ms is None else period - PERIODS * self._period_ms
            fresh = self.state.add(shard, period, oldest, rows[values])
            first[events[places[fresh]]] = True
        return first

    def forget(self, shard: str, watermark_ms: int) -> None:
        """Forget, of the shard at hand, what is older than `remember` at this watermark."""
        if self._period_ms is not None and MIN_TIME_MS < watermark_ms < END_OF_TIME_MS:
            self.state.forget(shard, self._period(watermark_ms) - PERIODS * self._period_ms)

    def _period(self, time_ms: int | np.ndarray) -> int | np.ndarray:
        return time_ms // self._period_ms * self._period_ms


def _member_rows(hashes: np.ndarray, spec: Remembering) -> np.ndarray:
    """Return hashes in the shape that the shards' sets take: both words where exact, else the first."""
    return np.ascontiguousarray(hashes if spec.exact else hashes[:, 0])


def _new_members(spec: Remembering, before: np.ndarray | None, shard: str) -> Members:
    """Make the set for one period of a shard."""
    number = shard_number(shard)
    members = ExactSet() if spec.exact else _new_filter(spec, number)
    if before is not None:
        members.add_many(_member_rows(before[shards_of(before, spec) == number], spec))
    return members


def _new_filter(spec: Remembering, number: int) -> GrowingBloom:
    """Make an empty filter.

    Shards grow by different factors, so that they do not all have much unused room at the same time.
    """
    growth = _GROWTH + _GROWTH_SPREAD * (number + 0.5) / spec.value_shards
    return GrowingBloom(**spec.first_filter()._asdict(), growth=growth)
