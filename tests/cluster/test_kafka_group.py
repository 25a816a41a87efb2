"""What a run has read to the end is committed to its group, whatever became of Flink's own commits."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from guarded_broker import GuardedBroker, login, source
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.structs import OffsetAndMetadata
from processes import Run, write_pipeline
from topics import Message, make_topic, send
from waiting import wait_for

from flink_job.kafka_clients.group_offsets import commit_at_least, ends
from flink_job.kafka_clients.problem import KafkaProblem
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def committed(address: str, group: str, topic: str, partitions: int) -> list[int | None]:
    """What a consumer of the group is told."""
    with KafkaConsumer(bootstrap_servers=address, group_id=group) as consumer:
        return [consumer.committed(TopicPartition(topic, n)) for n in range(partitions)]


def test_a_topic_ends_before_a_transaction_that_is_open(guarded: GuardedBroker) -> None:
    make_topic(guarded.address, "half", 2)
    send(guarded.address, "half", [Message(b"x", i % 2) for i in range(10)])
    with KafkaProducer(bootstrap_servers=guarded.address, transactional_id="open") as producer:
        producer.init_transactions()
        producer.begin_transaction()
        producer.send("half", b"y", partition=1).get(timeout=20)
        during = ends(source(guarded.address, topic="half"), {"half": 2})
        producer.commit_transaction()

    assert during == {TopicPartition("half", 0): 5, TopicPartition("half", 1): 5}
    # The message, and the mark of its transaction, which comes a moment later.
    after = {TopicPartition("half", 0): 5, TopicPartition("half", 1): 7}
    wait_for(
        lambda: ends(source(guarded.address, topic="half"), {"half": 2}) == after, "the transaction's end"
    )


def test_a_group_is_brought_up_to_where_it_has_read_and_never_back(
    guarded: GuardedBroker, admin: KafkaAdminClient
) -> None:
    make_topic(guarded.address, "read", 3)
    send(guarded.address, "read", [Message(b"x", i % 3) for i in range(30)])
    before = {0: 2, 1: 9}
    with KafkaConsumer(bootstrap_servers=guarded.address, group_id="readers") as consumer:
        consumer.commit(
            {TopicPartition("read", n): OffsetAndMetadata(at, "", -1) for n, at in before.items()}
        )
    reached = {TopicPartition("read", n): 5 for n in range(3)}

    told = commit_at_least(source(guarded.address, topic="read"), "readers", reached)

    assert told == {TopicPartition("read", 0): 5, TopicPartition("read", 2): 5}
    assert committed(guarded.address, "readers", "read", 3) == [5, 9, 5]
    assert commit_at_least(source(guarded.address, topic="read"), "readers", reached) == {}


def test_a_group_in_use_is_left_alone(guarded: GuardedBroker, admin: KafkaAdminClient) -> None:
    make_topic(guarded.address, "used", 1)
    send(guarded.address, "used", [Message(b"x")])
    with KafkaConsumer("used", bootstrap_servers=guarded.address, group_id="users") as consumer:
        consumer.poll(5000)
        with pytest.raises(KafkaProblem, match=r"refuses offsets of the group users: \w+\."):
            commit_at_least(source(guarded.address, topic="used"), "users", {TopicPartition("used", 0): 1})


@pytest.mark.parametrize(
    ("group", "where", "told"), [("all", "here", False), ("bobs", "here", True), ("bobs", "cluster", True)]
)
def test_a_run_says_where_it_does_not_know_that_its_group_is_up_to_date(
    guarded: GuardedBroker,
    admin: KafkaAdminClient,
    flink_cluster: FlinkCluster,
    runs: list[Run],
    tmp_path: Path,
    group: str,
    where: str,
    told: bool,
) -> None:
    topic = f"run-of-{group}-{where}"
    make_topic(guarded.address, topic, 2)
    event = json.dumps({"user": "u", "t": time.time_ns() // 10**6}).encode()
    send(guarded.address, topic, [Message(event, i % 2) for i in range(30)])
    write_pipeline(
        tmp_path,
        {
            "name": topic,
            "source": {
                "type": "kafka",
                "brokers": guarded.login,
                "topic": topic,
                "group": group,
                "stop": "latest",
                "properties": login("alice", "right"),
            },
            "event": {"fields": {"user": "string", "t": "long"}, "time": {"field": "t", "unit": "ms"}},
            "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1d"}]}],
        },
    )
    options = ("--port", "0") if where == "here" else ("--cluster", flink_cluster.address)
    run = Run(tmp_path, "run", "pipeline.yaml", "--json", *options)
    runs.append(run)

    assert run.wait() == 0, run.err
    assert ("whether all that was read is committed to the group bobs is not known" in run.err) == told
    assert committed(guarded.address, group, topic, 2) == [None if told else 15] * 2
