"""Payments that are sent at a rate, each with the time at which it was sent."""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from bench.e2e.workload import PARTITIONS
from flink_job.simulation.simulation import Simulation, SimulatorSpec
from flink_job.standalone.broker import Broker
from flink_job.standalone.distribution import BROKER_JARS, broker_class_path, java_environment

USERS, EVENT_RATE = 9_000, 5
_TICK_S = 0.005
_PRODUCE = Path(__file__).with_name("Send.java")


def frauds(lines: list[bytes]) -> set[tuple[str, str]]:
    """Return the planted frauds among some lines: the payment, and the rule that is to find it."""
    events = (json.loads(line) for line in lines if b'"planted"' in line)
    return {(event["payment_id"], event["planted"]) for event in events}


def simulated(events: int) -> list[bytes]:
    """Return payments of which one in twenty is a fraud, of all kinds after the first `16 * USERS`.

    Their clock runs far faster than they are sent, so that users have a past.
    """
    spec = SimulatorSpec(
        scenario="payments", events=events, users=USERS, event_rate=EVENT_RATE, fraud_share=0.05
    )
    return Simulation(spec).chunk(0, events).splitlines()


def send(lines: list[bytes], rate: int, producer: IO[bytes]) -> float:
    """Send lines at a rate; return how far behind it the last was, in seconds.

    Args:
        lines: JSON objects.
        rate: how many a second.
        producer: takes key, line, key, line ..., with a byte 0 behind each.
    """
    keyed = [_keyed(line) + line[:-1] for line in lines]
    began, sent = time.perf_counter(), 0
    while sent < len(lines):
        due = min(len(lines), int((time.perf_counter() - began) * rate) + 1)
        stamp = b',"sent_ms":%.3f}\0' % (time.time() * 1000)
        producer.write(stamp.join(keyed[sent:due]) + stamp)
        producer.flush()
        sent = due
        time.sleep(_TICK_S)
    return time.perf_counter() - began - len(lines) / rate


@contextmanager
def producing(broker: Broker, topic: str) -> Iterator[IO[bytes]]:
    """Run a producer that sends what it gets, keyed, at once; from Java, to leave cores free."""
    environment = java_environment()
    command = [f"{environment['JAVA_HOME']}/bin/java", "-Xmx128m", "-cp", broker_class_path(BROKER_JARS)]
    command += [str(_PRODUCE), broker.address, topic, str(PARTITIONS)]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE) as producer:
        yield producer.stdin
        producer.stdin.close()
        if producer.wait():
            raise RuntimeError(f"{_PRODUCE.name} ended with {producer.returncode} (a JDK is needed)")


def _keyed(line: bytes) -> bytes:
    """Return the user of a payment, and a byte 0."""
    begin = line.index(b'"user_id":"') + 11
    return line[begin : line.index(b'"', begin)] + b"\0"
