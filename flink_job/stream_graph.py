"""What is handed to Flink: the graph of all that was built, with bundles that suit each Python operator."""

from __future__ import annotations

from py4j.java_gateway import JavaObject
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.util.java_utils import get_field

from flink_job import uids
from flink_job.pipeline.spec import Pipeline
from flink_job.settings import window_settings
from flink_job.sources.source import Source


def stream_graph(env: StreamExecutionEnvironment, pipeline: Pipeline, source: Source) -> JavaObject:
    """Return the graph of what was built in an environment, to be executed there.

    PyFlink gives all operators of streams one and the same configuration as it makes the graph, so that of
    windows is put in its place behind that.
    """
    graph = env._generate_stream_graph(clear_transformations=True, job_name=pipeline.name)
    for node in graph.getStreamNodes().toArray():
        if node.getTransformationUID() == uids.WINDOWS:
            operator = node.getOperatorFactory().getOperator()
            own = get_gateway().jvm.org.apache.flink.configuration.Configuration(operator.getConfiguration())
            for key, value in window_settings(source).items():
                own.setString(key, value)
            get_field(operator.getClass(), "config").set(operator, own)
    return graph
