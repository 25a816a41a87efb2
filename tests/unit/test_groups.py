"""Groups of events, against dictionaries of tuples."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups, compact, key_codes, pair_codes, slice_codes

ROWS = np.array([0, 2, 3, 5])


def batch_of(**columns: list[Any]) -> EventBatch:
    frame = pl.DataFrame(columns)
    return EventBatch(frame, np.arange(frame.height))


def keys_of(batch: EventBatch, by: list[str], rows: np.ndarray | None) -> list[list[Any]]:
    codes, keys = key_codes(batch, by, rows)
    count = len(batch) if rows is None else len(rows)
    numbers = [0] * count if codes is None else codes.tolist()
    return [json.loads(keys[number]) for number in numbers]


COLUMNS = {
    "s": ["a", None, "b", "a", "ü", None],
    "n": [1, 1, None, -(2**63), 1, 2],
    "v": [0.5, 0.5, float("nan"), 1e22, None, 0.5],
    "flag": [True, False, None, True, True, False],
}


@pytest.mark.parametrize("by", [[], ["s"], ["n"], ["v"], ["flag"], ["s", "n"], ["flag", "s", "v", "n"]])
@pytest.mark.parametrize("rows", [None, ROWS, np.array([1])])
def test_every_event_has_the_key_of_its_values_null_included(by, rows) -> None:
    batch = batch_of(**COLUMNS)
    taken = range(6) if rows is None else rows.tolist()
    expected = [
        [None if COLUMNS[name][i] != COLUMNS[name][i] else COLUMNS[name][i] for name in by] for i in taken
    ]
    assert keys_of(batch, by, rows) == expected


def test_a_key_is_numbered_once_and_only_where_it_occurs() -> None:
    _, keys = key_codes(batch_of(**COLUMNS), ["s", "flag"], ROWS)
    assert sorted(map(json.loads, keys), key=str) == sorted(
        [["a", True], ["b", None], [None, False]], key=str
    )


def test_one_key_needs_no_codes() -> None:
    codes, keys = key_codes(batch_of(s=["a", "a"]), ["s"], None)
    assert (codes, keys) == (None, [b'["a"]'])
    assert key_codes(batch_of(s=["a", "b"]), [], None) == (None, [b"[]"])


def test_a_slice_number_stands_for_the_slice_of_each_event_before_the_epoch_too() -> None:
    times = np.array([-11, -10, -1, 0, 9, 10, 10**12])
    codes, ends = slice_codes(times, 10)
    assert ends[codes].tolist() == [-10, 0, 0, 10, 10, 20, 10**12 + 10]
    assert ends.tolist() == sorted(set(ends.tolist()))
    codes, ends = slice_codes(np.array([-10, -1]), 10)
    assert (codes, ends.tolist()) == (None, [0])


@pytest.mark.parametrize("bound", [6, 10**9])
def test_compact_numbers_are_positions_among_those_that_occur(bound) -> None:
    numbers = np.array([5, 3, 3, 0, 5])
    present, position = compact(numbers, bound)
    assert present.tolist() == [0, 3, 5] and present[position].tolist() == numbers.tolist()


def test_pairs_are_numbered_where_they_occur() -> None:
    first, second = np.array([0, 1, 1, 0]), np.array([2, 0, 2, 2])
    codes, firsts, seconds = pair_codes(first, 2, second, 3)
    assert list(zip(firsts[codes], seconds[codes], strict=True)) == [(0, 2), (1, 0), (1, 2), (0, 2)]
    assert len(firsts) == 3
    codes, firsts, seconds = pair_codes(None, 1, second, 3)
    assert (firsts[codes].tolist(), seconds[codes].tolist()) == ([0] * 4, second.tolist())
    codes, firsts, seconds = pair_codes(first, 2, None, 1)
    assert (firsts[codes].tolist(), seconds[codes].tolist()) == (first.tolist(), [0] * 4)
    codes, firsts, seconds = pair_codes(None, 1, None, 1)
    assert (codes, firsts.tolist(), seconds.tolist()) == (None, [0], [0])


def members(groups: Groups, batch: EventBatch, name: str) -> Counter:
    ids, which = groups.of(batch.column(name))
    values = batch.column(name).values.to_numpy()[which]
    return Counter(zip([0] * len(values) if ids is None else ids.tolist(), values.tolist(), strict=True))


@pytest.mark.parametrize("rows", [None, ROWS])
@pytest.mark.parametrize("grouped", [True, False])
@pytest.mark.parametrize("name", ["plain", "nulls", "many"])
def test_the_values_of_a_column_are_in_the_group_of_their_event(rows, grouped, name) -> None:
    columns = {
        "plain": [1, 2, 3, 4, 5, 6],
        "nulls": [None, 2, None, 4, 5, 6],
        "many": [[1], [2, None, 2], None, [4, 5], [], [6]],
    }
    batch = EventBatch(pl.DataFrame(columns), np.arange(6))
    taken = list(range(6)) if rows is None else rows.tolist()
    ids = [n % 2 for n in range(len(taken))] if grouped else [0] * len(taken)
    groups = Groups(2 if grouped else 1, rows, np.array(ids) if grouped else None, 6)
    expected = Counter()
    for event, group in zip(taken, ids, strict=True):
        values = columns[name][event]
        for value in values if isinstance(values, list) else [values]:
            if value is not None:
                expected[group, value] += 1
    assert members(groups, batch, name) == expected
    assert groups.events.tolist() == [ids.count(group) for group in range(groups.count)]


def test_a_mask_takes_events_out_and_leaves_the_groups() -> None:
    mask = np.array([True, False, False, True, True, True])
    masked = Groups(2, ROWS, np.array([0, 1, 1, 0]), 6).where(mask)
    assert (masked.count, masked.rows.tolist(), masked.ids.tolist()) == (2, [0, 3, 5], [0, 1, 0])
    every = Groups(2, None, np.array([0, 0, 1, 1, 0, 0]), 6).where(mask)
    assert (every.rows.tolist(), every.ids.tolist(), every.events.tolist()) == (
        [0, 3, 4, 5],
        [0, 1, 0, 0],
        [3, 1],
    )
    alone = Groups(1, None, None, 6).where(mask)
    assert (alone.rows.tolist(), alone.ids, alone.events.tolist()) == ([0, 3, 4, 5], None, [4])
    assert Groups(2, ROWS, np.array([0, 1, 1, 0]), 6).where(~mask).events.tolist() == [0, 1]
