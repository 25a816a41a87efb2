"""Sending to a topic, with a producer of our own in place of kafka-python's."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
from click.testing import CliRunner, Result
from kafka.errors import KafkaTimeoutError, MessageSizeTooLargeError, NotLeaderForPartitionError
from kafka.producer.future import FutureProduceResult, FutureRecordMetadata
from kafka.structs import TopicPartition

from flink_job.cli import main
from flink_job.commands.produce import key_reader, no_key, read_properties, send_events
from flink_job.kafka_clients import producing
from flink_job.kafka_clients.problem import KafkaProblem
from flink_job.kafka_clients.producing import Destination, Outbox
from flink_job.simulation.simulation import Simulation, SimulatorSpec

TARGET = Destination("a:1,b:2", "events")


class Producer:
    """Takes messages; `lose` are the numbers of those that come to nothing, `hold` keeps all unanswered."""

    made: Producer
    answers_when_flushed = False

    def __init__(self, **options: Any) -> None:
        Producer.made = self
        self.options, self.messages, self.keys, self.lose = options, [], [], set()
        self.hold = self.answers_when_flushed
        self.waiting: list[FutureProduceResult] = []
        self.closed = 0

    def send(
        self, topic: str, value: bytes, key: bytes | None, partition: int | None
    ) -> FutureRecordMetadata:
        if len(value) > 1_000_000:
            raise MessageSizeTooLargeError("too large")
        result = FutureProduceResult(TopicPartition(topic, partition))
        future = FutureRecordMetadata(result, 0, 0, None, -1, len(value), -1)
        self.messages.append((partition, value))
        self.keys.append(key)
        if len(self.messages) - 1 in self.lose:
            result.failure(NotLeaderForPartitionError())
        elif self.hold:
            self.waiting.append(result)
        else:
            result.success((0, -1, None))
        return future

    def answer(self) -> None:
        while self.waiting:
            self.waiting.pop(0).success((0, -1, None))

    def flush(self, timeout: float) -> None:
        if self.answers_when_flushed:
            self.answer()
        if self.waiting:
            raise KafkaTimeoutError()

    def close(self, timeout: float) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def three_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producing, "_Producer", Producer)
    monkeypatch.setattr(producing, "partitions_of_target", lambda topic, brokers, properties: 3)
    monkeypatch.setattr(producing, "explained", lambda brokers, options: nullcontext())


def simulate(*arguments: str) -> Result:
    ran = CliRunner().invoke(main, ("simulate", *arguments))
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.exception
    return ran


@contextmanager
def signalled(number: int, after_s: float) -> Iterator[None]:
    timer = threading.Timer(after_s, os.kill, (os.getpid(), number))
    timer.start()
    yield
    timer.join()


def test_every_event_is_sent_once_to_the_partitions_in_turn() -> None:
    spec = SimulatorSpec(events=5_003, bad_share=0.1)
    seen: list[int] = []

    sent = send_events(spec, TARGET, {}, 1, seen.append, no_key)

    producer = Producer.made
    assert b"".join(value + b"\n" for _, value in producer.messages) == Simulation(spec).chunk(0, 5_003)
    assert [partition for partition, _ in producer.messages] == [number % 3 for number in range(5_003)]
    assert (sent.events, sent.messages, sent.stopped) == (5_003, 5_003, False)
    assert seen == [2_000, 4_000, 5_003]
    assert producer.closed


@pytest.mark.parametrize("per_message", [2, 7, 100, 2_001, 100_000])
def test_messages_of_many_events_hold_each_once(per_message: int) -> None:
    spec = SimulatorSpec(events=4_500)

    sent = send_events(spec, TARGET, {}, per_message, lambda done: None, no_key)

    held = [value.split(b"\n") for _, value in Producer.made.messages]
    assert [len(lines) for lines in held[:-1]] == [per_message] * (len(held) - 1)
    assert b"".join(line + b"\n" for lines in held for line in lines) == Simulation(spec).chunk(0, 4_500)
    assert (sent.events, sent.messages) == (4_500, -(-4_500 // per_message))


@pytest.mark.parametrize("scenario", ["shop", "payments"])
def test_a_key_is_the_text_of_its_field_and_has_no_partition_of_ours(scenario: str) -> None:
    spec = SimulatorSpec(scenario=scenario, events=500)

    send_events(spec, TARGET, {}, 1, lambda done: None, key_reader(spec, "user_id"))

    producer = Producer.made
    assert producer.keys == [json.loads(value)["user_id"].encode() for _, value in producer.messages]
    assert {partition for partition, _ in producer.messages} == {None}


@pytest.mark.parametrize(
    ("scenario", "field", "is_readable"),
    [
        ("payments", "user_id", lambda event: b'"user_id"' in event),
        ("shop", "user_id", lambda event: b'"user_id"' in event),
        ("shop", "item_id", lambda event: b"\xff" not in event),
    ],
)
def test_bad_events_without_a_key_go_to_the_partitions_in_turn(
    scenario: str, field: str, is_readable: Callable[[bytes], bool]
) -> None:
    spec = SimulatorSpec(scenario=scenario, events=5_000, bad_share=0.2)

    send_events(spec, TARGET, {}, 1, lambda done: None, key_reader(spec, field))

    producer = Producer.made
    without = {number for number, key in enumerate(producer.keys) if key is None}
    assert 300 < len(without) < 600
    for number, (partition, event) in enumerate(producer.messages):
        assert (number in without) == (not event.endswith(b"}") or not is_readable(event))
        assert partition == (number % 3 if number in without else None)


def test_a_number_is_a_key_by_its_digits() -> None:
    spec = SimulatorSpec()
    first, second = Simulation(spec).chunk(0, 2).splitlines()

    assert key_reader(spec, "ts")(first) == b"1767225600000"
    assert key_reader(spec, "ts")(second) == b"1767225600010"


@pytest.mark.parametrize(
    ("scenario", "allowed"),
    [
        ("shop", "event_id, user_id, action, item_id, value, quantity, ts"),
        ("payments", "payment_id, user_id, card_id, amount, country, merchant, lat, lon, ts"),
    ],
)
def test_any_field_that_every_good_event_has_may_be_the_key(scenario: str, allowed: str) -> None:
    spec = SimulatorSpec(scenario=scenario, events=5_000)
    events = [json.loads(line) for line in Simulation(spec).chunk(0, 5_000).splitlines()]

    assert set(allowed.split(", ")) == set.intersection(*(set(event) for event in events))
    ran = simulate("--scenario", scenario, "--to", "kafka://a:1/e", "--key", "planted")
    assert ran.exit_code == 2
    assert f"--key: expected one of {allowed}, got 'planted'" in ran.stderr


def test_what_is_acknowledged_last_counts_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Producer, "answers_when_flushed", True)

    sent = send_events(SimulatorSpec(events=50), TARGET, {}, 1, lambda done: None, no_key)

    assert (sent.events, sent.messages) == (50, 50)


def test_the_producer_is_a_durable_one_and_properties_come_before_the_defaults() -> None:
    Outbox(TARGET, {})
    assert Producer.made.options["acks"] == "all"
    assert Producer.made.options["bootstrap_servers"] == ["a:1", "b:2"]
    assert not Producer.made.options["allow_auto_create_topics"]

    Outbox(TARGET, {"acks": "1", "client.id": "shop"})
    assert (Producer.made.options["acks"], Producer.made.options["client_id"]) == (1, "shop")


def test_a_rate_is_kept() -> None:
    began = time.monotonic()

    sent = send_events(SimulatorSpec(events=300, rate=600), TARGET, {}, 1, lambda done: None, no_key)

    assert sent.events == 300
    assert 0.45 < time.monotonic() - began < 3


def test_a_message_that_is_lost_ends_it_and_says_how_many_are_there() -> None:
    outbox = Outbox(TARGET, {})
    Producer.made.lose = {3}

    for number in range(6):
        outbox.send(b"%d" % number)
    with pytest.raises(KafkaProblem) as caught:
        outbox.finish(1)

    assert caught.value.message == (
        "The topic events at a:1,b:2 did not take a message: NotLeaderForPartitionError. "
        "Of 6 messages 5 are acknowledged."
    )
    assert Producer.made.closed


def test_messages_that_nobody_answers_for_are_told() -> None:
    outbox = Outbox(TARGET, {})
    outbox.send(b"1")
    Producer.made.hold = True
    outbox.send(b"2")

    with pytest.raises(KafkaProblem, match=r"KafkaTimeoutError\. Of 2 messages 1 are acknowledged"):
        outbox.finish(0.1)


def test_only_so_many_messages_are_under_way_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(producing, "_MOST_UNDER_WAY", 10)
    outbox = Outbox(TARGET, {})
    producer = Producer.made
    producer.hold = True
    for _ in range(10):
        outbox.send(b"x")
    sender = threading.Thread(target=lambda: outbox.send(b"the eleventh"))
    sender.start()
    sender.join(0.2)
    assert sender.is_alive()

    producer.answer()
    sender.join(5)
    assert not sender.is_alive()
    assert (outbox.sent, outbox.acknowledged) == (11, 11)


def test_a_message_that_is_too_large_says_what_to_do() -> None:
    with pytest.raises(KafkaProblem, match=r"larger than.*\nPut fewer events in a message"):
        Outbox(TARGET, {}).send(b"x" * 1_000_001)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_after_all_that_was_sent_is_acknowledged(number: int) -> None:
    before = signal.getsignal(number)
    with signalled(number, 0.5):
        ran = simulate("--to", "kafka://a:1/events", "--events", "100000", "--rate", "100")

    sent = len(Producer.made.messages)
    assert 5 <= sent < 5_000
    assert ran.exit_code == 0
    assert f"topic events at a:1: stopped: {sent:,} events in {sent:,} messages acknowledged" in ran.stderr
    assert signal.getsignal(number) is before


def test_the_command_tells_what_was_acknowledged_on_standard_error_alone() -> None:
    ran = simulate("--to", "kafka://a:1,b:2/events", "--events", "250", "--events-per-message", "100")

    assert (ran.exit_code, ran.stdout) == (0, "")
    assert ran.stderr.startswith("topic events at a:1,b:2: 250 events in 3 messages acknowledged in ")
    assert [json.loads(line) for _, value in Producer.made.messages for line in value.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (
            ("--to", "kafka://a/events"),
            2,
            "--to: expected kafka://HOST:PORT/TOPIC, several brokers by commas",
        ),
        (("--to", "kafka:a:1"), 2, "--to: expected kafka://HOST:PORT/TOPIC"),
        (("--to", "kafka://a:1/e v"), 2, "--to: expected kafka://HOST:PORT/TOPIC"),
        (("--to", "kafka://a:1/e", "--property", "s3cret"), 2, "--property: expected KEY=VALUE"),
        (("--to", "kafka://a:1/e", "--property", "ack=1"), 1, "properties: ack: is not known"),
        (("--to", "-", "--events-per-message", "2"), 2, "are for --to kafka://HOST:PORT/TOPIC"),
        (("--property", "acks=1"), 2, "are for --to kafka://HOST:PORT/TOPIC"),
        (("--key", "user_id"), 2, "are for --to kafka://HOST:PORT/TOPIC"),
        (
            ("--to", "kafka://a:1/e", "--key", "user_id", "--events-per-message", "2"),
            2,
            "--key is for one event in a message, not with --events-per-message above 1",
        ),
        (("--to", "kafka://a:1/e", "--events-per-message", "0"), 2, "0 is not in the range"),
    ],
)
def test_what_it_cannot_do_is_told(arguments: tuple[str, ...], code: int, told: str) -> None:
    ran = simulate("--events", "3", *arguments)

    assert (ran.exit_code, ran.stdout) == (code, "")
    assert told in ran.stderr and "s3cret" not in ran.stderr


def test_a_property_may_have_an_equals_sign_in_its_value() -> None:
    assert read_properties(["sasl.jaas.config=x required a=b;", " client.id = y"]) == {
        "sasl.jaas.config": "x required a=b;",
        "client.id": " y",
    }
