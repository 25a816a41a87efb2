"""Profiles and items in state: the same after a restart, little written for little, broken bytes refused."""

from __future__ import annotations

import copy
from zlib import crc32

import numpy as np
import pytest
from engine import ShardedMap

from sketches.errors import BadData
from state.clock_state import time_key
from state.item_state import item_key, item_of, read_vector, write_vector
from state.profile_state import BUCKETS, Profiles, ProfileState
from state.time_index import MOST_DELTAS

SHARD = "like@similar/1"
Told = dict[bytes, tuple[list[float], float, int]]


def told(profiles: Profiles) -> Told:
    rows = {user: profiles.row(user) for user in profiles.users}
    return {
        user: (profiles.sums[row].tolist(), float(profiles.weights[row]), int(profiles.times[row]))
        for user, row in rows.items()
    }


def change(state: ProfileState, users: list[bytes], chance: np.random.Generator) -> None:
    profiles = state.shard(SHARD)
    for user in users:
        row = profiles.new_row(user)
        profiles.sums[row] = chance.normal(size=3)
        profiles.weights[row], profiles.times[row] = chance.random() + 0.1, chance.integers(-(10**12), 10**12)


def write(state: ProfileState, users: list[bytes], gone: tuple[bytes, ...] = ()) -> None:
    profiles = state.shard(SHARD)
    state.write(SHARD, users, lambda rows: np.array([profiles.users[row] in gone for row in rows], bool))


def names(numbers: np.ndarray) -> list[bytes]:
    return [f"user {n} \u00e9".encode() for n in np.unique(numbers).tolist()]


def test_profiles_are_the_same_after_a_restart_at_any_place() -> None:
    chance, held = np.random.default_rng(1), ShardedMap()
    state, expected = ProfileState(held, 3), {}
    for _ in range(200):
        if chance.random() < 0.15:
            held = copy.deepcopy(held)
            state = ProfileState(held, 3)
            assert told(state.shard(SHARD)) == expected
        users = names(chance.integers(0, 900, chance.integers(1, 40)))
        change(state, users, chance)
        write(state, users)
        expected = told(state.shard(SHARD))
        assert state.state_bytes[SHARD] == sum(len(k) + len(v) for k, v in held.shards[""].items())
    assert len(expected) > 850


def test_a_record_writes_the_profiles_that_it_changed_and_not_the_rest() -> None:
    chance, held = np.random.default_rng(2), ShardedMap()
    state = ProfileState(held, 3)
    everyone = names(np.arange(20_000))
    change(state, everyone, chance)
    write(state, everyone)
    before, whole = dict(held.shards[""]), state.state_bytes[SHARD]
    change(state, [everyone[7]], chance)
    write(state, [everyone[7]])
    written = {key: value for key, value in held.shards[""].items() if before.get(key) is not value}
    assert sum(map(len, written.values())) < 1200
    for _ in range(MOST_DELTAS * 3):
        change(state, everyone[:50], chance)
        write(state, everyone[:50])
    assert state.state_bytes[SHARD] < 2.2 * whole
    assert len(held.shards[""]) <= 1 + BUCKETS * (1 + MOST_DELTAS)
    assert told(ProfileState(copy.deepcopy(held), 3).shard(SHARD)) == told(state.shard(SHARD))


def test_a_profile_that_need_not_be_kept_goes_where_its_bucket_is_written_as_a_whole() -> None:
    chance, held = np.random.default_rng(3), ShardedMap()
    state = ProfileState(held, 3)
    everyone = names(np.arange(300))
    change(state, everyone, chance)
    write(state, everyone)
    gone = tuple(everyone[::2])
    for _ in range(MOST_DELTAS + 1):
        write(state, everyone[1::2], gone)
    assert set(state.shard(SHARD).users) == set(everyone[1::2])
    assert told(ProfileState(copy.deepcopy(held), 3).shard(SHARD)) == told(state.shard(SHARD))


