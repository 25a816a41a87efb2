"""What `flink run -py flink_job/main.py --pipeline FILE` starts: the job on any cluster."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click
from py4j.java_gateway import JavaObject

from flink_job.kafka_clients.problem import KafkaProblem
from flink_job.pipeline.reading import PipelineProblem, load_pipeline
from flink_job.screen import Screen, print_error
from flink_job.settings import CHECKPOINT_FOLDER, job_settings
from flink_job.sinks.opening import open_sinks
from flink_job.sources.opening import open_source
from flink_job.sources.source import SourceProblem

_RESTORED_FROM, _TARGET = "execution.state-recovery.path", "execution.target"


@click.command()
@click.option("--pipeline", "path", required=True, type=click.Path(path_type=Path))
@click.option("--set", "overrides", metavar="KEY=VALUE", multiple=True)
def main(path: Path, overrides: tuple[str, ...]) -> None:
    """Build the job of a pipeline file and hand it to the cluster."""
    try:
        pipeline = load_pipeline(path, overrides)
        console = Screen(stderr=True)
        source = open_source(pipeline, False, console)
        sinks = open_sinks(pipeline, False, console)
    except (PipelineProblem, SourceProblem, KafkaProblem) as problem:
        print_error(str(problem))
        sys.exit(1)

    from pyflink.common import Configuration
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.util.java_utils import get_j_env_configuration

    from flink_job.stream_graph import stream_graph
    from flink_job.topology import build

    env = StreamExecutionEnvironment.get_execution_environment()
    settings = job_settings(pipeline, source)
    # What the cluster, or whoever submits, says of checkpoints is better than a folder of this machine.
    own = get_j_env_configuration(env._j_stream_execution_environment)
    if pipeline.checkpoints.dir is None and own.containsKey(CHECKPOINT_FOLDER):
        del settings[CHECKPOINT_FOLDER]
    configuration = Configuration()
    for key, value in settings.items():
        configuration.set_string(key, value)
    env.configure(configuration)
    build(pipeline, source, sinks, env, time.time_ns() // 1_000_000 if _begins_afresh(own) else None)
    env._j_stream_execution_environment.execute(stream_graph(env, pipeline, source))


def _begins_afresh(configuration: JavaObject) -> bool:
    """Return whether nothing is restored. In application mode a JobManager may find what was."""
    restores = configuration.containsKey(_RESTORED_FROM)
    return not restores and configuration.getString(_TARGET, "") != "embedded"


if __name__ == "__main__":
    main()
