"""The index of what lies in state by time: its bytes, its order, what it refuses."""

from __future__ import annotations

import pytest
from engine import ShardedMap

from sketches.errors import BadData
from state.clock_state import time_key
from state.time_index import MOST_DELTAS, Stored, TimeIndex


def test_rows_are_kept_in_the_order_of_time_and_the_last_one_put_counts() -> None:
    held = ShardedMap()
    for row in (Stored(30, 1), Stored(-5, 2), Stored(10, 3), Stored(30, 4, 5, 6)):
        TimeIndex(held).put(row)
    index = TimeIndex(held)
    assert index.times == [-5, 10, 30]
    assert [index.find(time_ms) for time_ms in (-5, 30, 31)] == [Stored(-5, 2), Stored(30, 4, 5, 6), None]
    index.remove(10)
    assert index.times == TimeIndex(held).times == [-5, 30]
    for time_ms in (-5, 30):
        index.remove(time_ms)
    assert not held.shards[""]


def test_deltas_are_named_in_the_order_in_which_they_came_behind_their_base() -> None:
    row = Stored(7, 100).with_delta(10, 20).with_delta(10, 20)
    assert row == Stored(7, 100, 20, 2)
    assert row.delta_names == [time_key(7) + b"\1", time_key(7) + b"\2"]
    assert row.base_name == time_key(7)
    assert row.with_delta(1, 20) is None
    assert Stored(7, 100, 0, MOST_DELTAS).with_delta(0, 20) is None


def test_the_bytes_are_those_that_are_documented_and_harmed_ones_are_refused() -> None:
    held = ShardedMap()
    TimeIndex(held).put(Stored(-1, 2, 3, 4))
    data = held.get(b"")
    assert data == b"STI\x01" + b"\xff" * 8 + b"".join(bytes([n] + [0] * 7) for n in (2, 3, 4))
    assert TimeIndex.bytes_held(held) == len(data) == 36
    for harmed in (data[:-1], data + b"\0", b"STI\x02" + data[4:], b"", data[:3], data[:4], b"\0" * 32):
        held.put(b"", harmed)
        with pytest.raises(BadData, match="expected an index by time"):
            TimeIndex(held)


def test_an_index_that_would_stay_the_same_is_not_written() -> None:
    held = ShardedMap()
    TimeIndex(held).put(Stored(1, 2))
    before = held.get(b"")
    TimeIndex(held).put(Stored(1, 2))
    assert held.get(b"") is before
