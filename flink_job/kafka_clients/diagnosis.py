"""Why a broker cannot be talked to: what answers at its address, asked byte by byte.

A client that expects another kind of encryption or login than the port offers only sees that its connection
is closed, over and over. So after such a failure each side is tried: TLS, Kafka's own question for a login,
which every broker answers in some way before anybody has to log in, and the login itself.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping
from typing import Any

from flink_job.kafka_clients.handshake import logs_in, offered_logins
from flink_job.kafka_clients.problem import BrokerProblem

_SECONDS_A_STEP = 2.0


def require_listener(brokers: str, timeout_s: float) -> None:
    """Check that something takes connections at one of the addresses.

    Args:
        brokers: `host:port`, several by commas.
        timeout_s: how long to try, in seconds, all addresses together.

    Raises:
        BrokerProblem: where nothing does; says of each address why.
    """
    addresses, deadline = brokers.split(","), time.monotonic() + timeout_s
    failures = []
    for number, address in enumerate(addresses):
        share = max(0.1, (deadline - time.monotonic()) / (len(addresses) - number))
        try:
            with _connected(address, share):
                return
        except socket.gaierror:
            failures.append(f"{address}: the host's name is not known on this machine")
        except TimeoutError:
            failures.append(f"{address}: no answer within {share:.0f} s")
        except OSError as problem:
            failures.append(f"{address}: {problem.strerror or problem}")
    raise BrokerProblem(
        f"No Kafka broker can be reached: {'; '.join(failures)}.",
        "Start the broker, or correct its address (host:port).",
    )


def diagnose(brokers: str, options: Mapping[str, Any]) -> BrokerProblem:
    """Return why a client with these options gets no answer, as far as can be known.

    Args:
        brokers: `host:port`, several by commas.
        options: arguments of kafka-python.
    """
    protocol = options["security_protocol"]
    address = brokers
    for address in brokers.split(","):
        try:
            if protocol.endswith("SSL"):
                return _over_tls(address, protocol, options)
            return _in_the_clear(address, protocol, options)
        except OSError:
            continue
    return _silent(address)


def refused_login(brokers: str) -> BrokerProblem:
    """Return what to say where name or password are wrong."""
    return BrokerProblem(
        f"The broker at {brokers} refuses the login of sasl.jaas.config.",
        "Check user name, password and sasl.mechanism.",
    )


def _over_tls(address: str, protocol: str, options: Mapping[str, Any]) -> BrokerProblem:
    try:
        with _connected(address) as plain, _wrapped(plain, address, options["ssl_context"]) as stream:
            return _compared(address, options, stream)
    except ssl.SSLCertVerificationError as problem:
        return BrokerProblem(
            f"The certificate of {address} is not trusted: {problem.verify_message}.",
            "Name the authority that signed it: ssl.truststore.type: PEM and ssl.truststore.location.",
        )
    except OSError as problem:
        if _answers_in_the_clear(address):
            return BrokerProblem(
                f"{address} takes no TLS, but security.protocol is {protocol}.",
                f"Use the port for TLS, or security.protocol: {protocol.replace('SSL', 'PLAINTEXT')}.",
            )
        if isinstance(problem, ssl.SSLError) and "ALERT" in (problem.reason or ""):
            return BrokerProblem(
                f"{address} breaks off TLS: {(problem.reason or '').lower().replace('_', ' ')}.",
                "If it wants a certificate of the client: ssl.keystore.type: PEM and ssl.keystore.location.",
            )
        return _silent(address)


def _in_the_clear(address: str, protocol: str, options: Mapping[str, Any]) -> BrokerProblem:
    try:
        with _connected(address) as stream:
            return _compared(address, options, stream)
    except OSError:
        if not _takes_tls(address):
            return _silent(address)
        return BrokerProblem(
            f"{address} takes TLS only, but security.protocol is {protocol}.",
            f"Use security.protocol: {protocol.replace('PLAINTEXT', 'SSL')}, with ssl.truststore.type: PEM "
            "and ssl.truststore.location where its certificate is your own.",
        )


def _compared(address: str, options: Mapping[str, Any], stream: socket.socket) -> BrokerProblem:
    """Return in what the login that a port takes differs from the one of the options."""
    protocol, mechanism = options["security_protocol"], options.get("sasl_mechanism")
    secure = "SSL" if protocol.endswith("SSL") else "PLAINTEXT"
    offered = offered_logins(stream, mechanism or "PLAIN")
    if offered is None and mechanism:
        return BrokerProblem(
            f"{address} takes no login, but security.protocol is {protocol}.",
            f"Use the port for logins, or security.protocol: {secure}.",
        )
    if offered is not None and not mechanism:
        return BrokerProblem(
            f"{address} asks for a login ({', '.join(offered)}), but security.protocol is {protocol}.",
            f"Use security.protocol: SASL_{secure}, with sasl.mechanism and sasl.jaas.config.",
        )
    if offered is not None and mechanism not in offered:
        return BrokerProblem(
            f"{address} takes logins by {', '.join(offered)}, but sasl.mechanism is {mechanism}.",
            "Use one that it takes.",
        )
    if mechanism and not logs_in(stream, options):
        return refused_login(address)
    return BrokerProblem(
        f"The broker at {address} takes connections, but does not answer in time.",
        "It may be starting or overloaded: see its log and try again.",
    )


def _silent(address: str) -> BrokerProblem:
    return BrokerProblem(
        f"Something takes connections at {address}, but does not answer as a Kafka broker does.",
        "Check the port: a broker often listens at 9092, its controller and other services elsewhere.",
    )


def _connected(address: str, timeout_s: float = _SECONDS_A_STEP) -> socket.socket:
    host, _, port = address.rpartition(":")
    if not 0 < int(port) < 65536:
        raise OSError("expected a port from 1 to 65535")
    return socket.create_connection((host, int(port)), timeout=timeout_s)


def _wrapped(plain: socket.socket, address: str, context: ssl.SSLContext) -> ssl.SSLSocket:
    return context.wrap_socket(plain, server_hostname=address.rpartition(":")[0])


def _answers_in_the_clear(address: str) -> bool:
    try:
        with _connected(address) as stream:
            offered_logins(stream)
            return True
    except OSError:
        return False


def _takes_tls(address: str) -> bool:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # nothing is sent: only who is there
    try:
        with _connected(address) as plain, _wrapped(plain, address, context):
            return True
    except OSError:
        return False
