"""The commands that talk to Kafka, against a real broker with logins, TLS and permissions."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from certificates import localhost_pem
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ConfigResource,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)
from processes import Run, wait_for

from flink_job.kafka_clients import connection
from flink_job.kafka_clients.topics import (
    BrokerProblem,
    KafkaProblem,
    TopicProblem,
    ensure_topic,
    partitions_of_sink,
    partitions_of_source,
)
from flink_job.machine.ports import free_port
from flink_job.simulation.simulation import Simulation, SimulatorSpec
from flink_job.sinks.kafka_spec import KafkaSinkSpec
from flink_job.sources.kafka_spec import KafkaSourceSpec
from flink_job.standalone.broker import Broker

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
PEM = localhost_pem()
LOGINS = "org.apache.kafka.common.security"
TOPICS = {"events-eu": 3, "events-us": 2, "orders": 1, "hidden": 1, "unreadable": 1}


class GuardedBroker(Broker):
    """A broker with four listeners: without login, with logins, with TLS, and one that leads nowhere."""

    def __init__(self, folder: Path) -> None:
        own, self.login, self.tls, self.lost = (f"localhost:{free_port()}" for _ in range(4))
        more = {"LOGIN": self.login, "TLS": self.tls, "LOST": self.lost}
        plain = f'{LOGINS}.plain.PlainLoginModule required user_alice="right" user_bob="secret";'
        super().__init__(
            folder,
            int(own.partition(":")[2]),
            {
                "listeners": ",".join(f"{name}://{address}" for name, address in more.items()),
                "listener.security.protocol.map": "LOGIN:SASL_PLAINTEXT,TLS:SSL,LOST:PLAINTEXT",
                "advertised.listeners": ",".join(
                    f"{name}://{address}"
                    for name, address in {"PLAINTEXT": own, **more, "LOST": "localhost:1"}.items()
                ),
                "listener.name.login.sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
                "listener.name.login.plain.sasl.jaas.config": plain,
                "listener.name.login.scram-sha-256.sasl.jaas.config": (
                    f"{LOGINS}.scram.ScramLoginModule required;"
                ),
                "listener.name.tls.ssl.keystore.type": "PEM",
                "listener.name.tls.ssl.keystore.location": str(PEM),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS",
                "allow.everyone.if.no.acl.found": "true",
            },
        )


def permission(kind: ResourceType, name: str, operation: ACLOperation, user: str) -> ACL:
    return ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))


@pytest.fixture(scope="module")
def guarded(broker_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    started = GuardedBroker(tmp_path_factory.mktemp("guarded"))
    started.start()
    yield started
    started.stop()


@pytest.fixture(scope="module")
def admin(guarded: GuardedBroker) -> Iterator[KafkaAdminClient]:
    """A client that may do everything, of a broker with topics, users and permissions."""
    client = KafkaAdminClient(bootstrap_servers=guarded.address)
    client.create_topics(
        {name: {"num_partitions": count} for name, count in TOPICS.items()}, wait_for_metadata=True
    )
    topic = ResourceType.TOPIC
    client.create_acls(
        [
            permission(topic, "hidden", ACLOperation.READ, "bob"),
            permission(topic, "unreadable", ACLOperation.DESCRIBE, "alice"),
            permission(topic, "uncreatable", ACLOperation.DESCRIBE, "alice"),
            permission(ResourceType.CLUSTER, "kafka-cluster", ACLOperation.CREATE, "bob"),
        ]
    )
    client.alter_user_scram_credentials([UserScramCredentialUpsertion("carol", "SCRAM-SHA-256", "scrammed")])
    yield client
    client.close()


def login(user: str, password: str, mechanism: str = "PLAIN") -> dict[str, str]:
    module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.jaas.config": f'{LOGINS}.{module} required username="{user}" password="{password}";',
    }


def source(brokers: str, **keys: Any) -> KafkaSourceSpec:
    return KafkaSourceSpec(type="kafka", brokers=brokers, **keys)


def sink(**keys: Any) -> KafkaSinkSpec:
    return KafkaSinkSpec(type="kafka", **keys)


def settings_of(admin: KafkaAdminClient, topic: str) -> dict[str, str]:
    found = admin.describe_configs([ConfigResource("topic", topic)])["topic"][topic]
    return {name: entry["value"] for name, entry in found.items()}


def messages(address: str, topic: str) -> dict[int, list[bytes]]:
    """Every committed message of a topic, by partition."""
    with KafkaConsumer(bootstrap_servers=address, isolation_level="read_committed") as consumer:
        parts = [TopicPartition(topic, number) for number in consumer.partitions_for_topic(topic)]
        consumer.assign(parts)
        consumer.seek_to_beginning()
        ends = consumer.end_offsets(parts)
        found: dict[int, list[bytes]] = {part.partition: [] for part in parts}
        while any(consumer.position(part) < ends[part] for part in parts):
            for part, records in consumer.poll(1000).items():
                found[part.partition] += [record.value for record in records]
        return found


@pytest.mark.parametrize(
    ("named", "expected"),
    [
        ({"topic": "events-eu"}, {"events-eu": 3}),
        ({"topics": ("orders", "events-us")}, {"orders": 1, "events-us": 2}),
        ({"pattern": "events-.*"}, {"events-eu": 3, "events-us": 2}),
        ({"pattern": "orders|hidden"}, {"orders": 1, "hidden": 1}),
    ],
)
def test_the_partitions_of_a_source_are_told(
    guarded: GuardedBroker, admin: KafkaAdminClient, named: dict[str, Any], expected: dict[str, int]
) -> None:
    assert partitions_of_source(source(guarded.address, **named)) == expected


def test_a_pattern_does_not_match_kafkas_own_topics(guarded: GuardedBroker, admin: KafkaAdminClient) -> None:
    with KafkaConsumer("orders", bootstrap_servers=guarded.address, group_id="a group") as consumer:
        wait_for(
            lambda: (consumer.poll(100), "__consumer_offsets" in admin.list_topics())[1], "its own topic"
        )

    assert set(partitions_of_source(source(guarded.address, pattern=".*"))) >= {"orders", "events-eu"}
    assert "__consumer_offsets" not in partitions_of_source(source(guarded.address, pattern=".*"))


def test_logins_and_tls_reach_the_same_topics(guarded: GuardedBroker, admin: KafkaAdminClient) -> None:
    trusted = {
        "security.protocol": "SSL",
        "ssl.truststore.type": "PEM",
        "ssl.truststore.location": str(PEM),
    }
    ways = [
        (guarded.login, login("alice", "right")),
        (guarded.login, login("carol", "scrammed", "SCRAM-SHA-256")),
        (guarded.tls, trusted),
    ]
    for brokers, properties in ways:
        found = partitions_of_source(source(brokers, topic="events-eu", properties=properties))
        assert found == {"events-eu": 3}


@pytest.mark.parametrize(
    ("listener", "properties", "told"),
    [
        ("login", login("alice", "wrong"), "refuses the login of sasl.jaas.config"),
        ("login", login("carol", "wrong", "SCRAM-SHA-256"), "refuses the login of sasl.jaas.config"),
        ("login", login("alice", "wrong", "SCRAM-SHA-512"), "takes logins by PLAIN, SCRAM-SHA-256, but"),
        ("login", {}, "asks for a login (PLAIN, SCRAM-SHA-256), but security.protocol is PLAINTEXT"),
        ("tls", {}, "takes TLS only, but security.protocol is PLAINTEXT"),
        ("tls", {"security.protocol": "SSL"}, "is not trusted: self"),
        ("address", {"security.protocol": "SSL"}, "takes no TLS, but security.protocol is SSL"),
        ("address", login("alice", "right"), "takes no login, but security.protocol is SASL_PLAINTEXT"),
        ("lost", {}, "says that it is to be reached at localhost:1, but there it does not answer"),
    ],
)
def test_a_broker_that_cannot_be_talked_to_is_told_with_the_reason(
    guarded: GuardedBroker,
    admin: KafkaAdminClient,
    monkeypatch: pytest.MonkeyPatch,
    listener: str,
    properties: dict[str, str],
    told: str,
) -> None:
    monkeypatch.setattr(connection, "_ANSWER_S", 1.5)
    with pytest.raises(BrokerProblem) as caught:
        partitions_of_source(source(getattr(guarded, listener), topic="orders", properties=properties))

    assert told in caught.value.message
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize(
    ("named", "told"),
    [
        ({"topic": "order"}, "The topic order is not there at {0}; there are orders, "),
        ({"topics": ("orders", "event-us")}, "The topic event-us is not there at {0}; there are events-us, "),
        ({"pattern": "event"}, "No topic at {0} matches the pattern 'event' as a whole; there are events-"),
        ({"topic": "unreadable"}, "may not be read by this user; permissions: Describe."),
        ({"topic": "hidden"}, "may not be seen by this user, or is not there: permission Describe"),
        ({"pattern": "un.*"}, "The topic unreadable at {0} may not be read by this user"),
    ],
)
def test_a_source_that_cannot_be_read_is_told_with_the_reason(
    guarded: GuardedBroker, admin: KafkaAdminClient, named: dict[str, Any], told: str
) -> None:
    with pytest.raises(TopicProblem) as caught:
        partitions_of_source(source(guarded.login, properties=login("alice", "right"), **named))

    assert told.format(guarded.login) in caught.value.message
    assert "hidden" not in caught.value.message or named == {"topic": "hidden"}


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


def test_simulated_events_reach_the_topic_each_once_and_evenly(
    guarded: GuardedBroker, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    admin.create_topics({"shop": {"num_partitions": 3}}, wait_for_metadata=True)
    options = ("--events", "3000", "--bad-share", "0.05", "--to", f"kafka://{guarded.address}/shop")
    run = Run(tmp_path, "simulate", *options, "--property", "client.id=simulation")

    assert run.wait() == 0, run.err
    assert re.fullmatch(
        rf"topic shop at {guarded.address}: 3,000 events in 3,000 messages acknowledged in .*\n", run.err
    )
    found = messages(guarded.address, "shop")
    assert [len(values) for values in found.values()] == [1000, 1000, 1000]
    dealt = [found[number % 3][number // 3] for number in range(3000)]
    expected = Simulation(SimulatorSpec(events=3000, bad_share=0.05)).chunk(0, 3000)
    assert b"".join(value + b"\n" for value in dealt) == expected


def test_messages_of_many_events_reach_it_through_a_login(
    guarded: GuardedBroker, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    admin.create_topics(["lines"], wait_for_metadata=True)
    properties = [f"--property={key}={value}" for key, value in login("alice", "right").items()]
    options = ("--events", "1050", "--events-per-message", "100", "--to", f"kafka://{guarded.login}/lines")
    run = Run(tmp_path, "simulate", *options, *properties)

    assert run.wait() == 0, run.err
    (found,) = messages(guarded.address, "lines").values()
    assert [value.count(b"\n") + 1 for value in found] == [100] * 10 + [50]
    assert b"".join(value + b"\n" for value in found) == Simulation(SimulatorSpec(events=1050)).chunk(0, 1050)


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("kafka://{0.address}/shops", "The topic shops is not there at {0.address}; there are "),
        ("kafka://localhost:1/shop", "No Kafka broker can be reached: localhost:1: Connection refused."),
        ("kafka://{0.login}/shop", "asks for a login (PLAIN, SCRAM-SHA-256)"),
    ],
)
def test_simulate_says_why_it_cannot_send(
    guarded: GuardedBroker, admin: KafkaAdminClient, tmp_path: Path, target: str, told: str
) -> None:
    run = Run(tmp_path, "simulate", "--events", "1", "--to", target.format(guarded))

    assert (run.wait(), run.out) == (1, "")
    assert told.format(guarded) in run.err
    assert len(run.err.splitlines()) == 2


def test_ctrl_c_ends_a_simulation_with_all_that_was_sent_in_the_topic(
    guarded: GuardedBroker, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    admin.create_topics(["stopped"], wait_for_metadata=True)
    run = Run(tmp_path, "simulate", "--rate", "500", "--to", f"kafka://{guarded.address}/stopped")
    wait_for(lambda: messages(guarded.address, "stopped")[0], "events in the topic")
    run.interrupt()

    assert run.wait() == 0, run.err
    (told,) = re.findall(r"stopped: ([\d,]+) events in \1 messages acknowledged", run.err)
    assert len(messages(guarded.address, "stopped")[0]) == int(told.replace(",", "")) < 100_000


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


# The last ones, as they end the broker.
@pytest.mark.slow
def test_a_broker_that_restarts_costs_no_event_and_doubles_none(
    guarded: GuardedBroker, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    admin.create_topics({"restarted": {"num_partitions": 2}}, wait_for_metadata=True)
    options = ("--events", "8000", "--rate", "2000", "--to", f"kafka://{guarded.address}/restarted")
    run = Run(tmp_path, "simulate", *options)
    wait_for(lambda: sum(map(len, messages(guarded.address, "restarted").values())), "events in the topic")
    guarded.kill()
    guarded.start()

    assert run.wait() == 0, run.err
    values = [value for values in messages(guarded.address, "restarted").values() for value in values]
    counts = Counter(json.loads(value)["event_id"] for value in values)
    assert len(counts) == 8000 and set(counts.values()) == {1}


def test_a_broker_that_is_gone_is_told_with_how_much_is_acknowledged(
    guarded: GuardedBroker, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    admin.create_topics(["gone"], wait_for_metadata=True)
    options = ("--rate", "500", "--to", f"kafka://{guarded.address}/gone")
    patience = ("--property=delivery.timeout.ms=3000", "--property=request.timeout.ms=1000")
    run = Run(tmp_path, "simulate", *options, *patience)
    wait_for(lambda: messages(guarded.address, "gone")[0], "events in the topic")
    guarded.kill()

    assert run.wait(60) == 1
    told = re.search(r"did not take a message: \w+\. Of ([\d,]+) messages ([\d,]+) are acknowledged", run.err)
    assert told is not None, run.err
    sent, acknowledged = (int(number.replace(",", "")) for number in told.groups())
    assert 0 < acknowledged < sent
    assert "Traceback" not in run.err
    with pytest.raises(KafkaProblem, match="No Kafka broker can be reached"):
        partitions_of_source(source(guarded.address, topic="orders"))
