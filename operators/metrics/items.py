"""What the kinds that count items share: weights, and items of any type written as text."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import polars as pl

from operators.batch.event_batch import Column, EventBatch
from operators.batch.groups import Groups, compact
from operators.metrics.kind import typed_column
from sketches.wide_numbers import MAX_LONG

_LOW_HALF = 2**32 - 1
ITEM_TYPES = ("string", "long", "double", "bool", "list")


def weight_checks(weight: str | None) -> tuple[str, ...]:
    """Return what every event must meet so that its weight can be counted."""
    return () if weight is None else (f"{weight} >= 0",)


def check_item_columns(kind: str, columns: Mapping[str, str], of: str, weight: str | None) -> str:
    """Return the type of the items.

    Raises:
        ValueError: where the item or weight column is missing or of a wrong type.
    """
    if weight is not None:
        typed_column(kind, columns, weight, ("long",), key="weight")
    return typed_column(kind, columns, of, ITEM_TYPES)


def weighted_items(
    batch: EventBatch, groups: Groups, of: str, weight: str | None
) -> tuple[Column, np.ndarray, np.ndarray, np.ndarray]:
    """Add up the weight of each (group, item) that occurs.

    Returns:
        The item column, then for each pair: the group `(p,)`, the item's number in `column.distinct` `(p,)`
        and the total weight `(p,)`, int64, or Python integers (dtype object) where the total of the batch may
        overflow int64. Pairs come group by group.
    """
    column = batch.column(of)
    ids, which = groups.of(column)
    codes = column.codes[which].astype(np.int64)
    distinct = max(len(column.distinct), 1)
    numbers = codes if ids is None else ids * distinct + codes
    present, where = compact(numbers, groups.count * distinct)
    if weight is None:
        totals = np.bincount(where, minlength=len(present))
    else:
        owners = np.arange(len(batch)) if column.owners is None else column.owners
        weights = batch.frame[weight].fill_null(0).to_numpy()[owners[which]]
        totals = _totals(weights, where, len(present))
    return column, present // distinct, present % distinct, totals


def _totals(weights: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    """Return the total weight of each of `count` pairs; `where` is the pair of each weight."""
    if weights.max(initial=0) <= MAX_LONG // max(len(weights), 1):
        return _added(weights, where, count)
    low, high = (_added(half, where, count).astype(object) for half in (weights & _LOW_HALF, weights >> 32))
    return low + (high << 32)


def _added(weights: np.ndarray, where: np.ndarray, count: int) -> np.ndarray:
    totals = np.zeros(count, np.int64)
    np.add.at(totals, where, weights)
    return totals


def text_of(values: pl.Series) -> list[str]:
    """Return items as text, the form in which sketches keep them."""
    if values.dtype == pl.String:
        return values.to_list()
    return [str(value) for value in values.to_list()]


def item_type(type_: str) -> str:
    """Return the type of one item of a column: those of a multi-valued one are texts."""
    return "string" if type_ == "list" else type_


def item_of(text: str, type_: str) -> object:
    """Return the item that `text_of` wrote, in its JSON type."""
    if type_ == "bool":
        return text == "True"
    return {"long": int, "double": float}.get(type_, str)(text)
