"""The few bytes of Kafka's protocol that tell which kind of login a port takes, and whether it takes ours.

Requests are a size, a header (number and version of the request, a number of ours, our name) and a body; all
integers are big-endian. See SaslHandshake (17) and SaslAuthenticate (36) in Kafka's protocol guide.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from typing import Any

from kafka.errors import KafkaError
from kafka.net.sasl import get_sasl_mechanism

_HANDSHAKE, _HANDSHAKE_VERSION = 17, 1
_AUTHENTICATE, _AUTHENTICATE_VERSION = 36, 0
_NAME = b"sketchstream"
_MOST_BYTES = 10_000  # an answer is far below; what is above is none of Kafka's


class NotKafka(OSError):
    """What answers is no Kafka broker, or the connection was closed."""


def offered_logins(stream: socket.socket, mechanism: str = "PLAIN") -> tuple[str, ...] | None:
    """Ask for a login and return the mechanisms that a port offers, or None where it takes no login.

    Args:
        stream: a fresh connection.
        mechanism: the one that is asked for; where it is offered, `logs_in` may go on with it.

    Raises:
        OSError: where no answer comes, or none of Kafka's.
    """
    answer = _asked(stream, _HANDSHAKE, _HANDSHAKE_VERSION, _short(mechanism.encode()))
    _, count = _unpacked(">hi", answer, 0)
    names, at = [], 6
    for _ in range(count):
        (length,) = _unpacked(">h", answer, at)
        names.append(answer[at + 2 : at + 2 + length].decode("ascii", "replace"))
        at += 2 + length
    if at != len(answer):
        raise NotKafka("not an answer of Kafka")
    return tuple(names) or None


def logs_in(stream: socket.socket, options: Mapping[str, Any]) -> bool:
    """Log in, and return whether name and password are accepted.

    Args:
        stream: a connection that has just asked for this very mechanism.
        options: arguments of kafka-python.

    Raises:
        OSError: where no answer comes.
    """
    login = get_sasl_mechanism(options["sasl_mechanism"])(host="", **options)
    while not login.is_done():
        token = login.auth_bytes()
        answer = _asked(stream, _AUTHENTICATE, _AUTHENTICATE_VERSION, struct.pack(">i", len(token)) + token)
        code, length = _unpacked(">hh", answer, 0)
        if code:
            return False
        try:
            login.receive(answer[4 + max(0, length) + 4 :])
        except (ValueError, KeyError, KafkaError):  # it does not know the password, so it is not the broker
            return False
    return login.is_authenticated()


def _asked(stream: socket.socket, request: int, version: int, body: bytes) -> bytes:
    """Send a request and return the body of its answer."""
    data = struct.pack(">hhi", request, version, request) + _short(_NAME) + body
    stream.sendall(struct.pack(">i", len(data)) + data)
    (size,) = struct.unpack(">i", _exactly(stream, 4))
    if not 4 <= size <= _MOST_BYTES:
        raise NotKafka("not an answer of Kafka")
    answer = _exactly(stream, size)
    if _unpacked(">i", answer, 0) != (request,):
        raise NotKafka("not an answer of Kafka")
    return answer[4:]


def _short(text: bytes) -> bytes:
    return struct.pack(">h", len(text)) + text


def _unpacked(layout: str, data: bytes, at: int) -> tuple[int, ...]:
    try:
        return struct.unpack_from(layout, data, at)
    except struct.error:
        raise NotKafka("not an answer of Kafka") from None


def _exactly(stream: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = stream.recv(size - len(data))
        if not part:
            raise NotKafka("the connection was closed")
        data += part
    return data
