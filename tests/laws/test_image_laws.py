"""Harmed bytes of every form that is in state: read or refused as bad data, and never large in memory.

An image may say that it stands for anything. What is made of it is a few times as long as it is itself or, of
the tables of which an image has the filled places only, 64 MiB at most.
"""

from __future__ import annotations

import random
import struct
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np
import pytest
from engine import ShardedMap

from operators.records import LocalSession, SessionRecord, SliceRecord, decode_record, encode
from sketches import codec
from sketches.bloom import Bloom
from sketches.codec import MAX_TABLE_BYTES, Family
from sketches.count_min import CountMin
from sketches.errors import BadData
from sketches.exact_set import ExactSet
from sketches.exact_sum import ExactSum
from sketches.growing_bloom import GrowingBloom
from sketches.hashing import SEED, hash_longs, seed_hash
from sketches.hyperloglog import HyperLogLog, merge_images
from sketches.quantiles import Quantiles
from sketches.top_k import TopK
from state.alarm_state import Remembered, read_remembered, write_remembered
from state.delivery_state import DeliveryState, FiringAlert
from state.gather_state import Happened, Order, read_happened, read_orders, write_happened, write_orders
from state.history import Counted, History, Last, Pending, read_history, write_history
from state.history_part import read_part, write_part
from state.item_state import item_of, read_vector, write_vector
from state.packed import Entry, pack, unpack
from state.profile_state import Profiles
from state.rule_state import HeldRule, read_held_rule, write_held_rule
from state.seen_state import read_hashes
from state.session_state import Session, SessionState
from state.time_index import Stored, TimeIndex

HASHES = hash_longs(np.arange(500))
COUNTS = np.arange(500)
SMALL = 1 << 16
"""What is allocated whatever there is to read: messages of errors, objects."""
TIMES = 300
"""Of how many times its own length an image may be in memory; compressed ones take most of it."""


class Form(NamedTuple):
    """A form, images of it, and the most that is made of one beside what follows from its length."""

    read: Callable[[bytes], Any]
    images: list[bytes]
    most: int = SMALL


def bloom(count: int, num_bits: int = 2000) -> bytes:
    sketch = Bloom(5, num_bits)
    sketch.insert_many(HASHES[:count, 0])
    return sketch.serialize()


def growing(count: int) -> bytes:
    sketch = GrowingBloom(20, 0.01)
    sketch.add_many(HASHES[:count, 0])
    return sketch.serialize()


def count_min(count: int, weight: int) -> bytes:
    sketch = CountMin(3, 64)
    sketch.update_many(HASHES[:count], COUNTS[:count] * weight)
    return sketch.serialize()


def hyperloglog(count: int, lg_k: int) -> bytes:
    sketch = HyperLogLog(lg_k)
    sketch.update_many(HASHES[:count])
    return sketch.serialize()


def exact_set(count: int) -> bytes:
    sketch = ExactSet()
    sketch.add_many(HASHES[:count])
    return sketch.serialize()


def top_k(count: int, lg_max_map_size: int) -> bytes:
    sketch = TopK(lg_max_map_size)
    sketch.update_many([f"item {n}" for n in range(count)], COUNTS[:count] + 1)
    return sketch.serialize()


def quantiles(count: int, of_longs: bool) -> bytes:
    sketch = Quantiles(8)
    if of_longs:
        sketch.update_longs(COUNTS[:count])
    else:
        sketch.update_many(COUNTS[:count].astype(float))
    return sketch.serialize()


def profiles() -> bytes:
    held = Profiles(3)
    return held.block(np.array([held.new_row(name) for name in (b"ann", b"bob")]))


def merged_with_few(image: bytes) -> bytes:
    lg_k = image[3] if len(image) > 3 and 4 <= image[3] <= 21 else 8
    return merge_images(image, hyperloglog(3, lg_k))


def held(key: bytes, value: bytes) -> ShardedMap:
    """Return a map of one entry."""
    made = ShardedMap()
    made.put(key, value)
    return made


def found_at_all_times(data: bytes) -> None:
    index = TimeIndex(held(b"", data))
    for time_ms in index.times[:3]:
        index.find(time_ms)


def index_by_time() -> bytes:
    made = ShardedMap()
    index = TimeIndex(made)
    for row in (Stored(1, 100), Stored(2, 100, 7, 3)):
        index.put(row)
    return made.get(b"")