def test_the_bucket_of_a_user_is_part_of_the_format() -> None:
    held = ShardedMap()
    state = ProfileState(held, 3)
    change(state, [b"ann", b"bob"], np.random.default_rng(1))
    write(state, [b"ann", b"bob"])
    assert sorted(key for key in held.shards[""] if key) == sorted(
        time_key(crc32(user) % 16) for user in (b"ann", b"bob")
    )


def test_rows_are_without_holes_whoever_goes() -> None:
    profiles = Profiles(2)
    for n, user in enumerate((b"a", b"b", b"c"), 1):
        profiles.sums[profiles.new_row(user)] = n
    profiles.remove(b"a")
    assert {user: profiles.sums[profiles.row(user)].tolist() for user in profiles.users} == {
        b"b": [2, 2], b"c": [3, 3]
    }  # fmt: skip
    profiles.remove(b"c")
    profiles.remove(b"b")
    assert len(profiles) == 0 and profiles.row(b"a") is None
    assert profiles.sums[profiles.new_row(b"d")].tolist() == [0, 0]


@pytest.fixture
def block() -> bytes:
    profiles = Profiles(2)
    for n, user in enumerate((b"ann", b"", "b\u00e9a".encode())):
        row = profiles.new_row(user)
        profiles.sums[row], profiles.weights[row], profiles.times[row] = (n, -n), n + 0.5, -n
    return profiles.block(np.arange(3))


def test_the_bytes_of_a_block_are_those_of_its_format(block: bytes) -> None:
    expected = (
        b"SPR\x01\x02\0\0\0\x03\0\0\0"
        + b"\x03\0\0\0\0\0\0\0\x04\0\0\0"
        + np.array([0, -1, -2], "<i8").tobytes()
        + np.array([0.5, 1.5, 2.5], "<f8").tobytes()
        + np.array([[0, 0], [1, -1], [2, -2]], "<f4").tobytes()
        + b"annb\xc3\xa9a"
    )
    assert block == expected
    profiles = Profiles(2)
    profiles.read_block(block)
    assert profiles.block(np.arange(3)) == block


def test_a_block_that_is_cut_short_or_too_long_is_refused_and_changes_nothing(block: bytes) -> None:
    for end in range(len(block)):
        profiles = Profiles(2)
        with pytest.raises(BadData):
            profiles.read_block(block[:end])
        assert len(profiles) == 0
    for wrong in (block + b"x", b"SPR\x02" + block[4:], b"SSP" + block[3:]):
        with pytest.raises(BadData):
            Profiles(2).read_block(wrong)
    huge = block[:8] + b"\xff\xff\xff\xff" + block[12:]
    with pytest.raises(BadData, match="for 4294967295 profiles"):
        Profiles(2).read_block(huge)


def test_profiles_of_another_dimension_are_refused(block: bytes) -> None:
    with pytest.raises(BadData, match="expected profiles of dimension 3, got 2"):
        Profiles(3).read_block(block)


def test_an_items_vector_comes_back_and_broken_ones_are_refused() -> None:
    vector = np.array([1, -0.5, 0.25], np.float32)
    data = write_vector(vector)
    assert data == b"SIV\x01" + vector.astype("<f4").tobytes()
    assert read_vector(data, 3).tolist() == vector.tolist()
    for wrong in (*(data[:end] for end in range(len(data))), data + b"x", b"SIV\x02" + data[4:]):
        with pytest.raises(BadData):
            read_vector(wrong, 3)
    with pytest.raises(BadData, match="expected 20 bytes, got 16"):
        read_vector(data, 4)


@pytest.mark.parametrize("item", ["a", "", "a/b", "caf\u00e9", 7, -(2**63)])
def test_the_key_of_an_item_says_whose_it_is(item: str | int) -> None:
    assert item_of(item_key("like", item)) == ("like", str(item))
    with pytest.raises(BadData):
        item_of(b"like")
