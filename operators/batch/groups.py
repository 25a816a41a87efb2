"""Which group, (key, slice) or (key, session), each event of a batch belongs to, as arrays."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from operators.batch.event_batch import Column, EventBatch

NO_KEY = b"[]"


@dataclass(frozen=True)
class Groups:
    """The groups of one metric in one batch.

    Attributes:
        count: the number of groups.
        rows: the events that count, `(m,)` int64; None where all do, in order.
        ids: the group of each of them, `(m,)` int64; None where there is one group only.
        size: the number of events of the batch.
    """

    count: int
    rows: np.ndarray | None
    ids: np.ndarray | None
    size: int

    @property
    def events(self) -> np.ndarray:
        """How many events each group has, `(count,)` int64."""
        if self.ids is None:
            return np.array([self.size if self.rows is None else len(self.rows)])
        return np.bincount(self.ids, minlength=self.count)

    def of(self, column: Column) -> tuple[np.ndarray | None, np.ndarray | slice]:
        """Return the group of each value of a column that counts, and which values those are.

        Returns:
            `(k,)` group numbers, None where there is one group only, and an index into `column.values`.
        """
        if column.owners is None:
            return self.ids, slice(None) if self.rows is None else self.rows
        if self.rows is None:
            return None if self.ids is None else self.ids[column.owners], slice(None)
        group_of_event = np.full(self.size, -1)
        group_of_event[self.rows] = 0 if self.ids is None else self.ids
        groups = group_of_event[column.owners]
        which = np.flatnonzero(groups >= 0)
        return None if self.ids is None else groups[which], which

    def where(self, mask: np.ndarray) -> Groups:
        """Return the same groups with the events of a mask only; groups may become empty."""
        if self.rows is None:
            rows = np.flatnonzero(mask)
            return Groups(self.count, rows, None if self.ids is None else self.ids[rows], self.size)
        kept = mask[self.rows]
        return Groups(self.count, self.rows[kept], None if self.ids is None else self.ids[kept], self.size)


def key_codes(
    batch: EventBatch, by: Sequence[str], rows: np.ndarray | None
) -> tuple[np.ndarray | None, list[bytes]]:
    """Number the distinct keys of the events.

    Args:
        batch: the events.
        by: the key columns, single-valued; none for one key that holds all.
        rows: the events that count; None for all.

    Returns:
        The number of the key of each event that counts, `(m,)` int64 (None where there is one key only), and
        the keys as canonical JSON arrays.
    """
    codes: np.ndarray | None = None
    parts: list[list[object]] = [[]]
    for name in by:
        own, values = _codes_with_null(batch.column(name), len(batch))
        if rows is not None:
            own = own[rows]
        codes, parts = _combine(codes, parts, own, values)
    keys = [msgspec.json.encode(part) for part in parts]
    return (None if len(keys) == 1 else codes), keys


def slice_codes(time_ms: np.ndarray, slice_ms: int) -> tuple[np.ndarray | None, np.ndarray]:
    """Number the slices of the events.

    Returns:
        The number of each event's slice, `(m,)` (None where there is one slice only), and the slice ends.
    """
    if not len(time_ms):
        return None, np.empty(0, np.int64)
    low, high = int(time_ms.min()) // slice_ms, int(time_ms.max()) // slice_ms
    if low == high:
        return None, np.array([(low + 1) * slice_ms])
    numbers = time_ms // slice_ms
    present, codes = compact(numbers - low, high - low + 1)
    return codes, (present + low + 1) * slice_ms


def pair_codes(
    first: np.ndarray | None, first_count: int, second: np.ndarray | None, second_count: int
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray]:
    """Number the pairs that occur of two codes of the same events.

    Returns:
        The number of each event's pair (None where there is one only), and the first and second code of each
        pair that occurs.
    """
    if first is None or second is None:
        count = first_count if second is None else second_count
        every, none = np.arange(count), np.zeros(count, np.int64)
        return (first, every, none) if second is None else (second, none, every)
    present, codes = compact(first.astype(np.int64) * second_count + second, first_count * second_count)
    return codes, present // second_count, present % second_count


def compact(numbers: np.ndarray, bound: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct numbers of `[0, bound)` that occur, ascending, and the position of each there."""
    if bound > 4 * len(numbers) + 1024:
        return np.unique(numbers, return_inverse=True)
    seen = np.zeros(bound, bool)
    seen[numbers] = True
    present = np.flatnonzero(seen)
    position = np.empty(bound, np.int64)
    position[present] = np.arange(len(present))
    return present, position[numbers]


def _codes_with_null(column: Column, size: int) -> tuple[np.ndarray, list[object]]:
    values: list[object] = column.distinct.to_list()
    if column.owners is None:
        return column.codes, values
    codes = np.full(size, len(values))
    codes[column.owners] = column.codes
    return codes, [*values, None]


def _combine(
    codes: np.ndarray | None, parts: list[list[object]], own: np.ndarray, values: list[object]
) -> tuple[np.ndarray, list[list[object]]]:
    if codes is None:
        codes = np.zeros(len(own), np.int64)
    present, combined = compact(codes.astype(np.int64) * len(values) + own, len(parts) * len(values))
    return combined, [[*parts[pair // len(values)], values[pair % len(values)]] for pair in present.tolist()]
