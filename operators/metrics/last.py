"""`last`: the value of the newest event time. Exact; of several values at one time, the greatest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import msgspec
import numpy as np
import polars as pl

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.metrics.kind import Aggregator, AnswerColumns, Fields, Kind, typed_column, value_columns
from sketches.errors import BadData

_NOTHING = b"\x00"
_SOMETHING = b"\x01"


class Last(Kind):
    """Options of `last`: `of`, a single-valued column of any type."""

    kind: Literal["last"]
    of: str
    always_exact: ClassVar[bool] = True

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the aggregator of the column."""
        type_ = typed_column("last", columns, self.of, ("string", "long", "double", "bool"))
        return LastAggregator(self.of, type_)


class LastAggregator(Aggregator):
    """A partial is one zero byte, or a one, the event time (8 bytes) and the value as JSON.

    The greatest value wins a tie so that the order of arrival makes no difference.
    """

    def __init__(self, column: str, type_: str) -> None:
        """Take the column's name and type."""
        self._column, self._type = column, type_

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Find the newest value of each group; nulls are left out."""
        column = batch.column(self._column)
        ids, which = groups.of(column)
        owners = np.arange(len(batch)) if column.owners is None else column.owners
        values = pl.DataFrame({"time": batch.time_ms[owners], "value": column.values})[which]
        values = values.with_columns(group=pl.lit(0) if ids is None else pl.Series(ids))
        newest = values.group_by("group").agg(
            pl.col("time").max(), pl.col("value").filter(pl.col("time") == pl.col("time").max()).max()
        )
        partials = [_NOTHING] * groups.count
        for group, time_ms, value in newest.select("group", "time", "value").iter_rows():
            partials[group] = (
                _SOMETHING + time_ms.to_bytes(8, "little", signed=True) + msgspec.json.encode(value)
            )
        return partials

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Keep the newest."""
        return max(partials, key=_rank)

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return the value; null where no event had one."""
        value = None if partial == _NOTHING else _rank(partial)[2]
        return {"value": value, "lower": value, "upper": value, "confidence": 1.0}

    def columns(self) -> AnswerColumns:
        """Return that the value is of the column's type."""
        return value_columns(self._type)


def _rank(partial: bytes) -> tuple[bool, int, object]:
    if partial == _NOTHING:
        return False, 0, ""
    try:
        value = msgspec.json.decode(partial[9:])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise BadData(f"expected a time and a value in JSON, got {len(partial)} bytes") from problem
    return True, int.from_bytes(partial[1:9], "little", signed=True), value
