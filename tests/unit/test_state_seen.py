"""What shards have seen: the same after a restart, little written for what is new, periods forgotten."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
from engine import ShardedMap

from sketches.exact_set import ExactSet
from sketches.growing_bloom import GrowingBloom
from sketches.hashing import hash_longs
from state.seen_state import SeenState
from state.time_index import MOST_DELTAS

SHARD = "visitors/3"


def over(held: ShardedMap, exact: bool) -> SeenState:
    if exact:
        return SeenState(held, lambda _: ExactSet(), ExactSet.deserialize, (-1, 2))
    return SeenState(held, lambda _: GrowingBloom(500, 0.0001), GrowingBloom.deserialize, (-1,))


def hashes(exact: bool, values: np.ndarray) -> np.ndarray:
    found = hash_longs(values)
    return found if exact else found[:, 0].copy()


def told(state: SeenState, exact: bool, values: np.ndarray, period: int = 0, oldest: int = 0) -> list[int]:
    return values[state.add(SHARD, period, oldest, hashes(exact, values))].tolist()


@pytest.mark.parametrize("exact", [False, True])
def test_each_value_is_new_once_also_across_restarts_at_any_place(exact: bool) -> None:
    random, held, seen = np.random.default_rng(7), ShardedMap(), set()
    state = over(held, exact)
    for _ in range(300):
        if random.random() < 0.1:
            state = over(copy.deepcopy(held), exact)
            held = state._seen
        values = random.integers(0, 3000, random.integers(0, 60))
        expected = [v for n, v in enumerate(values.tolist()) if v not in seen | set(values[:n].tolist())]
        assert told(state, exact, values) == expected
        seen |= set(values.tolist())
    assert len(seen) > 2500


@pytest.mark.parametrize("exact", [False, True])
def test_a_restored_state_is_the_one_that_was(exact: bool) -> None:
    held = ShardedMap()
    state = over(held, exact)
    for start in range(0, 4000, 90):
        told(state, exact, np.arange(start, start + 90))
    before = {period: members.serialize() for period, members in state.periods(SHARD).items()}
    restored = over(copy.deepcopy(held), exact).periods(SHARD)
    assert {period: members.serialize() for period, members in restored.items()} == before


@pytest.mark.parametrize("exact", [False, True])
def test_a_batch_writes_what_is_new_in_it_and_not_the_rest(exact: bool) -> None:
    held = ShardedMap()
    state = over(held, exact)
    told(state, exact, np.arange(20_000))
    whole = sum(map(len, held.shards[""].values()))
    before = dict(held.shards[""])
    told(state, exact, np.arange(19_990, 20_010))
    written = {key for key, value in held.shards[""].items() if before.get(key) is not value}
    assert sum(len(held.get(key)) for key in written if key) == 10 * (16 if exact else 8)
    for value in range(30_000, 30_000 + 3 * MOST_DELTAS):
        told(state, exact, np.array([value]))
    assert len(held.shards[""]) <= 2 + MOST_DELTAS
    assert state.held() == sum(len(key) + len(value) for key, value in held.shards[""].items())
    assert state.held() < 1.1 * whole


def test_nothing_is_written_where_nothing_is_new() -> None:
    held = ShardedMap()
    state = over(held, False)
    assert told(state, False, np.arange(0)) == []
    assert not held.shards[""]
    told(state, False, np.arange(100))
    before = dict(held.shards[""])
    assert told(state, False, np.arange(50, 100)) == []
    assert held.shards[""] == before


def test_a_period_that_is_too_old_does_not_count_although_it_is_still_there() -> None:
    state = over(ShardedMap(), False)
    told(state, False, np.array([1, 2]), 10)
    assert told(state, False, np.array([1]), 20, oldest=10) == []
    assert told(state, False, np.array([1, 2, 3]), 30, oldest=20) == [2, 3]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("restart", [False, True])
def test_what_no_period_that_is_left_has_is_new_again(exact: bool, restart: bool) -> None:
    held = ShardedMap()
    state = over(held, exact)
    assert told(state, exact, np.array([1, 2, 3]), 10) == [1, 2, 3]
    assert told(state, exact, np.array([2, 4]), 20) == [4]
    assert told(state, exact, np.array([3, 5]), 10) == [5]
    if restart:
        state = over(held, exact)
    state.forget(SHARD, 20)
    assert list(state.periods(SHARD)) == [20]
    assert told(state, exact, np.array([1, 2, 3, 4, 5]), 30) == [1, 3, 5]
    state.forget(SHARD, 40)
    assert not held.shards[""]
    assert state.held() == 0


def test_shards_know_nothing_of_each_other() -> None:
    held = ShardedMap()
    new: Callable[[str], GrowingBloom] = lambda shard: GrowingBloom(int(shard), 0.01)  # noqa: E731
    state = SeenState(held, new, GrowingBloom.deserialize, (-1,))
    for shard in ("10", "20"):
        held.shard = shard
        assert state.add(shard, 0, 0, hashes(False, np.arange(5))).all()
        assert state.periods(shard)[0].capacity == int(shard)
    assert set(held.shards) == {"10", "20"}
