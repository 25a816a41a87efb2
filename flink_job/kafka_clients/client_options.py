"""Turns the Java client's properties, as a pipeline file has them, into arguments of kafka-python.

A pipeline names its client properties once, as Flink's connector takes them. The commands that talk to the
same brokers from Python need the same addresses, encryption and credentials, so these are translated; the
other properties (those of Java's consumer and producer) mean nothing here and are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from flink_job.kafka_clients.encryption import tls_context
from flink_job.kafka_clients.problem import KafkaProblem, OnlyForJava


class Secret(str):
    """A text that does not show itself where a dictionary of options is printed or logged."""

    def __repr__(self) -> str:
        return "'***'"


PROTOCOLS = ("PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL")
_LOGIN_MODULES = {
    "PLAIN": "PlainLoginModule",
    "SCRAM-SHA-256": "ScramLoginModule",
    "SCRAM-SHA-512": "ScramLoginModule",
}
# One entry of JAAS: class, flag, options. Java also takes the names as the connector's jar has them, with
# another package in front.
_JAAS = re.compile(r"\s*(?P<login>[\w.$]+)\s+(?P<flag>[A-Za-z]+)(?P<options>.*?);?\s*", re.DOTALL)
_JAAS_OPTION = re.compile(r"""([\w.]+)\s*=\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|[^\s;"']+)""", re.DOTALL)
_SASL = ("sasl.mechanism", "sasl.jaas.config")
# Java looks after these by itself for the mechanisms that are translated.
_HARMLESS_SASL = re.compile(r"sasl\.(login\.(connect|read|retry|refresh)\.|kerberos\.|oauthbearer\.)")


def _whole(name: str, value: str) -> int:
    try:
        return int(value)
    except ValueError:
        raise KafkaProblem(
            f"properties: {name}: expected a whole number, got {value!r:.60}.", "Write it in digits."
        ) from None


def _text(name: str, value: str) -> str:
    return value


