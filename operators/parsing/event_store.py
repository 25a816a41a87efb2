"""Collects the values of a batch of events, from whichever path read them, and makes columns of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from operators.parsing.parsed import POLARS_TYPES
from operators.parsing.template_scan import Matched

_NUMPY_TYPES = {"long": np.int64, "double": np.float64, "bool": np.bool_}


class EventStore:
    """Values of `count` events, a column a leaf. Rows not added to are null."""

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
        return [
            column.series(self._data, keep, POLARS_TYPES[name])
            for column, name in zip(self._columns, self._types, strict=True)
        ]


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


class _Texts:
    """Texts as spans of the buffer, and those that had to be decoded as objects."""

    def __init__(self, starts: np.ndarray) -> None:
        self._begins = starts.copy()
        self._ends = starts.copy()
        self._valid = np.zeros(len(starts), bool)
        self._objects: list[tuple[np.ndarray, list[Any]]] = []

    def put_spans(self, where: slice | np.ndarray, begins: np.ndarray, ends: np.ndarray) -> None:
        self._begins[where] = begins
        self._ends[where] = ends
        self._valid[where] = True

    def put_objects(self, events: np.ndarray, values: list[Any]) -> None:
        self._objects.append((events, values))

    def series(self, data: bytes, keep: np.ndarray | None, dtype: type[pl.DataType]) -> pl.Series:
        if len(self._objects) == 1 and len(self._objects[0][0]) == len(self._begins):
            everything = pl.Series(self._objects[0][1], dtype=dtype)
            return everything if keep is None else everything.gather(keep)
        if not self._objects:
            begins, ends, valid = (
                part if keep is None else part[keep] for part in (self._begins, self._ends, self._valid)
            )
            return texts_from_spans(data, begins, ends, None if valid.all() else valid)
        spans = texts_from_spans(data, self._begins, self._ends, None if self._valid.all() else self._valid)
        order = np.arange(len(spans))
        parts = [spans]
        behind = len(spans)
        for events, values in self._objects:
            parts.append(pl.Series(values, dtype=dtype))
            order[events] = np.arange(behind, behind + len(values))
            behind += len(values)
        return pl.concat(parts).gather(order if keep is None else order[keep])


class _Values:
    """Numbers or booleans with a flag each that says whether there is one."""

    def __init__(self, count: int, dtype: type) -> None:
        self._values = np.zeros(count, dtype)
        self._valid = np.zeros(count, bool)

    def put(self, where: slice | np.ndarray, values: np.ndarray, valid: np.ndarray | None) -> None:
        self._values[where] = values
        self._valid[where] = True if valid is None else valid

    def put_objects(self, events: np.ndarray, values: list[Any]) -> None:
        if None in values:
            self._valid[events] = [value is not None for value in values]
            values = [0 if value is None else value for value in values]
        else:
            self._valid[events] = True
        self._values[events] = values

    def series(self, data: bytes, keep: np.ndarray | None, dtype: type[pl.DataType]) -> pl.Series:
        values, valid = (part if keep is None else part[keep] for part in (self._values, self._valid))
        if valid.all():
            return pl.Series(values, dtype=dtype)
        return pl.Series(pl.from_arrow(pa.array(values, mask=~valid)), dtype=dtype)


def _as_slice(events: np.ndarray) -> slice | np.ndarray:
    if len(events) and events[-1] - events[0] + 1 == len(events):
        return slice(int(events[0]), int(events[-1]) + 1)
    return events
