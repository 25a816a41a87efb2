"""Topics beside the events, of items, rules and verdicts: that they can be read, and as streams."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from flink_job.connector import connector_properties
from flink_job.kafka_clients.problem import OnlyForJava
from flink_job.kafka_clients.topics import partitions_of_source
from flink_job.pipeline.spec import Pipeline
from flink_job.sinks.kafka_spec import KafkaSinkSpec, ResultKafkaSinkSpec
from flink_job.sources.csv_headers import first_records
from flink_job.sources.kafka_spec import KafkaSourceSpec
from flink_job.sources.side_topic_spec import SideTopic
from flink_job.sources.source import SourceProblem
from operators.first_seen.history import HistoryProblem, history_paths
from operators.similar.item_lines import ItemsProblem, item_paths
from operators.similar.similar_spec import FileItems

if TYPE_CHECKING:
    from pyflink.table import StreamTableEnvironment, Table

_DEFAULTS = {
    # What a transaction that was aborted wrote never happened.
    "isolation.level": "read_committed"
}
_Topic = TypeVar("_Topic", SideTopic, KafkaSinkSpec, ResultKafkaSinkSpec)


def check_beside(pipeline: Pipeline, console: Console) -> None:
    """Check that all that is read beside the events can be: files of items, and topics.

    Args:
        pipeline: the pipeline.
        console: where it is told what could not be checked.

    Raises:
        SourceProblem: a file is missing, or a CSV file lacks a column.
        KafkaProblem: where a topic is missing or cannot be read.
    """
    for entry in pipeline.similar:
        if isinstance(entry.items, FileItems):
            try:
                item_paths(entry.items)
            except ItemsProblem as problem:
                raise SourceProblem(f"similar.{entry.name}.{problem}") from None
    for key, path, format, columns in pipeline.histories():
        try:
            paths = [str(found) for found in history_paths(path)]
        except HistoryProblem as problem:
            raise SourceProblem(f"{key}.{str(problem).removeprefix('history.')}") from None
        first_records(paths, format, {f"{key}.{name}": column for name, column in columns.items()})
    for key, topic in pipeline.side_topics():
        try:
            partitions_of_source(with_brokers(topic, pipeline).source())
        except OnlyForJava as problem:
            console.print(f"the topic of {key} is not checked: {problem}", markup=False, soft_wrap=True)


def with_brokers(topic: _Topic, pipeline: Pipeline) -> _Topic:
    """Return a topic's or sink's options with brokers, and the login there, where they are the source's."""
    if topic.brokers is not None or not isinstance(pipeline.source, KafkaSourceSpec):
        return topic
    source = pipeline.source
    properties = source.security() | topic.properties
    return topic.model_copy(update={"brokers": source.brokers, "properties": properties})


def messages_table(
    topic: SideTopic, group: str, name: str, bounded: bool, t_env: StreamTableEnvironment
) -> Table:
    """Return the table of a topic's messages: key, value, partition, offset.

    One reader is to have them all, so that all workers that they are sent on to see the same order. There is
    no watermark.

    Args:
        topic: the options, brokers included.
        group: the consumer group.
        name: of the table.
        bounded: whether to end where the topic ends now, as it must where the events end.
        t_env: the table environment.
    """
    from pyflink.table import Schema, TableDescriptor

    schema = (
        Schema.new_builder()
        .column("message_key", "BYTES")
        .column("message", "BYTES")
        .column_by_metadata("partition", "INT", is_virtual=True)
        .column_by_metadata("offset", "BIGINT", is_virtual=True)
    )
    descriptor = TableDescriptor.for_connector("kafka").schema(schema.build())
    for key, value in _options(topic, group, bounded).items():
        descriptor = descriptor.option(key, value)
    quoted = f"`{name}`"
    t_env.create_temporary_table(quoted, descriptor.build())
    return t_env.from_path(quoted)


def _options(topic: SideTopic, group: str, bounded: bool) -> dict[str, str]:
    options = {
        "topic": topic.topic,
        "key.format": "raw",
        "key.fields": "message_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "properties.bootstrap.servers": topic.brokers,
        "properties.group.id": group,
        "scan.startup.mode": "earliest-offset",
    }
    if bounded:
        options["scan.bounded.mode"] = "latest-offset"
    return options | connector_properties(_DEFAULTS | topic.properties)
