"""The topics that a pipeline reads and writes: that they are there, may be used, and are made if absent."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kafka import KafkaAdminClient
from kafka.errors import (
    InvalidTopicError,
    TopicAlreadyExistsError,
    TopicAuthorizationFailedError,
    UnknownTopicOrPartitionError,
    for_code,
)

from flink_job.kafka_clients.connection import administrator, patiently
from flink_job.kafka_clients.problem import BrokerProblem, KafkaProblem, TopicProblem
from flink_job.sinks.kafka_spec import KafkaSinkSpec
from flink_job.sources.kafka_spec import KafkaSourceSpec

__all__ = [
    "BrokerProblem",
    "KafkaProblem",
    "TopicProblem",
    "ensure_topic",
    "partitions_of_sink",
    "partitions_of_source",
    "partitions_of_target",
]

_NAMES_SHOWN = 10
_HOUR_MS = 3_600_000
# Only the last revision of a result counts, so older ones may go; but not within a day, so that a reader who
# is not further behind sees each. Kafka cleans closed segments alone, and closes one by default after a week
# or 1 GB: a quarter of a day keeps the surplus small. It cleans by default when half of a log is surplus;
# with many early answers a tenth is worth the work. The job sends no tombstones: delete.retention.ms stays.
_RESULTS = {
    "cleanup.policy": "compact",
    "min.compaction.lag.ms": str(24 * _HOUR_MS),
    "segment.ms": str(6 * _HOUR_MS),
    "min.cleanable.dirty.ratio": "0.1",
}
# Said although it is Kafka's default: a cluster whose default is to compact refuses records without a key.
_LINES = {"cleanup.policy": "delete"}


@dataclass(frozen=True)
class _Topic:
    name: str
    partitions: int
    internal: bool
    fault: type[Exception] | None
    allowed: frozenset[str] | None  # operations such as READ; None where the broker does not tell


def partitions_of_source(spec: KafkaSourceSpec) -> dict[str, int]:
    """Return the topics that a source reads now, with how many partitions each has.

    Args:
        spec: the source: a topic, several, or a pattern of names.

    Raises:
        KafkaProblem: where no broker answers, a topic is missing or may not be read, or none matches.
    """
    with administrator(spec.brokers, spec.properties) as admin:
        if spec.pattern is None:
            found = _asked(admin, [spec.topic] if spec.topic is not None else list(spec.topics or ()))
        else:
            found = _matching(admin, spec.pattern, spec.brokers)
        _require(admin, found, spec.brokers, "READ", "Create it, or correct the name in the source.")
    return {topic.name: topic.partitions for topic in found}


def ensure_topic(spec: KafkaSinkSpec, brokers: str, compacted: bool) -> int:
    """Check that a sink's topic can be written to; create it where it is absent and `create` is set.

    Args:
        spec: the sink.
        brokers: where to, `host:port`, several by commas.
        compacted: whether only the last record of each key is to be kept, as for results; otherwise
            records go by age, as the brokers' defaults say.

    Returns:
        How many partitions it has.

    Raises:
        KafkaProblem: where no broker answers, or the topic is missing, may not be written or not be created.
    """
    with administrator(brokers, spec.properties) as admin:
        topic = _of_sink(admin, spec, brokers)
        if topic is None:
            _create(admin, spec, brokers, compacted)
            topic = _of_sink(admin, spec.model_copy(update={"create": False}), brokers)
    assert topic is not None
    return topic.partitions


def partitions_of_sink(spec: KafkaSinkSpec, brokers: str, compacted: bool) -> int | None:
    """Return how many partitions a sink's topic has; None where `ensure_topic` would create it now.

    Whether it could, with these partitions and replicas and as this user, is asked of the broker.

    Args:
        spec: the sink.
        brokers: as for `ensure_topic`.
        compacted: as for `ensure_topic`.

    Raises:
        KafkaProblem: as `ensure_topic`.
    """
    with administrator(brokers, spec.properties) as admin:
        topic = _of_sink(admin, spec, brokers)
        if topic is not None:
            return topic.partitions
        _create(admin, spec, brokers, compacted, only_ask=True)
    return None


def partitions_of_target(name: str, brokers: str, properties: Mapping[str, str]) -> int:
    """Return how many partitions a topic has that is to be written to by a command.

    Args:
        name: the topic.
        brokers: `host:port`, several by commas.
        properties: the Java client's properties.

    Raises:
        KafkaProblem: where no broker answers, or the topic is missing or may not be written.
    """
    with administrator(brokers, properties) as admin:
        found = _asked(admin, [name])
        _require(admin, found, brokers, "WRITE", "Create it first, or correct the name.")
    return found[0].partitions


def _asked(admin: KafkaAdminClient, names: list[str] | None) -> list[_Topic]:
    def ask() -> list[_Topic]:
        return [_read(topic) for topic in admin.describe_topics(names)]

    found = {topic.name: topic for topic in patiently(ask)}
    return [found[name] for name in names or sorted(found)]


def _read(topic: Mapping[str, Any]) -> _Topic:
    code, allowed = topic["error_code"], topic.get("authorized_operations")
    return _Topic(
        topic["name"],
        len(topic["partitions"]),
        topic["is_internal"],
        for_code(code) if code else None,
        None if allowed is None else frozenset(allowed),
    )


def _matching(admin: KafkaAdminClient, pattern: str, brokers: str) -> list[_Topic]:
    wanted = re.compile(pattern)
    there = [topic for topic in _asked(admin, None) if not topic.internal]
    found = [topic for topic in there if wanted.fullmatch(topic.name)]
    if not found:
        raise TopicProblem(
            f"No topic at {brokers} matches the pattern {pattern!r} as a whole; {_listed(pattern, there)}.",
            "Correct the pattern (orders-.* matches orders-eu), or create a topic.",
        )
    return found


def _of_sink(admin: KafkaAdminClient, spec: KafkaSinkSpec, brokers: str) -> _Topic | None:
    """Return a sink's topic, which may be written to; None where it is absent and to be created."""
    (topic,) = _asked(admin, [spec.topic])
    if topic.fault is UnknownTopicOrPartitionError and spec.create:
        return None
    _require(admin, [topic], brokers, "WRITE", "Create it, or have it created by `create: true` in the sink.")
    return topic


