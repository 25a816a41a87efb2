"""A batch of accepted events as columns, with what several metrics need of a column computed once."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import polars as pl

from operators.expressions import Expression
from sketches.hashing import hash_bools, hash_doubles, hash_longs, hash_packed


class Column:
    """The values of one column that are there: nulls left out, lists taken apart.

    Args:
        series: the column as events have it, one row an event; `List` where it is multi-valued.
    """

    def __init__(self, series: pl.Series) -> None:
        """Take the column apart."""
        self.owners: np.ndarray | None = None
        if isinstance(series.dtype, pl.List):
            lengths = series.list.len().fill_null(0).to_numpy()
            self.owners = np.repeat(np.arange(len(series)), lengths)
            series = series.filter(lengths > 0).explode()
        if series.dtype == pl.Float64:
            series = series.set(~series.is_finite(), None)
        if series.null_count():
            there = series.is_not_null().to_numpy()
            self.owners = np.flatnonzero(there) if self.owners is None else self.owners[there]
            series = series.drop_nulls()
        self.values = series

    @cached_property
    def numbers(self) -> np.ndarray:
        """The values as `(n,)` int64 or float64; booleans as 0 and 1."""
        series = self.values.cast(pl.Int64) if self.values.dtype == pl.Boolean else self.values
        return series.to_numpy()

    @cached_property
    def codes(self) -> np.ndarray:
        """The number of each value in `distinct`, `(n,)` int32."""
        return self._dictionary[0]

    @cached_property
    def distinct(self) -> pl.Series:
        """The distinct values, in order of first appearance."""
        return self._dictionary[1]

    @cached_property
    def hashes(self) -> np.ndarray:
        """Two 64-bit hashes of each value, `(n, 2)` uint64."""
        return hashes_of(self.values)

    @cached_property
    def distinct_hashes(self) -> np.ndarray:
        """Two 64-bit hashes of each distinct value, `(d, 2)` uint64."""
        return hashes_of(self.distinct)

    @cached_property
    def _dictionary(self) -> tuple[np.ndarray, pl.Series]:
        encoded = self.values.to_arrow().dictionary_encode()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        return codes, pl.Series(self.values.name, encoded.dictionary)


class EventBatch:
    """Accepted events of one ingest call.

    Args:
        frame: one row an event; declared fields and derived columns.
        time_ms: event time of each row, `(n,)` int64.
    """

    def __init__(self, frame: pl.DataFrame, time_ms: np.ndarray) -> None:
        """Wrap the columns; nothing is computed yet."""
        self.frame = frame
        self.time_ms = time_ms
        self._columns: dict[str, Column] = {}
        self._masks: dict[str, np.ndarray] = {}
        self._exploded: dict[str, tuple[EventBatch, np.ndarray]] = {}

    def __len__(self) -> int:
        """Return the number of events."""
        return len(self.time_ms)

    def column(self, name: str) -> Column:
        """Return a column, taken apart once."""
        if name not in self._columns:
            self._columns[name] = Column(self.frame[name])
        return self._columns[name]

    def mask(self, condition: Expression) -> np.ndarray:
        """Return where a condition is true (not false, not null), `(n,)` bool."""
        if condition.text not in self._masks:
            self._masks[condition.text] = condition.evaluate(self.frame).fill_null(False).to_numpy()
        return self._masks[condition.text]

    def exploded(self, name: str) -> tuple[EventBatch, np.ndarray]:
        """Return the batch with one row a value of a multi-valued column, and the event of each row.

        An event whose list is empty has no row; one whose list is null has one, with null.
        """
        if name not in self._exploded:
            lengths = self.frame[name].list.len().fill_null(1).to_numpy()
            events = np.repeat(np.arange(len(self)), lengths)
            frame = self.frame.filter(lengths > 0).explode(name)
            self._exploded[name] = EventBatch(frame, self.time_ms[events]), events
        return self._exploded[name]


def event_codes(column: Column, size: int) -> np.ndarray:
    """Return the number of each event's value in `column.distinct`, `(size,) int64`; -1 where it has none.

    Args:
        column: a single-valued column of a batch.
        size: how many events the batch has.
    """
    if column.owners is None:
        return column.codes.astype(np.int64)
    codes = np.full(size, -1, np.int64)
    codes[column.owners] = column.codes
    return codes


def hashes_of(values: pl.Series) -> np.ndarray:
    """Return two 64-bit hashes of each value, by its type, `(n, 2)` uint64."""
    if values.dtype == pl.Int64:
        return hash_longs(values.to_numpy())
    if values.dtype == pl.Float64:
        return hash_doubles(values.to_numpy())
    if values.dtype == pl.Boolean:
        return hash_bools(values.to_numpy())
    data, offsets = packed_strings(values)
    return hash_packed(data, offsets)


def packed_strings(values: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """Return the UTF-8 bytes of all strings, `(m,)` uint8, and where each begins, `(n + 1,)` int64."""
    array = values.rechunk().to_arrow().cast("large_string")
    _, offsets, data = array.buffers()
    starts = np.frombuffer(offsets, np.int64, len(array) + 1, array.offset * 8)
    return np.frombuffer(data if data is not None else b"", np.uint8), starts
