"""The log of histories: what was written last is there after a restart, and the log stays short."""

from __future__ import annotations

import random
from functools import cache

import msgspec
import pytest
from engine import ShardedMap

from sketches.errors import BadData
from state.history import Counted, History, write_history
from state.history_part import read_part, write_part
from state.history_state import EVERYONE, HistoryState

SPARE = 1 << 16


def history(number: int, entries: int = 3) -> History:
    return History(number, {1: Counted(list(range(entries)), [number] * entries)})


@cache
def plain_bytes(part: bytes) -> int:
    """Return how many bytes the entities and histories of a part have."""
    return sum(len(entity) + len(data) for entity, data in read_part(part))


def test_a_part_comes_back_as_it_was_and_other_bytes_are_refused() -> None:
    entries = {b'"a"': b"1", EVERYONE: b"", b"": b"\x00"}
    data = write_part(entries)
    assert dict(read_part(data)) == entries
    wrong = [data[:length] for length in range(len(data))]
    wrong += [data + b"\0", data[:3] + b"\x01" + data[4:], part_of(b"\x91\xa1a"), part_of(b"\x90\x90")]
    for bad in wrong:
        with pytest.raises(BadData):
            read_part(bad)


def test_a_part_is_no_longer_or_shorter_than_it_says() -> None:
    data = write_part({b'"a"': b"1" * 100})
    size = int.from_bytes(data[4:8], "little")
    for claimed in (0, size - 1, size + 1, size + 1000, 2**32 - 1):
        with pytest.raises(BadData):
            read_part(data[:4] + claimed.to_bytes(4, "little") + data[8:])


def test_a_part_takes_half_of_what_is_in_it_and_any_lz4_can_read_it() -> None:
    entries = {b'"card_%d"' % number: write_history(history(10**12 + number)) for number in range(100)}
    data = write_part(entries)
    assert len(data) < sum(map(len, entries)) / 2 + sum(map(len, entries.values())) / 2
    assert msgspec.msgpack.decode(unpacked(data[8:])) == [list(pair) for pair in entries.items()]


def part_of(plain: bytes) -> bytes:
    """Return what would be a part, of LZ4 that has no more than literals."""
    assert len(plain) < 15
    return write_part({})[:4] + len(plain).to_bytes(4, "little") + bytes([len(plain) << 4]) + plain


def unpacked(block: bytes) -> bytes:
    """Decompress an LZ4 block as its format says: literals, then a match further back, and so on."""
    out, at = bytearray(), 0

    def length(nibble: int) -> int:
        nonlocal at
        more = nibble == 15
        while more:
            nibble, more = nibble + block[at], block[at] == 255
            at += 1
        return nibble

    while at < len(block):
        token = block[at]
        at += 1
        literals = length(token >> 4)
        out += block[at : at + literals]
        at += literals
        if at == len(block):
            break
        back, at = int.from_bytes(block[at : at + 2], "little"), at + 2
        for _ in range(length(token & 15) + 4):
            out.append(out[-back])
    return bytes(out)


def test_each_shard_has_its_own_histories_and_none_is_read_again() -> None:
    held = ShardedMap()
    state = HistoryState(held)
    for shard, number in (("one", 1), ("two", 2)):
        held.shard = shard
        state.write(shard, {b'"a"': history(number), EVERYONE: history(9)})
    assert [state.read(shard, b'"a"') for shard in ("one", "two")] == [history(1), history(2)]
    assert state.entities() == 2
    again = HistoryState(held)
    held.shard = "one"
    assert again.read("one", b'"a"') == history(1) and again.read("one", b'"b"') == History()
    assert list(again.times("one")) == [(b'"a"', 1, 2**63 - 1)]
    assert held.reads == 0, "never one by one"


def test_what_is_written_together_is_one_entry_and_nothing_that_did_not_change_is_in_it() -> None:
    held = ShardedMap()
    state = HistoryState(held)
    state.write("", {b"%d" % number: history(number) for number in range(50)})
    state.write("", {b"7": history(8), b"8": history(9)})
    first, second = (dict(read_part(part)) for _, part in sorted(held.items()))
    assert len(first) == 50
    assert second == {b"7": write_history(history(8)), b"8": write_history(history(9))}


def test_where_all_are_forgotten_nothing_is_left() -> None:
    held = ShardedMap()
    state = HistoryState(held)
    state.write("", {b"a": history(1), b"b": history(2)})
    state.forget("", [b"a"])
    assert (state.entities(), state.read("", b"a")) == (1, History())
    state.forget("", [b"b"])
    assert (held.items(), state.bytes(), state.entities()) == ([], 0, 0)
    state.write("", {b"c": history(3)})
    assert HistoryState(held).read("", b"c") == history(3)


def test_entities_that_were_not_written_for_the_longest_come_first_wherever_the_log_has_them() -> None:
    choose, held = random.Random(9), ShardedMap()
    state, written = HistoryState(held), {}
    for step in range(3000):
        names = {b"%d" % min(choose.randint(0, 400), choose.randint(0, 400)) for _ in range(5)}
        state.write("", dict.fromkeys(names, history(step, 30)))
        for name in names:
            written.pop(name, None)
            written[name] = step
    told = [(name, time_ms) for name, time_ms, _ in state.times("")]
    assert sorted(told) == sorted(written.items())
    assert [time_ms for _, time_ms in told] == sorted(written.values())
    oldest, _ = min(held.items())
    assert int.from_bytes(oldest, "big") > told[0][1], "the log has moved it"
    assert state.holds_any("")


@pytest.mark.parametrize("seed", range(6))
def test_after_any_restart_all_is_as_it_was_and_the_log_is_at_most_twice_what_is_true(
    seed: int,
) -> None:
    choose, held = random.Random(seed), ShardedMap()
    state, true, longest = HistoryState(held), {}, 0
    for step in range(3000):
        names = choose.sample(range(200 if step < 2000 else 20), choose.randint(1, 8))
        if choose.random() < 0.2:
            there = [b"%d" % name for name in names if b"%d" % name in true]
            state.forget("", there)
            for name in there:
                del true[name]
        else:
            new = {b"%d" % name: history(step, choose.choice((1, 30, 300))) for name in names}
            state.write("", new)
            true |= new
        if choose.random() < 0.02:
            state = HistoryState(held)
        needed = sum(len(name) + len(write_history(one)) for name, one in true.items())
        longest = max(longest, sum(plain_bytes(part) for _, part in held.items()) - 2 * needed - SPARE)
        if step % 100 == 0:
            assert state.bytes() in (sum(len(key) + len(part) for key, part in held.items()), 0)
    again = HistoryState(held)
    assert {name: again.read("", name) for name, _, _ in again.times("")} == true
    assert longest < 3 * SPARE, "what is added in a step, and what is old in the part that goes next"
    assert len(held.items()) < 1000
