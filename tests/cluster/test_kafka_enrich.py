"""Enriched events through a real broker: each once, new exactly where its user is, in the order of its user.

All of that also across a savepoint and another parallelism.
"""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from pathlib import Path
from zlib import crc32

import pytest
from clusters import start, stop
from processes import Run, write_pipeline
from topics import CommittedReader, Message, make_topic, read_committed, send
from waiting import wait_for

from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(300)]

EVENTS, USERS, PARTITIONS, PARTITIONS_OUT = 6_000, 700, 3, 4


def test_users_are_new_once_keep_their_order_and_counts_go_on_after_a_savepoint_at_another_parallelism(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    chance, now_ms = random.Random(3), time.time_ns() // 10**6
    users = [
        None if chance.random() < 0.02 else f"J\u00fcrgen {chance.randrange(USERS)}" for _ in range(EVENTS)
    ]
    messages = [
        Message(
            json.dumps({"user": user, "action": "visit", "n": n, "t": now_ms}).encode(),
            crc32(str(user).encode()) % PARTITIONS,
        )
        for n, user in enumerate(users)
    ]
    make_topic(broker.address, "views", PARTITIONS)
    write_pipeline(tmp_path, pipeline(broker.address))

    send(broker.address, "views", messages[: EVENTS // 2])
    run = start(runs, tmp_path, flink_cluster)
    wait_for(lambda: len(read_committed(broker.address, "enriched")) == EVENTS // 2, "half of the events")
    stop(run)
    send(broker.address, "views", messages[EVENTS // 2 :])
    last = start(runs, tmp_path, flink_cluster, "--from", "latest", "--set", "parallelism=1")
    wait_for(lambda: len(read_committed(broker.address, "enriched")) >= EVENTS, "all events")
    stop(last)

    with CommittedReader(broker.address, "enriched") as reader:
        events = reader.read_all()
    assert sorted(event["n"] for event in events) == list(range(EVENTS))
    of_user: dict[str, list[int]] = defaultdict(list)
    partitions: dict[str, set[int]] = defaultdict(set)
    for event, message in zip(events, reader.messages, strict=True):
        assert message.key == (None if event["user"] is None else event["user"].encode())
        if event["user"] is not None:
            of_user[event["user"]].append(event["n"])  # in the order of their partition
            partitions[event["user"]].add(message.partition)
    assert all(len(own) == 1 for own in partitions.values())
    assert {message.partition for message in reader.messages} == set(range(PARTITIONS_OUT))
    assert all(numbers == sorted(numbers) for numbers in of_user.values())
    assert Counter(event["user"] for event in events if event["is_new_user"]) == dict.fromkeys(of_user, 1)
    assert all(next(e for e in events if e["n"] == min(own))["is_new_user"] for own in of_user.values())
    assert sorted(event["visit_count_est"] for event in events) == list(range(1, EVENTS + 1))
    assert max(event["unique_users_est"] for event in events) == pytest.approx(len(of_user), rel=0.01)


def pipeline(address: str) -> dict[str, object]:
    outputs = {"results": "visit-results", "late": "visit-late", "rejects": "visit-rejects"}
    sinks = {output: {"type": "kafka", "topic": t, "create": True} for output, t in outputs.items()}
    sinks["enriched"] = {"type": "kafka", "topic": "enriched", "create": True, "partitions": PARTITIONS_OUT}
    return {
        "name": "views",
        "parallelism": 2,
        "checkpoints": {"every": "1s"},
        "source": {"type": "kafka", "brokers": address, "topic": "views"},
        "event": {
            "fields": {"user": "string", "action": "string", "n": "long", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
        },
        "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1h"}]}],
        "enrich": {"user": "user", "action": "action", "exact": True},
        "sinks": sinks,
    }
