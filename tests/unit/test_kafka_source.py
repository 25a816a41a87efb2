"""Kafka as a source: what Flink's connector is told, and what a batch of messages becomes."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError
from rich.console import Console

from flink_job.commands.committed import ends_to_reach
from flink_job.kafka_clients.problem import KafkaProblem
from flink_job.pipeline.reading import load_pipeline
from flink_job.sources.kafka_source import KafkaReader, KafkaSource
from flink_job.sources.kafka_spec import KafkaSourceSpec
from flink_job.sources.opening import open_source


def spec(**options: object) -> KafkaSourceSpec:
    return KafkaSourceSpec.model_validate({"type": "kafka", "brokers": "a:1,b:2", "topic": "t"} | options)


def source_of(given: KafkaSourceSpec, partitions: dict[str, int] | None) -> KafkaSource:
    return KafkaSource(given, "group", partitions, 30_000, False)


def options(given: KafkaSourceSpec) -> dict[str, str]:
    return source_of(given, {"t": 4})._options()


@pytest.mark.parametrize(
    ("start", "told"),
    [
        ("earliest", {"scan.startup.mode": "earliest-offset"}),
        ("latest", {"scan.startup.mode": "latest-offset"}),
        ("committed", {"scan.startup.mode": "group-offsets"}),
        ("1970-01-01T00:00:01Z", {"scan.startup.mode": "timestamp", "scan.startup.timestamp-millis": "1000"}),
        ("1970-01-01T02:00:00+02:00", {"scan.startup.timestamp-millis": "0"}),
        ("1970-01-01T00:00:02.5", {"scan.startup.timestamp-millis": "2500"}),
    ],
)
def test_where_to_start_is_told_to_the_connector(start: str, told: dict[str, str]) -> None:
    assert options(spec(start=start)).items() >= told.items()


def test_one_topic_several_and_a_pattern_are_told_each_in_its_way() -> None:
    assert options(spec())["topic"] == "t"
    assert options(spec(topic=None, topics=["x", "y"]))["topic"] == "x;y"
    by_pattern = options(spec(topic=None, pattern="x.*"))
    assert by_pattern["topic-pattern"] == "x.*" and "topic" not in by_pattern


def test_any_property_is_passed_on_and_outdoes_what_is_set_here() -> None:
    told = options(spec(properties={"isolation.level": "read_uncommitted", "fetch.min.bytes": "9"}))
    assert told["properties.isolation.level"] == "read_uncommitted"
    assert told["properties.fetch.min.bytes"] == "9"
    assert options(spec())["properties.isolation.level"] == "read_committed"


def test_a_partition_that_was_not_read_yet_is_waited_for_whatever_flink_calls_idle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 100.0
    monkeypatch.setattr("flink_job.sources.kafka_source.time.monotonic", lambda: now)
    reader = KafkaReader("t", False, 30_000)
    reader.at_least = 2

    def all_heard(partition: int, flink: bool = True) -> bool:
        rows = (pd.Series([b"{}"]), pd.Series([partition]), pd.Series([0]), pd.Series([flink]))
        [(_, batch)] = reader.read(*rows)
        return batch.all_heard

    assert not all_heard(0)
    now += 29
    assert not all_heard(0)
    assert all_heard(1) and not all_heard(1, flink=False)
    # Flink may say so for the first time of a batch that has the last partition alone.
    reader = KafkaReader("t", False, 30_000)
    reader.at_least = 2
    assert not all_heard(0, flink=False) and all_heard(1)
    reader = KafkaReader("t", False, 30_000)
    reader.at_least = 2
    assert not all_heard(0)
    now += 30
    assert all_heard(0)


@pytest.mark.parametrize(("parallelism", "partitions", "readers"), [(2, 4, 2), (4, 3, 3), (2, 0, 1)])
def test_there_are_no_readers_without_a_partition(parallelism: int, partitions: int, readers: int) -> None:
    assert source_of(spec(), {"t": partitions}).readers(parallelism) == readers


def test_a_bounded_source_ends_where_the_topic_ended_when_it_began() -> None:
    assert options(spec(stop="latest"))["scan.bounded.mode"] == "latest-offset"
    assert "scan.bounded.mode" not in options(spec())


def test_a_message_of_csv_has_no_header_line() -> None:
    with pytest.raises(ValidationError, match="no header line"):
        spec(format={"type": "csv"})
    assert spec(format={"type": "csv", "columns": ["a"]}).format.columns == ("a",)


def columns(*rows: tuple) -> list[pd.Series]:
    return [
        pd.Series(list(column), dtype=object if i == 0 else None)
        for i, column in enumerate(zip(*rows, strict=True))
    ]


def test_a_batch_says_of_each_message_where_it_is_from() -> None:
    rows = columns((b"a", 0, 10, False), (None, 2, 11, False), (b"c", 0, 12, True))
    [(row, batch)] = KafkaReader("t", False, 30_000).read(*rows)
    assert row == 2 and batch.all_heard is True and batch.record_time_ms is None
    assert [batch.payloads.payload(i) for i in range(3)] == [b"a", None, b"c"]
    assert [batch.position(i) for i in range(3)] == [
        {"topic": "t", "partition": p, "offset": o} for p, o in ((0, 10), (2, 11), (0, 12))
    ]
    assert [batch.partition_names[i] for i in batch.partitions] == ["t/0", "t/2", "t/0"]


def test_equal_partition_numbers_of_two_topics_are_two_partitions() -> None:
    times = pd.to_datetime([5, 7, 9], unit="ms")
    rows = columns((b"a", 1, 0, False), (b"b", 1, 0, False), (b"c", 0, 3, False))
    [(_, batch)] = KafkaReader(None, True, 30_000).read(*rows, pd.Series(times), pd.Series(["x", "y", "x"]))
    assert [batch.partition_names[i] for i in batch.partitions] == ["x/1", "y/1", "x/0"]
    assert batch.position(1) == {"topic": "y", "partition": 1, "offset": 0}
    np.testing.assert_array_equal(batch.record_time_ms, [5, 7, 9])
    assert batch.all_heard is False


def test_where_partitions_are_not_known_there_are_as_many_readers_as_workers() -> None:
    assert source_of(spec(), None).readers(3) == 3


def test_a_store_of_certificates_that_only_java_reads_costs_the_check_and_not_the_run(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(
        "{name: p, source: {type: kafka, brokers: 'localhost:1', topic: t, properties: "
        "{security.protocol: SSL, ssl.truststore.location: /certificates.jks}}, event: {fields: {t: long}, "
        "time: {field: t, unit: ms}}, metrics: [{name: n, kind: count, windows: [{tumbling: 1m}]}]}"
    )
    told = io.StringIO()
    source = open_source(load_pipeline(file), False, Console(file=told, width=200))
    assert "topics of the source are not checked" in told.getvalue() and "ssl.truststore" in told.getvalue()
    assert source.readers(3) == 3


def test_offsets_are_committed_only_where_all_of_a_topic_is_read_and_the_group_may_be_touched() -> None:
    def asks(
        go_on: bool = False, known: bool = True, stop: str = "latest", commits: str | None = None
    ) -> bool:
        """Whether the brokers are asked where the topic ends; there are none."""
        properties = {} if commits is None else {"commit.offsets.on.checkpoint": commits}
        given = spec(brokers="127.0.0.1:1", stop=stop, properties=properties)
        try:
            assert ends_to_reach(source_of(given, {"t": 4} if known else None), go_on) == {}
        except KafkaProblem:
            return True
        return False

    assert asks() and asks(commits="true") and asks(commits="TRUE")
    assert not (asks(go_on=True) or asks(known=False) or asks(stop="never"))
    assert not (asks(commits="false") or asks(commits="False"))
