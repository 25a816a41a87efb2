"""Profiles against sums over all touches in float64: any order of events, any restart, forgetting."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest
from engine import ShardedMap
from similar_entries import unit

from operators.similar.profiles import DecayedProfiles
from state.profile_state import ProfileState
from state.time_index import MOST_DELTAS

HOUR = 3_600_000
SHARD = "like@similar/0"
Event = tuple[str, int, np.ndarray | None, bool]


def profiles(held: ShardedMap, half_life_ms: int = HOUR, dimension: int = 4) -> DecayedProfiles:
    return DecayedProfiles(ProfileState(held, dimension), half_life_ms)


def take(own: DecayedProfiles, events: list[Event]) -> list[np.ndarray | None]:
    users = sorted({event[0] for event in events})
    return own.take(
        SHARD,
        [user.encode() for user in users],
        np.array([users.index(event[0]) for event in events]),
        np.array([event[1] for event in events]),
        [event[2] for event in events],
        np.array([event[3] for event in events]),
    )


def expected(touches: list[tuple[int, np.ndarray]], half_life_ms: int = HOUR) -> np.ndarray:
    """The direction of the decayed sum, by the definition."""
    newest = max(t for t, _ in touches)
    total = sum(vector.astype(np.float64) * 0.5 ** ((newest - t) / half_life_ms) for t, vector in touches)
    return total / np.linalg.norm(total)


@pytest.mark.parametrize("seed", range(4))
def test_a_profile_is_the_decayed_sum_whatever_the_order_the_records_and_the_restarts(seed: int) -> None:
    chance, numbers = random.Random(seed), np.random.default_rng(seed)
    held = ShardedMap()
    own = profiles(held)
    touches: dict[str, list[tuple[int, np.ndarray]]] = {}
    for _ in range(80):
        if chance.random() < 0.2:
            held = copy.deepcopy(held)
            own = profiles(held)
        events, answers = [], []
        for _ in range(chance.randrange(1, 30)):
            user, t = f"u{chance.randrange(12)}", chance.randrange(6 * HOUR)
            vector = unit(numbers.normal(size=4))[0] if chance.random() < 0.7 else None
            asks = chance.random() < 0.5
            events.append((user, t, vector, asks))
            if vector is not None:
                touches.setdefault(user, []).append((t, vector))
            if asks:
                answers.append(expected(touches[user]) if user in touches else None)
        for told, right in zip(take(own, events), answers, strict=True):
            assert (told is None) == (right is None)
            assert told is None or told == pytest.approx(right, abs=2e-5)


def test_events_in_any_order_make_the_same_profile() -> None:
    vectors = unit(np.random.default_rng(4).normal(size=(5, 4)))
    events = [("ann", t * HOUR, vector, False) for t, vector in enumerate(vectors)]
    ends = []
    for seed in range(6):
        mixed = random.Random(seed).sample(events, len(events))
        ends.append(take(profiles(ShardedMap()), [*mixed, ("ann", 5 * HOUR, None, True)])[0])
    assert all(end == pytest.approx(ends[0], abs=1e-6) for end in ends)


def test_a_touch_counts_half_after_a_half_life() -> None:
    one, other = unit([1, 0, 0, 0])[0], unit([0, 1, 0, 0])[0]
    (direction,) = take(profiles(ShardedMap()), [("ann", 0, one, False), ("ann", HOUR, other, True)])
    assert direction == pytest.approx(unit([0.5, 1, 0, 0])[0])


def test_who_touched_nothing_has_no_profile_and_neither_has_one_whose_touches_cancel_out() -> None:
    one = unit([1, 0, 0, 0])[0]
    events = [("ann", 0, None, True), ("bob", 0, one, True), ("bob", 0, -one, True), ("ann", 1, None, True)]
    told = take(profiles(ShardedMap()), events)
    assert [direction is None for direction in told] == [True, False, True, True]


def test_a_profile_fades_after_twenty_half_lives_and_is_forgotten_in_state() -> None:
    held, one = ShardedMap(), unit([1, 0, 0, 0])[0]
    own = profiles(held)
    assert take(own, [("ann", 0, one, False), ("ann", 19 * HOUR, None, True)])[0] is not None
    assert take(own, [("ann", 21 * HOUR, None, True)]) == [None]
    for _ in range(MOST_DELTAS + 1):  # enough for buckets to be written as a whole
        take(own, [(f"u{n}", 30 * HOUR, one, False) for n in range(100)])
    restored = profiles(copy.deepcopy(held))
    names = set(restored.state.shard(SHARD).users)
    assert {f"u{n}".encode() for n in range(100)} <= names and b"ann" not in names
    assert take(restored, [("ann", 0, None, True)]) == [None]


def test_a_long_silence_leaves_a_new_touch_alone_and_a_very_late_one_counts_nothing() -> None:
    one, other = unit([1, 0, 0, 0])[0], unit([0, 1, 0, 0])[0]
    own = profiles(ShardedMap())
    events = [("ann", 0, one, False), ("ann", 10_000 * HOUR, other, True), ("ann", -(10**15), one, True)]
    for direction in take(own, events):
        assert direction == pytest.approx(other)


def test_a_question_changes_nothing_in_state() -> None:
    held = ShardedMap()
    own = profiles(held)
    take(own, [("ann", 0, unit([1, 0, 0, 0])[0], True)])
    before = {key: value for key, value in held.shards[""].items()}
    take(own, [("ann", 5, None, True), ("bob", 5, None, True)])
    assert held.shards[""] == before and own.state.shard(SHARD).users == [b"ann"]
