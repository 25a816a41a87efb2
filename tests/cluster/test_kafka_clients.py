"""How a broker is reached, and why one cannot be, or a topic not be read."""

from __future__ import annotations

from typing import Any

import pytest
from guarded_broker import PEM, GuardedBroker, login, source
from kafka import KafkaAdminClient, KafkaConsumer
from waiting import wait_for

from flink_job.kafka_clients import connection
from flink_job.kafka_clients.topics import BrokerProblem, TopicProblem, partitions_of_source

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


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
    monkeypatch.setattr(connection, "_ANSWER_S", 4)
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
