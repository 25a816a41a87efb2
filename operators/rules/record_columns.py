"""The columns of a record's events: as lists for what goes event by event, as series for conditions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from operators.expressions.translate import POLARS_TYPES

Value = str | int | float | bool | None


class RecordColumns:
    """Columns of one record; series are made of those only that somebody asks for.

    Args:
        types: the type of each column.
        values: the values of each, one an event.
        size: how many events there are.
    """

    def __init__(self, types: Mapping[str, str], values: Mapping[str, list[Value]], size: int) -> None:
        """Keep the lists."""
        self._types, self.values, self.size = types, values, size
        self._series: dict[str, pl.Series] = {}

    def frame(self, names: Iterable[str]) -> pl.DataFrame:
        """Return some columns as a frame, with one more where none is asked for: a frame has rows by them."""
        series = [self._of(name) for name in sorted(names)]
        return pl.DataFrame(series or [pl.Series("", [None] * self.size)])

    def row(self, number: int, names: Iterable[str]) -> dict[str, Value]:
        """Return the values of an event in some columns."""
        return {name: self.values[name][number] for name in names}

    def _of(self, name: str) -> pl.Series:
        if name not in self._series:
            self._series[name] = pl.Series(name, self.values[name], dtype=POLARS_TYPES[self._types[name]])
        return self._series[name]
