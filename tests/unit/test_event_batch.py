"""Columns of a batch taken apart: nulls, lists, hashes, exploded rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest

from operators.batch.event_batch import Column, EventBatch, hashes_of, packed_strings
from operators.expressions import compile_expression
from sketches.hashing import hash_longs, hash_strings


def test_a_column_without_nulls_needs_no_owners() -> None:
    column = Column(pl.Series([3, 1, 3]))
    assert (column.owners, column.numbers.tolist()) == (None, [3, 1, 3])
    assert (column.codes.tolist(), column.distinct.to_list()) == ([0, 1, 0], [3, 1])


@pytest.mark.parametrize(
    ("series", "owners", "values"),
    [
        (pl.Series(["a", None, "b"]), [0, 2], ["a", "b"]),
        (pl.Series([None, None], dtype=pl.Int64), [], []),
        (pl.Series([1.5, float("nan"), None, float("inf"), -0.5]), [0, 4], [1.5, -0.5]),
        (pl.Series([["a", "b"], [], None, ["c"]], dtype=pl.List(pl.String)), [0, 0, 3], ["a", "b", "c"]),
        (pl.Series([[None, "b"], [None], ["c"]], dtype=pl.List(pl.String)), [0, 2], ["b", "c"]),
        (pl.Series([[], None], dtype=pl.List(pl.String)), [], []),
    ],
)
def test_values_that_are_there_know_their_event(series, owners, values) -> None:
    column = Column(series)
    assert (column.owners.tolist(), column.values.to_list()) == (owners, values)
    assert [column.distinct.to_list()[code] for code in column.codes] == values
    assert column.hashes.shape == (len(values), 2)


def test_booleans_count_as_zero_and_one() -> None:
    assert Column(pl.Series([True, None, False])).numbers.tolist() == [1, 0]


def test_hashes_are_those_of_the_type() -> None:
    assert np.array_equal(
        hashes_of(pl.Series(["", "ü", "long " * 30])), hash_strings(["", "ü", "long " * 30])
    )
    assert np.array_equal(hashes_of(pl.Series([1, -1])), hash_longs(np.array([1, -1])))
    assert len({tuple(hashes_of(pl.Series([one]))[0]) for one in (1, 1.0, "1")}) == 3


def test_strings_are_packed_from_slices_and_pieces() -> None:
    whole = pl.Series(["aa", "", "ü", "d"])
    pieces = pl.concat([whole, pl.Series(["e"])], rechunk=False)
    for series in (whole, whole[1:3], pieces[2:], whole.head(0)):
        data, offsets = packed_strings(series)
        cut = [bytes(data[a:b]).decode() for a, b in pairwise(offsets)]
        assert cut == series.to_list()


def test_a_condition_that_is_null_does_not_hold_and_is_evaluated_once() -> None:
    batch = EventBatch(pl.DataFrame({"n": [1, None, 3]}), np.arange(3))
    condition = compile_expression("n > 1", {"n": "long"}, expect="bool")
    assert batch.mask(condition).tolist() == [False, False, True]
    assert batch.mask(condition) is batch.mask(condition)


def test_exploding_gives_a_row_a_value_and_one_with_null_for_a_null_list() -> None:
    frame = pl.DataFrame({"n": [1, 2, 3, 4], "tags": [["a", "b"], [], None, ["a"]]})
    exploded, events = EventBatch(frame, np.array([10, 20, 30, 40])).exploded("tags")
    assert exploded.frame.rows() == [(1, "a"), (1, "b"), (3, None), (4, "a")]
    assert (events.tolist(), exploded.time_ms.tolist()) == ([0, 0, 2, 3], [10, 10, 30, 40])


def test_exploding_nothing_gives_nothing() -> None:
    frame = pl.DataFrame({"tags": [[], []]}, schema={"tags": pl.List(pl.String)})
    exploded, events = EventBatch(frame, np.array([1, 2])).exploded("tags")
    assert (len(exploded), len(events), exploded.frame.height) == (0, 0, 0)
