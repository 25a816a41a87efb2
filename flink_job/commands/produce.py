"""`sketchstream simulate --to kafka://...`: simulated events sent to a topic, each one accounted for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import msgspec

from flink_job.commands.interrupts import interrupts
from flink_job.commands.simulate import WRITES_PER_S, chunks
from flink_job.kafka_clients.producing import Destination, Outbox
from flink_job.kafka_clients.topics import ensure_topic
from flink_job.simulation.simulation import Simulation, SimulatorSpec
from flink_job.sinks.kafka_spec import KafkaSinkSpec

_MOST_AT_ONCE = 2_000  # so that Ctrl-C is heard within a tenth of a second
_FLUSH_S = 60.0
_LOOK_EVERY_S = 0.1

KeyReader = Callable[[bytes], bytes | None]
"""Gives the key of a message, or none."""


@dataclass(frozen=True)
class Sent:
    """What became of simulated events that went to a topic.

    Args:
        events: how many were sent and acknowledged.
        messages: in how many messages.
        elapsed_s: from the first event to the last acknowledgement, in seconds.
        stopped: whether Ctrl-C ended it.
    """

    events: int
    messages: int
    elapsed_s: float
    stopped: bool

    def __str__(self) -> str:
        stopped = "stopped: " if self.stopped else ""
        pace = self.events / max(self.elapsed_s, 1e-9)
        return (
            f"{stopped}{self.events:,} events in {self.messages:,} messages acknowledged "
            f"in {self.elapsed_s:.1f} s, {pace:,.{0 if pace >= 10 else 1}f} events/s"
        )


def send_events(
    spec: SimulatorSpec,
    destination: Destination,
    properties: Mapping[str, str],
    events_per_message: int,
    progress: Callable[[int], None],
    key_of: KeyReader,
) -> Sent:
    """Send events to a Kafka topic, those without a key to its partitions in turn.

    The first Ctrl-C ends the sending once all that was sent is acknowledged; a second one ends at once.

    Args:
        spec: the simulation; its `rate` is kept.
        destination: the topic, which must be there.
        properties: the Java producer's properties.
        events_per_message: how many events a message holds, each on a line; the last may hold fewer.
        progress: called with the number of events sent.
        key_of: reads the key of a message.

    Raises:
        KafkaProblem: where the topic cannot be written, or a message was not acknowledged.
    """
    outbox = Outbox(destination, properties)
    wanted = _MOST_AT_ONCE if spec.rate is None else max(1, int(spec.rate / WRITES_PER_S))
    at_once = -(-wanted // events_per_message) * events_per_message
    began = time.monotonic()
    try:
        with interrupts() as received:
            for chunk, done in chunks(spec, at_once, _unless(received)):
                if received:
                    break
                for lines in _messages(chunk, events_per_message):
                    message = b"\n".join(lines)
                    outbox.send(message, key_of(message), len(lines))
                outbox.settle()
                progress(done)
            outbox.finish(_FLUSH_S)
    finally:
        outbox.close()
    elapsed_s = time.monotonic() - began
    return Sent(outbox.weight_acknowledged, outbox.acknowledged, elapsed_s, bool(received))


def no_key(message: bytes) -> None:
    """Give a message no key."""


def key_reader(spec: SimulatorSpec, field: str) -> KeyReader:
    """Return what reads a field of an event as the key of its message; none where it cannot be read.

    Args:
        spec: the simulation.
        field: one that every good event has.

    Raises:
        ValueError: where it is another.
    """
    fields = Simulation(spec).fields
    if field not in fields:
        raise ValueError(f"--key: expected one of {', '.join(fields)}, got {field!r:.60}")
    keyed = msgspec.defstruct("Keyed", [("key", str | int | float)], rename={"key": field})
    decoder = msgspec.json.Decoder(keyed)

    def key_of(event: bytes) -> bytes | None:
        try:
            return str(decoder.decode(event).key).encode()
        except (msgspec.DecodeError, UnicodeDecodeError):  # a spoiled event
            return None

    return key_of


def create_topic(destination: Destination, properties: Mapping[str, str], partitions: int) -> None:
    """Create a topic unless it is there.

    Args:
        destination: the topic.
        properties: the Java client's properties.
        partitions: how many it is to have; one that is there keeps its own.

    Raises:
        KafkaProblem: where it cannot be created.
    """
    given = {"topic": destination.topic, "properties": dict(properties)}
    spec = KafkaSinkSpec(type="kafka", create=True, partitions=partitions, **given)
    ensure_topic(spec, destination.brokers, compacted=False)


def read_properties(texts: Sequence[str]) -> dict[str, str]:
    """Read client properties, each as `KEY=VALUE`.

    Raises:
        ValueError: where one has no `=`; its text is not repeated, as it may be a password.
    """
    for number, text in enumerate(texts, 1):
        if not text.partition("=")[0].strip() or "=" not in text:
            raise ValueError(
                f"--property: expected KEY=VALUE such as client.id=shop; number {number} is none"
            )
    return {key.strip(): value for key, _, value in (text.partition("=") for text in texts)}


def _messages(chunk: bytes, events: int) -> Iterator[list[bytes]]:
    lines = [line for line in chunk.split(b"\n") if line]
    for first in range(0, len(lines), events):
        yield lines[first : first + events]


def _unless(received: Sequence[int]) -> Callable[[float], None]:
    """Return a sleep that a signal cuts short."""

    def wait(seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while not received and (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, _LOOK_EVERY_S))

    return wait