def _require(
    admin: KafkaAdminClient, topics: Iterable[_Topic], brokers: str, operation: str, remedy: str
) -> None:
    """Check that each topic is there and that the operation is allowed on it."""
    verb = {"READ": "read", "WRITE": "written"}[operation]
    for topic in topics:
        if topic.fault is UnknownTopicOrPartitionError:
            there = [other for other in _asked(admin, None) if not other.internal]
            raise TopicProblem(
                f"The topic {topic.name} is not there at {brokers}; {_listed(topic.name, there)}.", remedy
            )
        if topic.fault is TopicAuthorizationFailedError:
            raise TopicProblem(
                f"The topic {topic.name} at {brokers} may not be seen by this user, or is not there: "
                "permission Describe is missing.",
                f"Have Describe and {operation.capitalize()} on it granted, or log in as another user.",
            )
        if topic.fault is InvalidTopicError:
            raise TopicProblem(
                f"The broker at {brokers} takes {topic.name!r:.60} for no name of a topic.",
                "Correct the name.",
            )
        if topic.allowed is not None and operation not in topic.allowed:
            has = ", ".join(sorted(name.capitalize() for name in topic.allowed)) or "none"
            raise TopicProblem(
                f"The topic {topic.name} at {brokers} may not be {verb} by this user; permissions: {has}.",
                f"Have {operation.capitalize()} on it granted, or log in as another user.",
            )


def _listed(wanted: str, there: list[_Topic]) -> str:
    """Return the names that are there, those first that look most like the wanted one."""
    if not there:
        return "no topic is there that this user may see"
    names = sorted(
        (topic.name for topic in there),
        key=lambda name: (-difflib.SequenceMatcher(None, wanted.lower(), name.lower()).ratio(), name),
    )
    more = len(names) - _NAMES_SHOWN
    return f"there are {', '.join(names[:_NAMES_SHOWN])}" + (f" and {more} more" if more > 0 else "")


def _create(
    admin: KafkaAdminClient,
    spec: KafkaSinkSpec,
    brokers: str,
    compacted: bool,
    only_ask: bool = False,
) -> None:
    wanted = {
        "num_partitions": -1 if spec.partitions is None else spec.partitions,
        "replication_factor": -1 if spec.replication is None else spec.replication,
        "configs": _RESULTS if compacted else _LINES,
    }
    answer = admin.create_topics({spec.topic: wanted}, validate_only=only_ask, raise_errors=False)
    (created,) = answer["topics"]
    code = created["error_code"]
    if code and for_code(code) is not TopicAlreadyExistsError:  # somebody else may have been faster
        fault = for_code(code)
        if fault.__name__.endswith("AuthorizationFailedError"):
            raise TopicProblem(
                f"The topic {spec.topic} is not there at {brokers}, and this user may not create it.",
                "Have it created, or have Create on it granted.",
            )
        raise TopicProblem(
            f"The topic {spec.topic} cannot be created at {brokers} with {_told(spec)}: "
            f"{created.get('error_message') or fault.__name__}".rstrip(".")
            + ".",
            "Correct partitions and replication in the sink: replication is at most the number of brokers.",
        )
    if not only_ask:
        admin.wait_for_topics([spec.topic])


def _told(spec: KafkaSinkSpec) -> str:
    return ", ".join(
        f"{name} {'as the broker has it' if number is None else number}"
        for name, number in (("partitions", spec.partitions), ("replication", spec.replication))
    )
