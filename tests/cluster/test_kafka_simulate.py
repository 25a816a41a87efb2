"""`simulate --to kafka://...`: each event once, also where the broker restarts; and why it cannot send."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path

import pytest
from guarded_broker import GuardedBroker, login, messages
from kafka import KafkaAdminClient
from processes import Run
from waiting import wait_for

from flink_job.kafka_clients.topics import KafkaProblem, partitions_of_source
from flink_job.simulation.simulation import Simulation, SimulatorSpec
from flink_job.sources.kafka_spec import KafkaSourceSpec

# What `BuiltInPartitioner.partitionForKey(key, 3)` of kafka-clients 4.1.0, in Java, answers.
JAVAS_PARTITIONS = {"u000000000013": 0, "u000000000050": 2, "u000000000139": 1, "u000000000216": 1}

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


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


def test_payments_of_a_user_are_in_one_partition_in_order(
    guarded: GuardedBroker, admin: KafkaAdminClient, tmp_path: Path
) -> None:
    options = ("--scenario", "payments", "--events", "9000", "--users", "3000", "--key", "user_id")
    run = Run(tmp_path, "simulate", *options, "--partitions", "3", "--to", f"kafka://{guarded.address}/keyed")

    assert run.wait() == 0, run.err
    partitions, numbers = defaultdict(set), defaultdict(list)
    for partition, values in messages(guarded.address, "keyed").items():
        for payment in map(json.loads, values):
            partitions[payment["user_id"]].add(partition)
            numbers[payment["user_id"]].append(payment["payment_id"])
    assert sum(map(len, numbers.values())) == 9000
    assert all(len(found) == 1 for found in partitions.values())
    assert all(of_user == sorted(of_user) for of_user in numbers.values())
    assert {user: partitions[user] for user in JAVAS_PARTITIONS} == {
        user: {partition} for user, partition in JAVAS_PARTITIONS.items()
    }


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


# The last ones, as they end the broker.
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
        partitions_of_source(KafkaSourceSpec(type="kafka", brokers=guarded.address, topic="orders"))
