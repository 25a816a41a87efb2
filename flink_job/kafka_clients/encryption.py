"""Turns the Java client's `ssl.*` properties into a TLS context: certificates and keys in PEM."""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path

from flink_job.kafka_clients.problem import KafkaProblem, OnlyForJava

# They choose among what both sides can do; Python's defaults are as good.
_HARMLESS = {
    "ssl.cipher.suites",
    "ssl.enabled.protocols",
    "ssl.protocol",
    "ssl.keymanager.algorithm",
    "ssl.trustmanager.algorithm",
    "ssl.secure.random.implementation",
}
_TRANSLATED = {
    "ssl.endpoint.identification.algorithm",
    "ssl.key.password",
    *(f"ssl.truststore.{part}" for part in ("type", "location", "password", "certificates")),
    *(f"ssl.keystore.{part}" for part in ("type", "location", "password", "key", "certificate.chain")),
}
_TO_PEM = {
    "truststore": "keytool -exportcert -rfc -alias NAME -keystore FILE writes a certificate in PEM",
    "keystore": "openssl pkcs12 -in FILE -out FILE.pem writes certificate and key of a PKCS12 store in PEM",
}


def tls_context(properties: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context that trusts, and shows of itself, what the properties say.

    Args:
        properties: the Java client's properties; those under `ssl.` count.

    Raises:
        KafkaProblem: for a store that only Java can read, or a file that is not what it should be; the
            message names the property and never what a key or password is.
    """
    for name in properties:
        if name.startswith("ssl.") and name not in _HARMLESS | _TRANSLATED:
            raise OnlyForJava(
                f"properties: {name}: names Java code, which cannot run here.",
                "Use certificates in PEM: ssl.truststore.type: PEM and ssl.truststore.location.",
            )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    check = properties.get("ssl.endpoint.identification.algorithm", "https").lower()
    if check not in ("", "https"):
        raise KafkaProblem(
            "properties: ssl.endpoint.identification.algorithm: expected https or nothing, got "
            f"{check!r:.60}.",
            "Leave it out to have the broker's name checked against its certificate.",
        )
    context.check_hostname = check == "https"
    _trust(context, properties)
    _show(context, properties)
    return context


def _trust(context: ssl.SSLContext, properties: Mapping[str, str]) -> None:
    inline, location = (properties.get(f"ssl.truststore.{part}") for part in ("certificates", "location"))
    if not inline and not location:
        context.load_default_certs()
        return
    _must_be_pem("truststore", properties)
    name = "ssl.truststore.certificates" if inline else "ssl.truststore.location"
    try:
        context.load_verify_locations(cadata=inline or _read(name, location or ""))
    except ssl.SSLError:
        raise KafkaProblem(
            f"properties: {name}: expected certificates in PEM, found none that can be read.",
            "It should hold one or more blocks that begin with -----BEGIN CERTIFICATE-----.",
        ) from None


def _show(context: ssl.SSLContext, properties: Mapping[str, str]) -> None:
    """Load the client's own certificate and key, where there are any."""
    location = properties.get("ssl.keystore.location")
    key, chain = (properties.get(f"ssl.keystore.{part}") for part in ("key", "certificate.chain"))
    if not location and not key and not chain:
        return
    _must_be_pem("keystore", properties)
    if not location and not (key and chain):
        raise KafkaProblem(
            "properties: ssl.keystore.key and ssl.keystore.certificate.chain: only one of them is there.",
            "Name both, or one file with both under ssl.keystore.location.",
        )
    name = "ssl.keystore.location" if location else "ssl.keystore.key"
    text = _read(name, location) if location else f"{key}\n{chain}\n"
    # Python takes key and certificate from files alone.
    handle, path = tempfile.mkstemp(prefix="sketchstream-")  # readable by this user only
    try:
        with open(handle, "w", encoding="ascii", errors="replace") as file:
            file.write(text)
        # Without a password of ours OpenSSL would ask for one at the terminal.
        context.load_cert_chain(path, password=properties.get("ssl.key.password", ""))
    except (ssl.SSLError, OSError):
        raise KafkaProblem(
            f"properties: {name}: certificate and private key in PEM cannot be read from it, or do not "
            "belong together, or ssl.key.password is not the key's.",
            "It should hold a block -----BEGIN CERTIFICATE----- and a block with PRIVATE KEY.",
        ) from None
    finally:
        os.unlink(path)


def _must_be_pem(store: str, properties: Mapping[str, str]) -> None:
    kind = properties.get(f"ssl.{store}.type", "JKS")  # Java's default
    if kind.upper() != "PEM":
        raise OnlyForJava(
            f"properties: ssl.{store}.type: is {kind!r:.60}, a store that only Java can read.",
            f"Use PEM, which both can: ssl.{store}.type: PEM ({_TO_PEM[store]}).",
        )


def _read(name: str, location: str) -> str:
    try:
        return Path(location).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        why = problem.strerror if isinstance(problem, OSError) else "not a text"
        raise KafkaProblem(
            f"properties: {name}: {location} cannot be read: {why}.", "Name a file in PEM that is there."
        ) from None