def sessions() -> bytes:
    made = ShardedMap()
    SessionState(made).write(7, {b"k": [Session(1, 2, 3, b"p")]})
    return made.get(SEVENTH)


def firing() -> bytes:
    made = ShardedMap()
    DeliveryState(made).put_firing("a", FiringAlert(1, b"{}"))
    return made.get(b"fa")


SEVENTH = (7).to_bytes(2, "big")
HISTORY = History(5, {1: Counted([1], [2]), 2: Last(4, "x")}, {"rule": Pending(1, 2, b"a", b"b")})
RECORDS = [SliceRecord(1, b"a", None, b"{}"), SessionRecord([LocalSession(b"k", 1, 2, 3, b"p", None)], b"")]
DENSE = [hyperloglog(0, 12), hyperloglog(5, 12), hyperloglog(100, 12), hyperloglog(500, 6)]
FORMS = {
    "Bloom": Form(Bloom.deserialize, [bloom(0), bloom(5), bloom(500), bloom(0, 2**29)], MAX_TABLE_BYTES),
    "growing Bloom": Form(GrowingBloom.deserialize, [growing(0), growing(10), growing(300)], MAX_TABLE_BYTES),
    "Count-Min": Form(
        CountMin.deserialize, [count_min(0, 1), count_min(5, 1), count_min(500, 10**6)], MAX_TABLE_BYTES
    ),
    "HyperLogLog": Form(HyperLogLog.deserialize, DENSE),
    "merged HyperLogLogs": Form(merged_with_few, DENSE, 1 << 22),
    "exact set": Form(ExactSet.deserialize, [exact_set(0), exact_set(5)]),
    "exact sum": Form(ExactSum.deserialize, [ExactSum(12345, -40).serialize()]),
    "top-k": Form(lambda image: TopK.deserialize(image).top(3), [top_k(5, 4), top_k(40, 4), top_k(3, 20)]),
    "quantiles": Form(
        lambda image: Quantiles.deserialize(image).quantile(0.5),
        [quantiles(count, of_longs) for count in (0, 1, 5, 500) for of_longs in (False, True)],
    ),
    "packed": Form(unpack, [pack({b"a": Entry(3, b"xyz"), b"b": Entry(4, None, 17)})]),
    "history": Form(read_history, [write_history(HISTORY)]),
    "part of histories": Form(read_part, [write_part({b"a": b"x" * 100, b"b": b"y" * 30})]),
    "orders": Form(read_orders, [write_orders([Order(1, 2, 3, b"[1]")])]),
    "what happened": Form(read_happened, [write_happened([Happened(1, 2, 3)])]),
    "vector": Form(lambda data: read_vector(data, 4), [write_vector(np.ones(4, np.float32))]),
    "key of an item": Form(item_of, [b"catalogue/item"]),
    "hashes": Form(lambda data: read_hashes(data, (-1, 2)), [bytes(32)]),
    "index by time": Form(found_at_all_times, [index_by_time()]),
    "sessions": Form(lambda data: SessionState(held(SEVENTH, data)).read(7), [sessions()]),
    "firing alert": Form(lambda data: DeliveryState(held(b"fa", data)), [firing()]),
    "alarms": Form(read_remembered, [write_remembered({b"k": Remembered(1, 2, 3, 4, b"", [])})]),
    "rule": Form(read_held_rule, [write_held_rule(HeldRule(1, b"x", False, ["m"]))]),
    "profiles": Form(lambda data: Profiles(3).read_block(data), [profiles()]),
    "record": Form(decode_record, [encode(record) for record in RECORDS]),
}
LARGE = [2**32 - 1, 2**31, 2**28, 2**26, 2**20, 0]


def harmed(image: bytes, chance: random.Random) -> bytes:
    """Return an image that is cut, too long, or has other numbers in a few places; or any bytes."""
    how = chance.random()
    if how < 0.1:
        return image[: chance.randint(0, len(image))]
    if how < 0.15:
        return image + chance.randbytes(chance.randint(1, 9))
    if how < 0.2:
        return chance.randbytes(chance.randint(0, 60))
    broken = bytearray(image)
    for _ in range(chance.choice((1, 1, 2, 5))):
        place = chance.randrange(min(len(broken), chance.choice((16, 40, len(broken)))))
        if chance.random() < 0.5:
            broken[place] = chance.choice((0, 1, 2, 4, 16, 20, 21, 61, 127, 255, chance.randrange(256)))
        else:
            broken[place : place + 4] = chance.choice((*LARGE, chance.getrandbits(32))).to_bytes(4, "little")
    if broken[:2] == codec.MAGIC and len(broken) > 12 and chance.random() < 0.9:
        # The preamble tells the length as it is, so that the payload is looked at.
        length = max(0, len(broken) - 12 - 4 * broken[5])
        broken[8:12] = length.to_bytes(4, "little")
    return bytes(broken)


