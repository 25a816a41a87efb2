"""Where the items of `similar` come from: that they can be read, and topics of them as streams."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console

from flink_job.connector import connector_properties
from flink_job.kafka_clients.problem import OnlyForJava
from flink_job.kafka_clients.topics import partitions_of_source
from flink_job.pipeline.spec import Pipeline
from flink_job.sources.items_spec import KafkaItems
from flink_job.sources.kafka_spec import KafkaSourceSpec
from flink_job.sources.source import SourceProblem
from operators.similar.item_lines import ItemsProblem, item_paths

if TYPE_CHECKING:
    from pyflink.table import StreamTableEnvironment, Table

_DEFAULTS = {
    # What a transaction that was aborted wrote never happened.
    "isolation.level": "read_committed"
}


def check_items(pipeline: Pipeline, console: Console) -> None:
    """Check that the items of all entries can be read.

    Args:
        pipeline: the pipeline.
        console: where it is told what could not be checked.

    Raises:
        SourceProblem: where there is no file.
        KafkaProblem: where a topic is missing or cannot be read.
    """
    for entry in pipeline.similar:
        if isinstance(entry.items, KafkaItems):
            try:
                partitions_of_source(with_brokers(entry.items, pipeline).source())
            except OnlyForJava as problem:
                told = f"the topic of similar.{entry.name}.items is not checked: {problem}"
                console.print(told, markup=False, soft_wrap=True)
        else:
            try:
                item_paths(entry.items)
            except ItemsProblem as problem:
                raise SourceProblem(f"similar.{entry.name}.{problem}") from None


def with_brokers(items: KafkaItems, pipeline: Pipeline) -> KafkaItems:
    """Return the options with brokers, and how to be let in there, where they are the source's."""
    if items.brokers is not None or not isinstance(pipeline.source, KafkaSourceSpec):
        return items
    source = pipeline.source
    properties = source.security() | items.properties
    return items.model_copy(update={"brokers": source.brokers, "properties": properties})


def items_table(
    items: KafkaItems, group: str, name: str, bounded: bool, t_env: StreamTableEnvironment
) -> Table:
    """Return the table of a topic's messages: key, value, partition, offset.

    One reader has them all, so that all workers that the items are sent on to see the same order.

    Args:
        items: the options, brokers included.
        group: the consumer group.
        name: of the table.
        bounded: whether to end where the topic ends now, as it must where the events end.
        t_env: the table environment.
    """
    from pyflink.table import Schema, TableDescriptor
    from pyflink.table.expressions import col

    schema = (
        Schema.new_builder()
        .column("item_key", "BYTES")
        .column("item", "BYTES")
        .column_by_metadata("partition", "INT", is_virtual=True)
        .column_by_metadata("offset", "BIGINT", is_virtual=True)
    )
    descriptor = TableDescriptor.for_connector("kafka").schema(schema.build())
    for key, value in _options(items, group, bounded).items():
        descriptor = descriptor.option(key, value)
    quoted = f"`{name}`"
    t_env.create_temporary_table(quoted, descriptor.build())
    return t_env.from_path(quoted).select(col("item_key"), col("item"), col("partition"), col("offset"))


def _options(items: KafkaItems, group: str, bounded: bool) -> dict[str, str]:
    options = {
        "topic": items.topic,
        "key.format": "raw",
        "key.fields": "item_key",
        "value.format": "raw",
        "value.fields-include": "EXCEPT_KEY",
        "properties.bootstrap.servers": items.brokers,
        "properties.group.id": group,
        "scan.startup.mode": "earliest-offset",
        "scan.parallelism": "1",
    }
    if bounded:
        options["scan.bounded.mode"] = "latest-offset"
    return options | connector_properties(_DEFAULTS | items.properties)
