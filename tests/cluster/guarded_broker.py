"""A broker as strict ones are: logins, TLS, permissions, and a listener that leads nowhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from certificates import localhost_pem
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import (
    ACL,
    ACLOperation,
    ACLPermissionType,
    ResourcePattern,
    ResourceType,
    UserScramCredentialUpsertion,
)

from flink_job.machine.ports import free_port
from flink_job.sources.kafka_spec import KafkaSourceSpec
from flink_job.standalone.broker import Broker

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


def prepare(guarded: GuardedBroker) -> None:
    """Make topics, users and permissions."""
    client = KafkaAdminClient(bootstrap_servers=guarded.address)
    client.create_topics(
        {name: {"num_partitions": count} for name, count in TOPICS.items()}, wait_for_metadata=True
    )
    topic = ResourceType.TOPIC
    client.create_acls(
        [
            _permission(topic, "hidden", ACLOperation.READ, "bob"),
            _permission(topic, "unreadable", ACLOperation.DESCRIBE, "alice"),
            _permission(topic, "uncreatable", ACLOperation.DESCRIBE, "alice"),
            _permission(ResourceType.GROUP, "bobs", ACLOperation.READ, "bob"),
            _permission(ResourceType.CLUSTER, "kafka-cluster", ACLOperation.CREATE, "bob"),
        ]
    )
    client.alter_user_scram_credentials([UserScramCredentialUpsertion("carol", "SCRAM-SHA-256", "scrammed")])
    client.close()


def login(user: str, password: str, mechanism: str = "PLAIN") -> dict[str, str]:
    """Client properties of a user."""
    module = "plain.PlainLoginModule" if mechanism == "PLAIN" else "scram.ScramLoginModule"
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.jaas.config": f'{LOGINS}.{module} required username="{user}" password="{password}";',
    }


def source(brokers: str, **keys: Any) -> KafkaSourceSpec:
    """Return what a pipeline file says of a source."""
    return KafkaSourceSpec(type="kafka", brokers=brokers, **keys)


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


def _permission(kind: ResourceType, name: str, operation: ACLOperation, user: str) -> ACL:
    return ACL(f"User:{user}", "*", operation, ACLPermissionType.ALLOW, ResourcePattern(kind, name))
