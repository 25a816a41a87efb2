"""What `flink run -py flink_job/main.py --pipeline FILE` starts: the job on any cluster."""

from __future__ import annotations

from pathlib import Path

import click
from rich.console import Console

from flink_job.pipeline.reading import PipelineProblem, load_pipeline
from flink_job.settings import job_settings
from flink_job.sinks.file_sink import FileSink, FileSinkSpec
from flink_job.sinks.print_sink import PrintSink
from flink_job.sources.opening import open_source
from flink_job.sources.source import SourceProblem


@click.command()
@click.option("--pipeline", "path", required=True, type=click.Path(path_type=Path))
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True)
def main(path: Path, overrides: tuple[str, ...]) -> None:
    """Build the job of a pipeline file and hand it to the cluster."""
    try:
        pipeline = load_pipeline(path, overrides)
        source = open_source(pipeline, False, Console(stderr=True))
    except (PipelineProblem, SourceProblem) as problem:
        raise SystemExit(str(problem)) from None

    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment

    from flink_job.topology import build

    configuration = Configuration()
    for key, value in job_settings(pipeline, source).items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    sinks = {}
    for output in ("results", "late", "rejects"):
        spec = getattr(pipeline.sinks, output)
        sinks[output] = FileSink(Path(spec.path)) if isinstance(spec, FileSinkSpec) else PrintSink()
    # Whether the cluster restores a savepoint is not known here, so anything may be late at first.
    build(pipeline, source, sinks, env, begun_ms=None)
    env.execute(pipeline.name)


if __name__ == "__main__":
    main()
