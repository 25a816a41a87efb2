"""Which message a user gets for what listens at an address: listeners of our own play the broker."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from certificates import localhost_pem

from flink_job.kafka_clients import connection, diagnosis
from flink_job.kafka_clients.client_options import client_options
from flink_job.kafka_clients.diagnosis import diagnose, require_listener
from flink_job.kafka_clients.problem import BrokerProblem
from flink_job.kafka_clients.topics import partitions_of_source
from flink_job.machine.ports import free_port
from flink_job.sources.kafka_spec import KafkaSourceSpec

PEM = localhost_pem()
JAAS = 'a.PlainLoginModule required username="alice" password="right";'
LOGIN = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config": JAAS}
TLS = {"security.protocol": "SSL"}
TRUSTING = {**TLS, "ssl.truststore.type": "PEM", "ssl.truststore.location": str(PEM)}
Handler = Callable[[socket.socket], None]


@contextmanager
def listening(handle: Handler, tls: bool = False) -> Iterator[str]:
    """Serve connections one after another, and give the address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(PEM)

    def serve() -> None:
        while True:
            try:
                connected, _ = server.accept()
            except OSError:  # closed
                return
            connected.settimeout(5)
            try:
                with context.wrap_socket(connected, server_side=True) if tls else connected as stream:
                    handle(stream)
            except OSError:
                connected.close()

    with socket.create_server(("localhost", 0)) as server:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"localhost:{server.getsockname()[1]}"
        server.shutdown(socket.SHUT_RDWR)
    thread.join(10)
    assert not thread.is_alive()


def answer(stream: socket.socket, body: Callable[[int, bytes], bytes]) -> None:
    """Answer requests as a broker does; `body` makes an answer of a request's number and body."""
    while header := stream.recv(4):
        (size,) = struct.unpack(">i", header)
        if size > 1_000_000:  # a broker closes the connection too
            return
        request = (
            stream.recv(size, socket.MSG_WAITALL)
            if not isinstance(stream, ssl.SSLSocket)
            else stream.recv(size)
        )
        number, _, correlation, name = struct.unpack_from(">hhih", request)
        data = struct.pack(">i", correlation) + body(number, request[10 + name :])
        stream.sendall(struct.pack(">i", len(data)) + data)


def broker(*mechanisms: str, password: bytes = b"right") -> Handler:
    """A broker that takes these logins, or none."""

    def body(number: int, request: bytes) -> bytes:
        if number == 36:
            accepted = request[4:] == b"alice\0alice\0" + password
            return struct.pack(">hhi", 0, -1, 0) if accepted else struct.pack(">hh2si", 58, 2, b"no", 0)
        assert number == 17
        names = b"".join(struct.pack(">h", len(name)) + name.encode() for name in mechanisms)
        return struct.pack(">hi", 0 if mechanisms else 34, len(mechanisms)) + names

    return lambda stream: answer(stream, body)


def nothing(stream: socket.socket) -> None:
    stream.recv(1000)


def web_server(stream: socket.socket) -> None:
    stream.recv(1000)
    stream.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" + b"x" * 100)


SILENT = "does not answer as a Kafka broker does"
SLOW = "does not answer in time"
KINDS: list[tuple[Handler, bool, dict[str, str], str, str]] = [
    (
        broker("PLAIN", "SCRAM-SHA-256"),
        False,
        {},
        "asks for a login (PLAIN, SCRAM-SHA-256), but security.protocol is PLAINTEXT",
        "security.protocol: SASL_PLAINTEXT",
    ),
    (broker("PLAIN"), True, TRUSTING, "asks for a login (PLAIN), but security.protocol is SSL", "SASL_SSL"),
    (
        broker(),
        False,
        LOGIN,
        "takes no login, but security.protocol is SASL_PLAINTEXT",
        "security.protocol: PLAINTEXT",
    ),
    (
        broker("SCRAM-SHA-256"),
        False,
        LOGIN,
        "takes logins by SCRAM-SHA-256, but sasl.mechanism is PLAIN",
        "Use one that it takes",
    ),
    (broker("PLAIN", password=b"other"), False, LOGIN, "refuses the login of sasl.jaas.config", "user name"),
    (broker("PLAIN"), False, LOGIN, SLOW, "starting or overloaded"),
    (broker(), False, {}, SLOW, "starting or overloaded"),
    (broker(), True, TRUSTING, SLOW, "starting or overloaded"),
    (broker(), True, {}, "takes TLS only, but security.protocol is PLAINTEXT", "security.protocol: SSL"),
    (broker(), False, TLS, "takes no TLS, but security.protocol is SSL", "security.protocol: PLAINTEXT"),
    (broker(), True, TLS, "is not trusted: self-signed certificate", "ssl.truststore.location"),
    (nothing, False, {}, SILENT, "Check the port"),
    (nothing, False, TLS, SILENT, "Check the port"),
    (web_server, False, {}, SILENT, "Check the port"),
    (web_server, True, TRUSTING, SILENT, "Check the port"),
]


@pytest.mark.parametrize(("handle", "tls", "properties", "told", "remedy"), KINDS)
def test_a_listener_of_another_kind_is_told_apart(
    handle: Handler, tls: bool, properties: dict[str, str], told: str, remedy: str
) -> None:
    with listening(handle, tls) as address:
        problem = diagnose(address, client_options(address, properties))

    assert address in problem.message
    assert told in problem.message.replace("self signed", "self-signed")  # as OpenSSL 1 spells it
    assert remedy in problem.remedy
    assert "right" not in str(problem)


def test_a_certificate_of_another_host_is_not_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(broker(), tls=True) as address:
        here = address.rpartition(":")[2]
        monkeypatch.setattr(
            diagnosis, "_connected", lambda *_: socket.create_connection(("localhost", int(here)), timeout=2)
        )
        problem = diagnose("broker.example:9093", client_options("broker.example:9093", TRUSTING))

    assert problem.message.startswith(
        "The certificate of broker.example:9093 is not trusted: Hostname mismatch"
    )


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("localhost:{free}", "Connection refused"),
        ("nowhere.invalid:9092", "the host's name is not known on this machine"),
        ("localhost:99999", "expected a port from 1 to 65535"),
        ("localhost:0", "expected a port from 1 to 65535"),
    ],
)
def test_where_nothing_listens_every_address_is_told_with_its_reason(address: str, why: str) -> None:
    brokers = f"{address.format(free=free_port())},localhost:{free_port()}"
    spec = KafkaSourceSpec(type="kafka", brokers=brokers, topic="events")

    with pytest.raises(BrokerProblem) as caught:
        partitions_of_source(spec)

    assert caught.value.message.startswith(
        f"No Kafka broker can be reached: {brokers.partition(',')[0]}: {why}; "
    )
    assert brokers.partition(",")[2] in caught.value.message
    assert "host:port" in caught.value.remedy


def test_one_address_of_several_that_takes_connections_is_enough() -> None:
    with listening(nothing) as address:
        require_listener(f"localhost:{free_port()},{address}", 5)


def test_a_client_that_gets_no_answer_is_told_why_and_leaves_no_thread_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "_ANSWER_S", 0.3)
    before = threading.active_count()
    with listening(web_server) as address:
        spec = KafkaSourceSpec(type="kafka", brokers=address, topic="events")
        with pytest.raises(BrokerProblem, match="does not answer as a Kafka broker does"):
            partitions_of_source(spec)

    assert threading.active_count() == before
