from __future__ import annotations

import logging
import ssl

import pytest
from certificates import localhost_pem
from kafka import KafkaAdminClient, KafkaProducer

from flink_job.kafka_clients.client_options import client_options, producer_options
from flink_job.kafka_clients.problem import KafkaProblem

PEM = localhost_pem()
SECRET = "s3cret; with 'quotes' and \\ more"
PLAIN = "org.apache.kafka.common.security.plain.PlainLoginModule"
SCRAM = "org.apache.flink.kafka.shaded.org.apache.kafka.common.security.scram.ScramLoginModule"
LOGIN = {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN"}
TLS = {"security.protocol": "SSL"}
PEM_STORE = {**TLS, "ssl.keystore.type": "PEM", "ssl.truststore.type": "PEM"}
CERTIFICATE = PEM.read_text().partition("-----END PRIVATE KEY-----\n")[2]
KEY = PEM.read_text().removesuffix(CERTIFICATE)


def jaas(module: str, user: str = "alice", password: str = SECRET) -> str:
    quoted = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'{module} required\n  username="{user}"\n  password="{quoted}" ;'


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        ({}, {}),
        ({"bootstrap.servers": "a:1,b:2"}, {}),
        (
            {"client.id": "shop", "request.timeout.ms": "1500"},
            {"client_id": "shop", "request_timeout_ms": 1500},
        ),
        ({"reconnect.backoff.max.ms": "7"}, {"reconnect_backoff_max_ms": 7}),
        # What concerns Java's consumer and producer alone says nothing to a client for topics.
        ({"isolation.level": "read_committed", "max.poll.records": "5", "transaction.timeout.ms": "1"}, {}),
        # As in Java, encryption and logins that the protocol does not use are not looked at.
        ({"ssl.truststore.location": "x.jks", "sasl.mechanism": "GSSAPI"}, {}),
        (
            {**LOGIN, "sasl.jaas.config": jaas(PLAIN), "sasl.login.connect.timeout.ms": "1"},
            {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_plain_username": "alice",
                "sasl_plain_password": SECRET,
            },
        ),
        (
            {**LOGIN, "sasl.mechanism": "SCRAM-SHA-512", "sasl.jaas.config": jaas(SCRAM, "bob", 'q"q')},
            {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "SCRAM-SHA-512",
                "sasl_plain_username": "bob",
                "sasl_plain_password": 'q"q',
            },
        ),
        (
            {**LOGIN, "sasl.jaas.config": f"{PLAIN} required username=carol password='p w';"},
            {
                "security_protocol": "SASL_PLAINTEXT",
                "sasl_mechanism": "PLAIN",
                "sasl_plain_username": "carol",
                "sasl_plain_password": "p w",
            },
        ),
    ],
)
def test_javas_properties_become_the_clients_arguments(properties, expected) -> None:
    always = {"bootstrap_servers": ["a:1", "b:2"], "security_protocol": "PLAINTEXT"}

    options = client_options("a:1,b:2", properties)

    assert options == always | expected
    assert set(options) <= set(KafkaAdminClient.DEFAULT_CONFIG) & set(KafkaProducer.DEFAULT_CONFIG)


def test_a_producer_takes_its_own_properties_too_and_refuses_unknown_ones() -> None:
    given = {"acks": "1", "linger.ms": "5", "compression.type": "gzip", "enable.idempotence": "false"}

    options = producer_options("a:1", given | {"client.id": "x"})

    expected = {"acks": 1, "linger_ms": 5, "compression_type": "gzip", "enable_idempotence": False}
    assert expected.items() <= options.items()
    assert options["client_id"] == "x"
    assert set(options) <= set(KafkaProducer.DEFAULT_CONFIG)
    assert producer_options("a:1", {"acks": "all", "compression.type": "none"})["acks"] == "all"
    with pytest.raises(
        KafkaProblem, match=r"properties: linger: is not known to this producer\.\n.*linger\.ms"
    ):
        producer_options("a:1", {"linger": "5"})


