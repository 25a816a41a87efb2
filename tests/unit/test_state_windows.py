"""The state of windows: slices, large partials apart, revisions; nothing is left behind."""

from __future__ import annotations

from collections.abc import Sequence

from engine import ShardedMap

from state.clock_state import time_key
from state.packed import Entry, pack
from state.time_index import MOST_DELTAS
from state.window_state import LARGE_PARTIAL_BYTES, SMALL_SLICE_BYTES, Merge, WindowState


def in_order(partials: Sequence[bytes]) -> bytes:
    """Merge to what does not depend on the order of merging: all bytes, sorted."""
    return bytes(sorted(b"".join(partials)))


def new_state(merge: Merge = in_order) -> tuple[WindowState, dict[str, ShardedMap]]:
    maps = {name: ShardedMap() for name in ("slices", "large", "revisions")}
    return WindowState(*maps.values(), merge), maps


def add(state: WindowState, end_ms: int, **partials: bytes) -> None:
    """Add one event to each of these keys."""
    state.add(end_ms, pack({key.encode(): Entry(1, partial) for key, partial in partials.items()}))


def held(maps: dict[str, ShardedMap]) -> dict[str, int]:
    return {name: len(sharded.shards[""]) for name, sharded in maps.items() if sharded.shards[""]}


def test_slices_are_listed_in_the_order_of_time_within_half_open_bounds() -> None:
    state, _ = new_state()
    for end in (30, -10, 20, 0):
        add(state, end, k=b"x")
    assert state.slice_ends() == [-10, 0, 20, 30]
    assert state.slice_ends(-10, 20) == [0, 20]
    assert state.slice_ends(30) == []


def test_merging_touches_only_the_keys_that_came() -> None:
    state, _ = new_state()
    add(state, 10, a=b"x", b=b"y")
    add(state, 10, b=b"z", c=b"w")
    assert state.read(10) == {b"a": Entry(1, b"x"), b"b": Entry(2, b"yz"), b"c": Entry(1, b"w")}
    assert state.read(10, [b"b", b"absent"]) == {b"b": Entry(2, b"yz")}
    assert state.read(20) == {}


def test_a_large_partial_lies_apart_and_is_read_whole() -> None:
    state, maps = new_state()
    add(state, 10, a=b"x" * (LARGE_PARTIAL_BYTES - 1))
    assert held(maps) == {"slices": 2}
    add(state, 10, a=b"y")
    assert held(maps) == {"slices": 2, "large": 1}
    add(state, 10, a=b"z")
    assert state.read(10) == {b"a": Entry(3, b"x" * (LARGE_PARTIAL_BYTES - 1) + b"yz")}
    assert max(map(len, maps["slices"].shards[""].values())) < 100


def test_a_partial_that_shrinks_comes_back_to_its_neighbours() -> None:
    state, maps = new_state(min)
    add(state, 10, a=b"y" * LARGE_PARTIAL_BYTES)
    add(state, 10, a=b"x")
    assert (state.read(10), held(maps)) == ({b"a": Entry(2, b"x")}, {"slices": 2})


def test_dropping_a_slice_leaves_nothing_of_it() -> None:
    state, maps = new_state()
    add(state, 10, a=b"x" * LARGE_PARTIAL_BYTES, b=b"y")
    add(state, 20, a=b"z")
    state.drop(10)
    assert (state.slice_ends(), state.read(10), held(maps)) == ([20], {}, {"slices": 2})
    state.drop(20)
    state.drop(20)
    assert held(maps) == {}


def test_what_arrives_for_a_large_slice_waits_and_is_merged_when_it_is_read() -> None:
    state, maps = new_state()
    add(state, 10, big=b"m" * SMALL_SLICE_BYTES, small=b"b")
    written = maps["slices"].shards[""][time_key(10)]
    add(state, 10, small=b"a", other=b"o")
    add(state, 10, small=b"c", big=b"n")
    assert maps["slices"].shards[""][time_key(10)] is written
    keys, held_bytes = state.held(10)
    assert sorted(keys) == [b"big", b"other", b"small"]
    now = maps["slices"].shards[""] | maps["large"].shards[""]
    assert held_bytes == sum(len(key) + len(value) for key, value in now.items() if key != b"")
    expected = {
        b"big": Entry(2, b"m" * SMALL_SLICE_BYTES + b"n"),
        b"small": Entry(3, b"abc"),
        b"other": Entry(1, b"o"),
    }
    assert state.read(10) == expected
    assert held(maps) == {"slices": 2, "large": 1}
    assert state.read(10, [b"other"]) == {b"other": Entry(1, b"o")}


def test_what_waits_is_never_more_than_what_is_merged_nor_too_many_pieces() -> None:
    state, maps = new_state()
    add(state, 10, a=b"m" * SMALL_SLICE_BYTES)
    for _ in range(MOST_DELTAS):
        add(state, 10, a=b"n")
    assert held(maps) == {"slices": 2 + MOST_DELTAS, "large": 1}
    add(state, 10, a=b"n")
    assert held(maps) == {"slices": 2, "large": 1}
    add(state, 10, b=b"x" * (SMALL_SLICE_BYTES // 2))
    assert held(maps) == {"slices": 3, "large": 1}
    add(state, 10, b=b"x" * SMALL_SLICE_BYTES)
    assert held(maps) == {"slices": 2, "large": 2}
    events = {key: entry.events for key, entry in state.read(10).items()}
    assert events == {b"a": 2 + MOST_DELTAS, b"b": 2}


def test_dropping_a_slice_leaves_nothing_of_what_waits() -> None:
    state, maps = new_state()
    add(state, 10, a=b"m" * SMALL_SLICE_BYTES)
    add(state, 10, a=b"n")
    state.drop(10)
    assert held(maps) == {}


def test_revisions_are_kept_by_window_and_end() -> None:
    state, maps = new_state()
    state.set_revisions(b"5/5/0:", 10, {b"a": (0, 7), b"b": (2**31, 2**40)})
    assert state.revisions(b"5/5/0:", 10) == {b"a": (0, 7), b"b": (2**31, 2**40)}
    assert state.revisions(b"5/1/0:", 10) == state.revisions(b"5/5/0:", 15) == {}
    state.drop_revisions(b"5/5/0:", 10)
    assert held(maps) == {}
