"""Opens the sinks that a pipeline names."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from flink_job.kafka_clients.problem import OnlyForJava
from flink_job.kafka_clients.topics import ensure_topic
from flink_job.pipeline.spec import ALERTS, AT_ONCE, DECISIONS, ENRICHED, Pipeline
from flink_job.sinks.file_sink import FileSink, FileSinkSpec
from flink_job.sinks.kafka_sink import KafkaSink, MessageKey
from flink_job.sinks.kafka_spec import KafkaSinkSpec
from flink_job.sinks.print_sink import PrintSink
from flink_job.sinks.sink import Sink
from flink_job.sources.side_topics import with_brokers

_KEYS = {
    "results": MessageKey.ID,
    ALERTS: MessageKey.ID,
    DECISIONS: MessageKey.ID,
    ENRICHED: MessageKey.CARRIED,
}


def open_sinks(pipeline: Pipeline, keep_here: bool, console: Console) -> dict[str, Sink]:
    """Open the sinks of all outputs.

    Args:
        pipeline: the pipeline.
        keep_here: whether what is to be printed, or has no sink, is kept in the run's own folder on this
            machine; otherwise TaskManagers print it.
        console: where it is told what could not be checked.

    Raises:
        KafkaProblem: where a topic cannot be written.
    """
    sinks: dict[str, Sink] = {}
    for output in pipeline.outputs():
        spec = getattr(pipeline.sinks, output)
        if isinstance(spec, KafkaSinkSpec):
            whole = with_brokers(spec, pipeline)
            try:
                ensure_topic(whole, whole.brokers, compacted=output == "results")
            except OnlyForJava as problem:
                told = f"the topic of sinks.{output} is not checked: {problem}"
                console.print(told, markup=False, soft_wrap=True)
            transactions = None if output in AT_ONCE else f"{pipeline.name}-{output}"
            sinks[output] = KafkaSink(whole, transactions, _KEYS.get(output, MessageKey.NONE))
        elif isinstance(spec, FileSinkSpec) or keep_here:
            sinks[output] = FileSink(Path(pipeline.output_folder(output)))
        else:
            sinks[output] = PrintSink()
    return sinks
