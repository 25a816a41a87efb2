"""Builds the job of a pipeline file and prints how much Python operators gather, as JSON.

Arguments: the file, the operators' names with commas between them, and what the file is to have otherwise.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pyflink.common import Configuration
from pyflink.datastream import StreamExecutionEnvironment
from rich.console import Console

from flink_job.pipeline.reading import load_pipeline
from flink_job.settings import job_settings
from flink_job.sinks.opening import open_sinks
from flink_job.sources.opening import open_source
from flink_job.stream_graph import stream_graph
from flink_job.topology import build

_BUNDLE = "python.fn-execution.bundle."

if __name__ == "__main__":
    pipeline, screen = load_pipeline(Path(sys.argv[1]), sys.argv[3:]), Console(stderr=True)
    source, sinks = open_source(pipeline, False, screen), open_sinks(pipeline, True, screen)
    configuration = Configuration()
    for key, value in job_settings(pipeline, source).items():
        configuration.set_string(key, value)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    build(pipeline, source, sinks, env, None)
    bundles = {}
    for node in stream_graph(env, pipeline, source).getStreamNodes().toArray():
        name = node.getOperatorName().partition("[")[0]
        if name in sys.argv[2].split(","):
            settings = node.getOperatorFactory().getOperator().getConfiguration().toMap()
            bundles[name] = [int(settings[_BUNDLE + what]) for what in ("time", "size")]
    print(json.dumps(bundles))
