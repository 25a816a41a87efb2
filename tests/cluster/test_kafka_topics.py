"""Topics of sinks: made where the pipeline says so, and what is told where they cannot be."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from guarded_broker import GuardedBroker, login
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource
from processes import Run

from flink_job.kafka_clients.topics import TopicProblem, ensure_topic, partitions_of_sink
from flink_job.sinks.kafka_spec import KafkaSinkSpec

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def sink(**keys: Any) -> KafkaSinkSpec:
    return KafkaSinkSpec(type="kafka", **keys)


def settings_of(admin: KafkaAdminClient, topic: str) -> dict[str, str]:
    found = admin.describe_configs([ConfigResource("topic", topic)])["topic"][topic]
    return {name: entry["value"] for name, entry in found.items()}


def test_a_compacted_topic_is_created_with_what_results_need(
    guarded: GuardedBroker, admin: KafkaAdminClient
) -> None:
    wanted = sink(topic="answers", create=True, partitions=3, replication=1)

    assert partitions_of_sink(wanted, guarded.address, compacted=True) is None
    assert "answers" not in admin.list_topics()
    assert ensure_topic(wanted, guarded.address, compacted=True) == 3
    assert settings_of(admin, "answers") == {
        "cleanup.policy": "compact",
        "min.compaction.lag.ms": "86400000",
        "min.cleanable.dirty.ratio": "0.1",
        "segment.ms": "21600000",
    }
    assert ensure_topic(wanted.model_copy(update={"partitions": 5}), guarded.address, compacted=False) == 3
    assert settings_of(admin, "answers")["cleanup.policy"] == "compact"
    assert partitions_of_sink(wanted, guarded.address, compacted=True) == 3


def test_a_topic_of_lines_is_created_with_the_brokers_own_partitions_and_retention(
    guarded: GuardedBroker, admin: KafkaAdminClient
) -> None:
    assert ensure_topic(sink(topic="rejects", create=True), guarded.address, compacted=False) == 1
    assert set(settings_of(admin, "rejects")) <= {"cleanup.policy"}
    (described,) = admin.describe_topics(["rejects"])
    assert len(described["partitions"][0]["replica_nodes"]) == 1


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"topic": "absent"}, "The topic absent is not there at {0}; there are "),
        ({"topic": "unreadable"}, "may not be written by this user; permissions: Describe."),
        ({"topic": "uncreatable", "create": True}, "is not there at {0}, and this user may not create it"),
        (
            {"topic": "two", "create": True, "replication": 2},
            "partitions as the broker has it, replication 2: ",
        ),
        ({"topic": "..", "create": True}, "The broker at {0} takes '..' for no name of a topic"),
    ],
)
def test_a_sink_that_cannot_be_written_is_told_with_the_reason(
    guarded: GuardedBroker, admin: KafkaAdminClient, keys: dict[str, Any], told: str
) -> None:
    spec = sink(properties=login("alice", "right"), **keys)
    for look in (ensure_topic, partitions_of_sink):
        with pytest.raises(TopicProblem) as caught:
            look(spec, guarded.login, compacted=True)
        assert told.format(guarded.login) in caught.value.message
    if not spec.create:
        assert "create: true" in caught.value.remedy or "granted" in caught.value.remedy
    assert not {"absent", "two", "uncreatable"} & set(admin.list_topics())


def test_doctor_says_what_of_a_pipelines_topics_is_in_the_way(
    guarded: GuardedBroker, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    alice = login("alice", "right")
    pipeline = {
        "name": "shop",
        "source": {"type": "kafka", "brokers": guarded.login, "pattern": "events-.*", "properties": alice},
        "event": {"fields": {"user_id": "string", "ts": "long"}, "time": {"field": "ts", "unit": "ms"}},
        "metrics": [{"name": "users", "kind": "distinct", "of": "user_id", "windows": [{"tumbling": "1m"}]}],
        "sinks": {
            "results": {"type": "kafka", "topic": "made-for-results", "create": True},
            "late": {"type": "kafka", "topic": "unreadable"},
            "rejects": {"type": "kafka", "topic": "orders", "brokers": guarded.address},
        },
    }  # fmt: skip
    (tmp_path / "shop.yaml").write_text(yaml.safe_dump(pipeline))

    run = Run(tmp_path, "doctor", "shop.yaml", "--json")

    assert run.wait() == 1
    assert "right" not in run.out + run.err
    found = [finding for finding in json.loads(run.out) if re.match("broker$|source|sink", finding["name"])]
    assert [(finding["name"], finding["status"]) for finding in found] == [
        ("broker", "ok"), ("source", "ok"), ("sink of results", "ok"), ("sink of late", "fail"),
        ("broker", "ok"), ("sink of rejects", "ok"),
    ]  # fmt: skip
    assert found[1]["detail"] == "events-eu: 3 partitions, events-us: 2 partitions"
    assert "may not be written" in found[3]["detail"]
    assert "made-for-results" not in admin.list_topics()
