"""Collects the values of a batch of events, from whichever path read them, and makes columns of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from operators.parsing.parsed import POLARS_TYPES, with_one_zero
from operators.parsing.template_scan import Matched

_NUMPY_TYPES = {"long": np.int64, "double": np.float64, "bool": np.bool_}


class EventStore:
    """Values of a batch of events, a column a leaf. Every event that is kept must be added once."""

    def __init__(self, data: bytes, starts: np.ndarray, types: list[str]) -> None:
        """Starts empty.

        Args:
            data: the buffer that texts are spans of.
            starts: (n,) int64, ascending, where each event begins in it.
            types: the type of each leaf.
        """
        self._data = data
        self._types = types
        self._starts = starts
        self._columns: list[_Texts | _Values] = [
            _Texts(starts) if name == "string" else _Values(len(starts), _NUMPY_TYPES[name]) for name in types
        ]

    def add_matched(self, events: np.ndarray, matched: Matched) -> None:
        """Adds events that a template read.

        Args:
            events: (m,) int64, numbers of the events, ascending.
            matched: their values.
        """
        where = _as_slice(events)
        for leaf, column in enumerate(self._columns):
            if leaf not in matched.spans and leaf not in matched.numbers:
                column.nulls.put(where, True)
        for leaf, (begins, ends) in matched.spans.items():
            self._columns[leaf].put_spans(where, begins, ends)
        for leaf, numbers in matched.numbers.items():
            values = numbers.values
            if leaf in matched.inexact:
                at, begins, ends = matched.inexact[leaf]
                values = values.copy()
                texts = texts_from_spans(self._data, begins, ends, None)
                values[at] = texts.cast(pl.Float64).to_numpy()
            self._columns[leaf].put(where, values, numbers.valid)

    def add_values(self, events: np.ndarray, columns: list[list[Any]]) -> None:
        """Adds events that were decoded one by one: for each leaf a list of Python values or None."""
        for column, values in zip(self._columns, columns, strict=True):
            column.put_objects(events, values)

    def series(self, keep: np.ndarray | None) -> list[pl.Series]:
        """Returns the columns of the leaves.

        Args:
            keep: (m,) int64, the events wanted, ascending; None for all.
        """
        made = [
            column.series(self._data, keep, POLARS_TYPES[name])
            for column, name in zip(self._columns, self._types, strict=True)
        ]
        return [with_one_zero(one) if one.dtype == pl.Float64 else one for one in made]


def texts_from_spans(
    data: bytes, begins: np.ndarray, ends: np.ndarray, valid: np.ndarray | None
) -> pl.Series:
    """Makes a string column of spans of a buffer, without copying their bytes.

    Args:
        data: the buffer; the spans must be valid UTF-8.
        begins: (n,) int64, ascending.
        ends: (n,) int64, each at most the next begin.
        valid: (n,) bool, false for null; None if all are valid.

    Returns:
        A String series of n.
    """
    count = len(begins)
    if not count:
        return pl.Series(dtype=pl.String)
    # Arrow strings lie end to end: every second one here is the gap between two spans, and is dropped again.
    offsets = np.empty(2 * count, np.int64)
    offsets[0::2], offsets[1::2] = begins, ends
    bitmap = None
    if valid is not None:
        flags = np.ones(2 * count, bool)
        flags[0::2] = valid
        bitmap = pa.py_buffer(np.packbits(flags, bitorder="little"))
    array = pa.LargeStringArray.from_buffers(2 * count - 1, pa.py_buffer(offsets), pa.py_buffer(data), bitmap)
    return pl.Series(pl.from_arrow(array)).gather_every(2)


class _Nulls:
    """Which events have no value: nothing is kept until the first has none."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._flags: np.ndarray | None = None

    def put(self, where: slice | np.ndarray, flags: bool | np.ndarray) -> None:
        if self._flags is None:
            self._flags = np.zeros(self._count, bool)
        self._flags[where] = flags

    def valid(self, keep: np.ndarray | None) -> np.ndarray | None:
        """Returns flags that are true where there is a value, None if there is one everywhere."""
        if self._flags is None:
            return None
        flags = self._flags if keep is None else self._flags.take(keep)
        return ~flags if flags.any() else None


class _Texts:
    """Texts as spans of the buffer, and those that had to be decoded as objects."""

    def __init__(self, starts: np.ndarray) -> None:
        self._begins = starts.copy()
        self._ends = starts.copy()
        self.nulls = _Nulls(len(starts))
        self._objects: list[tuple[np.ndarray, list[Any]]] = []

    def put_spans(self, where: slice | np.ndarray, begins: np.ndarray, ends: np.ndarray) -> None:
        self._begins[where] = begins
        self._ends[where] = ends

    def put_objects(self, events: np.ndarray, values: list[Any]) -> None:
        self._objects.append((events, values))

    def series(self, data: bytes, keep: np.ndarray | None, dtype: type[pl.DataType]) -> pl.Series:
        if len(self._objects) == 1 and len(self._objects[0][0]) == len(self._begins):
            return pl.Series(self._objects[0][1], dtype=dtype)
        if not self._objects:
            begins, ends = (part if keep is None else part.take(keep) for part in (self._begins, self._ends))
            return texts_from_spans(data, begins, ends, self.nulls.valid(keep))
        spans = texts_from_spans(data, self._begins, self._ends, self.nulls.valid(None))
        order = np.arange(len(spans))
        parts = [spans]
        behind = len(spans)
        for events, values in self._objects:
            parts.append(pl.Series(values, dtype=dtype))
            order[events] = np.arange(behind, behind + len(values))
            behind += len(values)
        return pl.concat(parts).gather(order if keep is None else order[keep])


class _Values:
    """Numbers or booleans."""

    def __init__(self, count: int, dtype: type) -> None:
        self._values = np.zeros(count, dtype)
        self.nulls = _Nulls(count)

    def put(self, where: slice | np.ndarray, values: np.ndarray, valid: np.ndarray | None) -> None:
        self._values[where] = values
        if valid is not None:
            self.nulls.put(where, ~valid)

    def put_objects(self, events: np.ndarray, values: list[Any]) -> None:
        if None in values:
            self.nulls.put(events, np.fromiter((value is None for value in values), bool, len(values)))
            values = [0 if value is None else value for value in values]
        self._values[events] = values

    def series(self, data: bytes, keep: np.ndarray | None, dtype: type[pl.DataType]) -> pl.Series:
        values = self._values if keep is None else self._values.take(keep)
        valid = self.nulls.valid(keep)
        if valid is None:
            return pl.Series(values, dtype=dtype)
        return pl.Series(pl.from_arrow(pa.array(values, mask=~valid)), dtype=dtype)


def _as_slice(events: np.ndarray) -> slice | np.ndarray:
    if len(events) and events[-1] - events[0] + 1 == len(events):
        return slice(int(events[0]), int(events[-1]) + 1)
    return events
