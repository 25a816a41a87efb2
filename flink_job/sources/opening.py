"""Opens the source that a pipeline names."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

from flink_job.kafka_clients.problem import OnlyForJava
from flink_job.kafka_clients.topics import partitions_of_source
from flink_job.pipeline.spec import Pipeline
from flink_job.simulation.simulation import SimulatorSpec
from flink_job.sources.file_source import FileSource
from flink_job.sources.kafka_source import KafkaSource
from flink_job.sources.kafka_spec import KafkaSourceSpec
from flink_job.sources.side_topics import check_beside
from flink_job.sources.simulator_source import SimulatorSource
from flink_job.sources.source import Source


def open_source(pipeline: Pipeline, go_on: bool, console: Console) -> Source:
    """Open the source of a pipeline, having seen that what is read beside it can be read too.

    Args:
        pipeline: the pipeline.
        go_on: whether a run is gone on with, so that the same files are read again.
        console: where progress is shown.

    Raises:
        SourceProblem: where the source or files of items cannot be read.
        KafkaProblem: where topics cannot be read.
    """
    check_beside(pipeline, console)
    if isinstance(pipeline.source, KafkaSourceSpec):
        try:
            partitions = partitions_of_source(pipeline.source)
        except OnlyForJava as problem:
            console.print(f"topics of the source are not checked: {problem}", markup=False, soft_wrap=True)
            partitions = None
        return KafkaSource(
            pipeline.source,
            pipeline.source.group or pipeline.name,
            partitions,
            pipeline.event.idle_timeout,
            pipeline.event.time.kafka_timestamp,
        )
    if isinstance(pipeline.source, SimulatorSpec):
        return SimulatorSource(pipeline.source)
    columns = (TextColumn("cutting {task.description}", markup=False), BarColumn(), DownloadColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("files", total=None)

        def show(path: str, done: int, size: int) -> None:
            total = None if path.endswith(".gz") else size
            progress.update(task, description=path, completed=done, total=total)

        manifest_path = pipeline.run_folder() / "source.json"
        return FileSource(pipeline.source, manifest_path, go_on, show, pipeline.columns_of_fields())
