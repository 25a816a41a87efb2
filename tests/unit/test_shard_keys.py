"""Keys of shards: where Flink puts them, against Flink's own assignment, and that they are spread evenly."""

from __future__ import annotations

from collections import Counter

import pytest
from pyflink.java_gateway import get_gateway

from operators.shard_keys import key_group, shard_key, shard_number, stream_of

STREAMS = ("views", "m@10", "rules", "été", "unique_users@3600000", "\U0001f600")


def flinks_key_group(key: str, key_groups: int) -> int:
    gateway = get_gateway()
    fields = gateway.new_array(gateway.jvm.Object, 1)
    fields[0] = key
    row = gateway.jvm.org.apache.flink.types.Row.of(fields)
    return gateway.jvm.org.apache.flink.runtime.state.KeyGroupRangeAssignment.assignToKeyGroup(
        row, key_groups
    )


@pytest.mark.parametrize("key_groups", [128, 77, 32768])
def test_a_key_is_in_the_key_group_that_flink_puts_it_into(key_groups: int) -> None:
    keys = ["", "a", *(f"{stream}/{number}" for stream in STREAMS for number in range(40))]
    assert [key_group(key, key_groups) for key in keys] == [flinks_key_group(key, key_groups) for key in keys]


@pytest.mark.parametrize("stream", STREAMS)
@pytest.mark.parametrize("workers", [1, 2, 4, 8])
@pytest.mark.parametrize("shards", [8, 16, 64])
def test_shards_are_spread_evenly_over_the_workers(stream: str, workers: int, shards: int) -> None:
    keys = [shard_key(stream, shard) for shard in range(shards)]
    assert len(set(keys)) == shards
    load = Counter(flinks_key_group(key, 128) * workers // 128 for key in keys)
    assert load == dict.fromkeys(range(workers), shards // workers)


def test_streams_of_one_shard_are_not_all_on_the_same_worker() -> None:
    load = Counter(key_group(shard_key(f"metric{number}", 0), 128) // 64 for number in range(100))
    assert min(load.values()) > 30


def test_a_key_tells_its_stream_and_its_shard() -> None:
    for stream in (*STREAMS, "a/b"):
        assert [stream_of(shard_key(stream, 12)), shard_number(shard_key(stream, 12))] == [stream, 12]