def peak_of(read: Callable[[bytes], Any], image: bytes) -> int:
    """Return how many bytes were allocated at most while an image was read or refused."""
    tracemalloc.reset_peak()
    before, _ = tracemalloc.get_traced_memory()
    with suppress(BadData):
        read(image)
    return tracemalloc.get_traced_memory()[1] - before


@pytest.fixture
def traced() -> Any:
    tracemalloc.start()
    yield
    tracemalloc.stop()


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", FORMS)
def test_harmed_bytes_are_read_or_bad_data_and_never_large(name: str) -> None:
    form, chance = FORMS[name], random.Random(name)
    for image in form.images:
        form.read(image)
    for _ in range(400):
        image = harmed(chance.choice(form.images), chance)
        assert peak_of(form.read, image) <= TIMES * len(image) + form.most + 4096, image


def framed(family: Family, payload: bytes, *parameters: int, flags: int = 1) -> bytes:
    hashed = seed_hash(SEED)
    return codec.encode(family, payload, flags=flags, parameters=parameters, seed_hash=hashed)


BOMBS = {
    "a Bloom filter of 20 bytes": (Bloom, framed(Family.BLOOM, b"", 7, 2**32 - 1)),
    "a Count-Min of 28 bytes": (CountMin, framed(Family.COUNT_MIN, bytes(8), 1, 2**26)),
    "a Count-Min with too many rows": (CountMin, framed(Family.COUNT_MIN, bytes(8), 32, 2**32 - 1)),
    "a growing filter that says it has room for 2**28 values": (
        GrowingBloom, framed(Family.GROWING_BLOOM, bytes(8), 2**28, 1, 1_100_000, 10_000, flags=0),
    ),
}  # fmt: skip


@pytest.mark.usefixtures("traced")
@pytest.mark.parametrize("name", BOMBS)
def test_an_image_that_says_it_is_huge_is_refused_before_anything_is_made_of_it(name: str) -> None:
    sketch, image = BOMBS[name]
    assert len(image) <= 40
    with pytest.raises(BadData):
        sketch.deserialize(image)
    assert peak_of(sketch.deserialize, image) < SMALL


@pytest.mark.usefixtures("traced")
def test_a_growing_filter_has_one_sparse_filter_at_most() -> None:
    """Each is an empty one of some megabytes, all but the last said to be full: 40 bytes a filter."""
    capacity = 2_000_000
    made, payload = GrowingBloom(capacity, 0.01, growth=4.0), bytes(8)
    for _ in range(3):
        one, room = made._filters[-1], made.capacity - made.members
        image = Bloom(one.num_hashes, one.num_bits).serialize()
        payload += struct.pack("<QQ", room, len(image)) + image
        made._added[-1] = room
        made._grow()
    image = framed(Family.GROWING_BLOOM, payload, capacity, 10_000, 4_000_000, 150_000, flags=0)
    with pytest.raises(BadData, match="full filter"):
        GrowingBloom.deserialize(image)


def test_a_filter_too_large_to_be_read_sparse_is_written_whole() -> None:
    limit = 8 * MAX_TABLE_BYTES
    for num_bits, is_short in ((limit, True), (limit + 1, False)):
        sketch = Bloom(3, num_bits)
        sketch.insert_many(HASHES[:10, 0])
        image = sketch.serialize()
        assert (len(image) < 1000) is is_short
        assert Bloom.deserialize(image).contains_many(HASHES[:10, 0]).all()


def test_a_top_k_makes_room_for_the_items_that_it_has() -> None:
    """The map of an image that says 2**24 would take 700 MB, in C++, where no tracing sees it."""
    script = f"""
import resource
from sketches.top_k import TopK
image = bytearray({bytes(top_k(3, 20))!r})
image[12] = image[19] = image[20] = 24
_, hard = resource.getrlimit(resource.RLIMIT_AS)
with open("/proc/self/statm") as told:
    used = int(told.read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (64 << 20), hard))
print(TopK.deserialize(bytes(image)).top(1))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.stdout.strip(), done.returncode) == ("[('item 2', 3, 3, 3)]", 0), done.stderr
