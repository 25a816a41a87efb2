"""The state of windows: slices, large partials apart, revisions; nothing is left behind."""

from __future__ import annotations

from engine import ShardedMap

from state.packed import Entry
from state.window_state import LARGE_PARTIAL_BYTES, WindowState


def concatenated(one: bytes, other: bytes) -> bytes:
    return one + other


def new_state() -> tuple[WindowState, dict[str, ShardedMap]]:
    maps = {name: ShardedMap() for name in ("slices", "large", "revisions")}
    return WindowState(*maps.values()), maps


def held(maps: dict[str, ShardedMap]) -> dict[str, int]:
    return {name: len(sharded.shards[""]) for name, sharded in maps.items() if sharded.shards[""]}


def test_slices_are_listed_in_the_order_of_time_within_half_open_bounds() -> None:
    state, _ = new_state()
    for end in (30, -10, 20, 0):
        state.merge(end, {b"k": Entry(1, b"x")}, concatenated)
    assert state.slice_ends() == [-10, 0, 20, 30]
    assert state.slice_ends(-10, 20) == [0, 20]
    assert state.slice_ends(30) == []


def test_merging_touches_only_the_keys_that_came() -> None:
    state, _ = new_state()
    state.merge(10, {b"a": Entry(1, b"x"), b"b": Entry(2, b"y")}, concatenated)
    state.merge(10, {b"b": Entry(3, b"z"), b"c": Entry(4, b"w")}, concatenated)
    assert state.read(10) == {b"a": Entry(1, b"x"), b"b": Entry(5, b"yz"), b"c": Entry(4, b"w")}
    assert state.read(10, [b"b", b"absent"]) == {b"b": Entry(5, b"yz")}
    assert state.read(20) == {}


def test_a_large_partial_lies_apart_and_is_read_whole() -> None:
    state, maps = new_state()
    state.merge(10, {b"a": Entry(1, b"x" * (LARGE_PARTIAL_BYTES - 1))}, concatenated)
    assert held(maps) == {"slices": 2}
    state.merge(10, {b"a": Entry(1, b"y")}, concatenated)
    assert held(maps) == {"slices": 2, "large": 1}
    state.merge(10, {b"a": Entry(1, b"z")}, concatenated)
    assert state.read(10) == {b"a": Entry(3, b"x" * (LARGE_PARTIAL_BYTES - 1) + b"yz")}
    assert max(map(len, maps["slices"].shards[""].values())) < 100


def test_a_partial_that_shrinks_comes_back_to_its_neighbours() -> None:
    state, maps = new_state()
    state.merge(10, {b"a": Entry(1, b"x" * LARGE_PARTIAL_BYTES)}, concatenated)
    state.merge(10, {b"a": Entry(1, b"y")}, lambda one, other: other)
    assert (state.read(10), held(maps)) == ({b"a": Entry(2, b"y")}, {"slices": 2})


def test_dropping_a_slice_leaves_nothing_of_it() -> None:
    state, maps = new_state()
    state.merge(10, {b"a": Entry(1, b"x" * LARGE_PARTIAL_BYTES), b"b": Entry(1, b"y")}, concatenated)
    state.merge(20, {b"a": Entry(1, b"z")}, concatenated)
    state.drop(10)
    assert (state.slice_ends(), state.read(10), held(maps)) == ([20], {}, {"slices": 2})
    state.drop(20)
    state.drop(20)
    assert held(maps) == {}


def test_revisions_are_kept_by_window_and_end() -> None:
    state, maps = new_state()
    state.set_revisions(b"5/5/0:", 10, {b"a": (0, 7), b"b": (2**31, 2**40)})
    assert state.revisions(b"5/5/0:", 10) == {b"a": (0, 7), b"b": (2**31, 2**40)}
    assert state.revisions(b"5/1/0:", 10) == state.revisions(b"5/5/0:", 15) == {}
    state.drop_revisions(b"5/5/0:", 10)
    assert held(maps) == {}