def _switch(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise KafkaProblem(
            f"properties: {name}: expected true or false, got {value!r:.60}.", "Write one of them."
        )
    return value.lower() == "true"


def _acks(name: str, value: str) -> int | str:
    return "all" if value == "all" else _whole(name, value)


def _compression(name: str, value: str) -> str | None:
    if value not in ("none", "gzip"):
        raise KafkaProblem(
            f"properties: {name}: expected none or gzip, got {value!r:.60}; other codecs need packages that "
            "this project does not bring.",
            "Leave it out, or write gzip.",
        )
    return None if value == "none" else value


_Reader = Callable[[str, str], Any]
_CLIENT: dict[str, tuple[str, _Reader]] = {
    "client.id": ("client_id", _text),
    "request.timeout.ms": ("request_timeout_ms", _whole),
    "connections.max.idle.ms": ("connections_max_idle_ms", _whole),
    "metadata.max.age.ms": ("metadata_max_age_ms", _whole),
    "reconnect.backoff.ms": ("reconnect_backoff_ms", _whole),
    "reconnect.backoff.max.ms": ("reconnect_backoff_max_ms", _whole),
    "retry.backoff.ms": ("retry_backoff_ms", _whole),
    "receive.buffer.bytes": ("receive_buffer_bytes", _whole),
    "send.buffer.bytes": ("send_buffer_bytes", _whole),
}
_PRODUCER: dict[str, tuple[str, _Reader]] = {
    "acks": ("acks", _acks),
    "batch.size": ("batch_size", _whole),
    "compression.type": ("compression_type", _compression),
    "delivery.timeout.ms": ("delivery_timeout_ms", _whole),
    "enable.idempotence": ("enable_idempotence", _switch),
    "linger.ms": ("linger_ms", _whole),
    "max.block.ms": ("max_block_ms", _whole),
    "max.in.flight.requests.per.connection": ("max_in_flight_requests_per_connection", _whole),
    "max.request.size": ("max_request_size", _whole),
    "retries": ("retries", _whole),
}


def client_options(brokers: str, properties: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments with which any client of kafka-python reaches the brokers.

    Args:
        brokers: `host:port`, several by commas.
        properties: the Java client's properties. Those that say nothing of addresses, encryption,
            credentials or timing are left out.

    Raises:
        KafkaProblem: for a property that cannot be translated; it names the property and what to use.
    """
    named = properties.get("bootstrap.servers", brokers)
    if named != brokers:
        raise KafkaProblem(
            f"properties: bootstrap.servers: is {named!r:.60}, but the brokers are {brokers!r:.60}.",
            "Leave it out and name the brokers in one place.",
        )
    protocol = properties.get("security.protocol", "PLAINTEXT").upper()
    if protocol not in PROTOCOLS:
        raise KafkaProblem(
            f"properties: security.protocol: expected one of {', '.join(PROTOCOLS)}, got {protocol!r:.60}.",
            "Ask whoever runs the brokers which of them the port takes.",
        )
    options: dict[str, Any] = {"bootstrap_servers": brokers.split(","), "security_protocol": protocol}
    options |= _translated(properties, _CLIENT)
    if protocol.endswith("SSL"):
        options["ssl_context"] = tls_context(properties)
    if protocol.startswith("SASL"):
        options |= _credentials(properties)
    return options


def producer_options(brokers: str, properties: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of a producer of kafka-python.

    Args:
        brokers: `host:port`, several by commas.
        properties: the Java producer's properties; each of them must be known here.

    Raises:
        KafkaProblem: for a property that is unknown or cannot be translated.
    """
    known = {*_CLIENT, *_PRODUCER, "bootstrap.servers", "security.protocol"}
    for name in properties:
        if name not in known and not name.startswith(("ssl.", "sasl.")):
            raise KafkaProblem(
                f"properties: {name}: is not known to this producer.",
                f"Leave it out; beside ssl.* and sasl.* it knows {', '.join(sorted(known))}.",
            )
    return client_options(brokers, properties) | _translated(properties, _PRODUCER)


def _translated(properties: Mapping[str, str], table: Mapping[str, tuple[str, _Reader]]) -> dict[str, Any]:
    return {
        argument: read(name, properties[name])
        for name, (argument, read) in table.items()
        if name in properties
    }


def _credentials(properties: Mapping[str, str]) -> dict[str, Any]:
    for name in properties:
        if name.startswith("sasl.") and name not in _SASL and not _HARMLESS_SASL.match(name):
            raise OnlyForJava(
                f"properties: {name}: names Java code, which cannot run here.",
                "Use sasl.mechanism PLAIN or SCRAM with a user name and password in sasl.jaas.config.",
            )
    mechanism = properties.get("sasl.mechanism", "GSSAPI")  # as in Java
    if mechanism not in _LOGIN_MODULES:
        where = "sasl.mechanism" if "sasl.mechanism" in properties else "sasl.mechanism: is missing, that is"
        raise OnlyForJava(
            f"properties: {where} {mechanism!r:.60}: cannot be used from Python here.",
            f"Use one of {', '.join(_LOGIN_MODULES)}.",
        )
    user, password = _jaas(properties.get("sasl.jaas.config", ""), _LOGIN_MODULES[mechanism])
    return {"sasl_mechanism": mechanism, "sasl_plain_username": user, "sasl_plain_password": Secret(password)}


def _jaas(config: str, module: str) -> tuple[str, str]:
    """Return user name and password of a JAAS entry; no message repeats any of it."""
    remedy = (
        f"Write: org.apache.kafka.common.security.{module.removesuffix('LoginModule').lower()}.{module} "
        'required username="..." password="..."; and take the password from an environment variable.'
    )
    entry = _JAAS.fullmatch(config)
    if entry is None:
        found = "has none" if not config.strip() else "cannot be read"
        raise KafkaProblem(f"properties: sasl.jaas.config: a login is needed, but it {found}.", remedy)
    login = entry["login"].rpartition(".")[2]
    if login != module:
        raise KafkaProblem(f"properties: sasl.jaas.config: expected a {module} for this mechanism.", remedy)
    options = {name: _unquoted(text) for name, text in _JAAS_OPTION.findall(entry["options"])}
    missing = [name for name in ("username", "password") if not options.get(name)]
    if missing:
        raise KafkaProblem(f"properties: sasl.jaas.config: has no {' and no '.join(missing)}.", remedy)
    return options["username"], options["password"]


def _unquoted(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text[1:-1], flags=re.DOTALL) if text[0] in "\"'" else text
