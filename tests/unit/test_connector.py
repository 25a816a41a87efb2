"""Flink's Kafka connector: a missing or wrong jar is told in one message, not by a stack trace of Java's."""

from __future__ import annotations

from pathlib import Path

import pytest

from flink_job.connector import CONNECTOR, connector_jar, connector_properties
from flink_job.machine.environment import EnvironmentProblem


def test_a_missing_jar_is_named_with_what_fetches_it(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem) as caught:
        connector_jar(tmp_path)
    assert CONNECTOR in caught.value.message and str(tmp_path) in caught.value.message
    assert "make jars" in caught.value.remedy


def test_a_jar_of_another_version_is_named_as_what_it_is(tmp_path: Path) -> None:
    other = tmp_path / "flink-sql-connector-kafka-3.0.0-1.17.jar"
    other.write_bytes(b"older")
    with pytest.raises(EnvironmentProblem, match=other.name):
        connector_jar(tmp_path)


def test_a_jar_with_other_content_is_refused(tmp_path: Path) -> None:
    (tmp_path / CONNECTOR).write_bytes(b"half of a download")
    with pytest.raises(EnvironmentProblem, match="sha256"):
        connector_jar(tmp_path)


def test_classes_of_kafka_get_the_names_that_they_have_inside_the_jar() -> None:
    login = 'org.apache.kafka.common.security.plain.PlainLoginModule required username="a";'
    told = connector_properties({"sasl.jaas.config": login, "x": "my.org.apache.kafka.Y", "client.id": "c"})
    assert told["properties.sasl.jaas.config"] == f"org.apache.flink.kafka.shaded.{login}"
    assert told["properties.x"] == "my.org.apache.kafka.Y"
    assert (
        connector_properties({"a": told["properties.sasl.jaas.config"]})["properties.a"].count("shaded") == 1
    )
