"""Connections to the brokers that fail with a reason."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from kafka import KafkaAdminClient
from kafka.errors import KafkaError, RetriableError, SaslAuthenticationFailedError
from kafka.net.compat import KafkaNetClient

from flink_job.kafka_clients.client_options import client_options
from flink_job.kafka_clients.diagnosis import diagnose, refused_login, require_listener
from flink_job.kafka_clients.problem import BrokerProblem

_CONNECT_S = 3.0
_ANSWER_S = 5.0  # together with the diagnosis a user waits some ten seconds at most
_BETWEEN_TRIES_S = 0.2
_Answer = TypeVar("_Answer")


@contextmanager
def administrator(brokers: str, properties: Mapping[str, str]) -> Iterator[KafkaAdminClient]:
    """Give a connected client for topics; errors of the connection come as problems.

    Args:
        brokers: `host:port`, several by commas.
        properties: the Java client's properties.

    Raises:
        KafkaProblem: where no broker answers, or a property cannot be used.
    """
    options = {"request_timeout_ms": int(_ANSWER_S * 1000)} | client_options(brokers, properties)
    made: list[KafkaNetClient] = []

    def network(**config: Any) -> KafkaNetClient:
        made.append(KafkaNetClient(**config))
        return made[0]

    with explained(brokers, options):
        try:
            client = KafkaAdminClient(
                **options, bootstrap_timeout_ms=int(_ANSWER_S * 1000), kafka_client=network
            )
        except KafkaError:
            if made:  # the client leaves its thread and sockets behind
                made[0].close()
            raise
    try:
        with explained(brokers, options, made[0]):
            yield client
    finally:
        client.close()


@contextmanager
def explained(
    brokers: str, options: Mapping[str, Any], network: KafkaNetClient | None = None
) -> Iterator[None]:
    """Turn the errors of a client into problems that say what to do.

    Args:
        brokers: `host:port`, several by commas.
        options: the client's arguments.
        network: the connections of a client that has reached the brokers already.
    """
    if network is None:
        require_listener(brokers, _CONNECT_S)
    try:
        yield
    except SaslAuthenticationFailedError:
        raise refused_login(brokers) from None
    except RetriableError as problem:
        if network is None:
            raise diagnose(brokers, options) from problem
        known = ", ".join(sorted(f"{broker.host}:{broker.port}" for broker in network.cluster.brokers()))
        raise BrokerProblem(
            f"A broker answers at {brokers} and says that it is to be reached at {known or 'no address'}, "
            f"but there it does not answer ({type(problem).__name__}).",
            "Have the broker's advertised.listeners name an address that can be reached from here.",
        ) from problem
    except KafkaError as problem:
        raise BrokerProblem(
            f"The broker at {brokers} answers with an error: {type(problem).__name__}.",
            "See the broker's log.",
        ) from problem


def patiently(ask: Callable[[], _Answer]) -> _Answer:
    """Ask until there is an answer: what is missing for a moment after a broker's start is waited for.

    Raises:
        KafkaError: the last one, after some seconds.
    """
    deadline = time.monotonic() + _ANSWER_S
    while True:
        try:
            return ask()
        except RetriableError:
            if time.monotonic() > deadline:
                raise
            time.sleep(_BETWEEN_TRIES_S)