@pytest.mark.parametrize(
    ("properties", "named", "instead"),
    [
        (
            {"bootstrap.servers": "c:3"},
            "bootstrap.servers: is 'c:3', but the brokers are 'a:1'",
            "in one place",
        ),
        ({"request.timeout.ms": "soon"}, "request.timeout.ms: expected a whole number, got 'soon'", "digits"),
        ({"security.protocol": "TLS"}, "security.protocol: expected one of PLAINTEXT, SSL", "the port"),
        ({"security.protocol": "SASL_SSL"}, "sasl.mechanism: is missing, that is 'GSSAPI'", "PLAIN, SCRAM"),
        ({**LOGIN, "sasl.mechanism": "OAUTHBEARER"}, "sasl.mechanism 'OAUTHBEARER': cannot", "PLAIN, SCRAM"),
        (
            {**LOGIN, "sasl.client.callback.handler.class": "x.Y"},
            "sasl.client.callback.handler.class: names Java code",
            "sasl.jaas.config",
        ),
        (LOGIN, "sasl.jaas.config: a login is needed, but it has none", "PlainLoginModule required"),
        ({**LOGIN, "sasl.jaas.config": SECRET}, "a login is needed, but it cannot be read", "PlainLogin"),
        ({**LOGIN, "sasl.jaas.config": jaas(SCRAM)}, "expected a PlainLoginModule", "plain.PlainLoginModule"),
        (
            {**LOGIN, "sasl.jaas.config": f'{PLAIN} required user="u" password="{SECRET}";'},
            "sasl.jaas.config: has no username.",
            'username="..."',
        ),
        ({**TLS, "ssl.truststore.location": "a.jks"}, "ssl.truststore.type: is 'JKS'", "keytool -exportcert"),
        (
            {**TLS, "ssl.keystore.location": "a.p12", "ssl.keystore.type": "PKCS12"},
            "ssl.keystore.type: is 'PKCS12'",
            "openssl pkcs12",
        ),
        ({**TLS, "ssl.engine.factory.class": "x.Y"}, "ssl.engine.factory.class: names Java code", "PEM"),
        ({**TLS, "ssl.endpoint.identification.algorithm": "dns"}, "expected https or nothing, got 'dns'", ""),
        (
            {**PEM_STORE, "ssl.truststore.location": "/none.pem"},
            "/none.pem cannot be read: No such file",
            "PEM",
        ),
        (
            {**PEM_STORE, "ssl.truststore.certificates": SECRET},
            "ssl.truststore.certificates: expected",
            "BEGIN",
        ),
        ({**PEM_STORE, "ssl.keystore.key": SECRET}, "only one of them is there", "ssl.keystore.location"),
        (
            {**PEM_STORE, "ssl.keystore.key": SECRET, "ssl.keystore.certificate.chain": CERTIFICATE},
            "ssl.keystore.key: certificate and private key",
            "PRIVATE KEY",
        ),
    ],
)
def test_what_cannot_be_translated_is_named_with_what_to_use_and_no_secret(
    properties, named, instead
) -> None:
    with pytest.raises(KafkaProblem) as caught:
        client_options("a:1", properties)

    assert named in caught.value.message
    assert instead in caught.value.remedy
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_pem_files_and_inline_pem_make_the_same_trust() -> None:
    from_file = {**PEM_STORE, "ssl.truststore.location": str(PEM), "ssl.keystore.location": str(PEM)}
    inline = {
        **PEM_STORE,
        "ssl.truststore.certificates": CERTIFICATE,
        "ssl.keystore.certificate.chain": CERTIFICATE,
        "ssl.keystore.key": KEY,
    }

    contexts = [client_options("a:1", given)["ssl_context"] for given in (from_file, inline)]

    for context in contexts:
        assert [ca["subject"] for ca in context.get_ca_certs()] == [((("commonName", "localhost"),),)]
        assert context.check_hostname and context.verify_mode is ssl.CERT_REQUIRED
    unchecked = client_options("a:1", {**from_file, "ssl.endpoint.identification.algorithm": ""})[
        "ssl_context"
    ]
    assert not unchecked.check_hostname and unchecked.verify_mode is ssl.CERT_REQUIRED


def test_without_a_trust_store_the_systems_authorities_are_trusted() -> None:
    context = client_options("a:1", TLS)["ssl_context"]

    system = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    system.load_default_certs()
    assert context.cert_store_stats() == system.cert_store_stats()


def test_a_password_shows_neither_where_options_are_printed_nor_in_the_clients_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    options = client_options("localhost:1", {**LOGIN, "sasl.jaas.config": jaas(PLAIN, password=SECRET)})

    with caplog.at_level(logging.DEBUG), pytest.raises(Exception, match="localhost:1"):
        KafkaAdminClient(**options, bootstrap_timeout_ms=1)

    assert "***" in repr(options) and "s3cret" not in repr(options) + str(options)
    assert caplog.text == ""
