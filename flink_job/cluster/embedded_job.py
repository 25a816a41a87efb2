"""Runs a job in an embedded mini-cluster: one JVM beside this process, Python workers beside that."""

from __future__ import annotations

import logging
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from flink_job.cluster.failure_reasons import reason_of
from flink_job.cluster.failures import JobFailed, failures_of
from flink_job.cluster.rest import Failure, FlinkGone, FlinkRest, FlinkUnreachable
from flink_job.connector import connector_jar
from flink_job.machine.environment import export_java
from flink_job.machine.flink import LOG4J_PROPERTIES, flink_home
from flink_job.machine.orphans import end_orphans, mark_run
from flink_job.pipeline.file_systems import FILE, scheme_of
from flink_job.pipeline.spec import Pipeline
from flink_job.rest_guard.jar import guard_jar
from flink_job.settings import embedded_settings, job_settings, slots
from flink_job.sinks.sink import Sink
from flink_job.sources.source import Source

if TYPE_CHECKING:
    from py4j.java_gateway import JVMView
    from pyflink.common import JobClient

_ROOT = Path(__file__).resolve().parents[2]
_PARALLELISM = 2
_WITHOUT_TASK_MANAGER_S = 10
"""Longer than one takes to be known, and than a failure's reason does."""


class ClusterLost(JobFailed):
    """The embedded cluster died under the job; its checkpoints are whole."""


@dataclass
class EmbeddedJob:
    """A job that was started.

    Attributes:
        client: waits for its end.
        rest: its cluster's REST interface, which is also the address of the web UI.
        id: the job's id.
        log: the cluster's log.
        mark: what its processes carry in their environment.
    """

    client: JobClient
    rest: FlinkRest
    id: str
    log: Path
    mark: str
    _task_manager_seen_s: float = field(default_factory=time.monotonic)

    def wait(self, checkpoint_failure: str) -> None:
        """Wait for the end.

        Args:
            checkpoint_failure: the cause of failed checkpoints, as last polled; empty if none.

        Raises:
            ClusterLost: where the Java process died.
            JobFailed: where the job did not finish.
        """
        from py4j.protocol import Py4JError, Py4JJavaError

        try:
            self.client.get_job_execution_result().result()
        except Exception as problem:  # PyFlink raises what it makes of the Java exception
            if isinstance(problem, Py4JError) and not isinstance(problem, Py4JJavaError):
                raise self._lost(
                    "the Java process is gone: it was killed or crashed, or the machine is out of memory"
                ) from None
            raise JobFailed(reason_of(str(problem), checkpoint_failure), self.log) from None

    def failures(self) -> list[Failure]:
        """Return the failures after which the job restarted, oldest first.

        Raises:
            ClusterLost: where the TaskManager died, so that the job would wait for slots for ever.
            JobFailed: where another attempt would fail in the same way, because the source cannot be read.
        """
        failures = failures_of(self.rest, self.id, self.log)
        now = time.monotonic()
        if self.rest.task_managers():
            self._task_manager_seen_s = now
        elif now - self._task_manager_seen_s > _WITHOUT_TASK_MANAGER_S:
            raise self._lost("Flink's TaskManager is gone: it ended after an error it could not contain")
        return failures

    def outage_message(self, problem: FlinkUnreachable, for_s: float, last_seen: str | None) -> str | None:
        """Return None where the cluster has shut down, as it does when its job ends; empty if just busy."""
        return None if isinstance(problem, FlinkGone) else ""

    def _lost(self, reason: str) -> ClusterLost:
        """End what is left of the cluster."""
        end_orphans(self.mark)
        return ClusterLost(reason, self.log)


def start(
    pipeline: Pipeline, source: Source, sinks: dict[str, Sink], port: int, restore: str | None
) -> EmbeddedJob:
    """Start a job.

    Args:
        pipeline: the pipeline.
        source: where events come from.
        sinks: where `results`, `late`, `rejects` and, if wanted, `totals` go.
        port: the port of the web UI on localhost.
        restore: the URI of the checkpoint or savepoint to go on from; None to begin afresh.

    Raises:
        JobFailed: where the job cannot be started.
    """
    export_java()
    mark = mark_run()
    # What fails is told in one line; PyFlink and py4j would log whole stack traces to the screen besides.
    logging.disable(logging.ERROR)
    folder = pipeline.run_folder()
    logs, temporary = folder / "logs", folder / "tmp"
    logs.mkdir(parents=True, exist_ok=True)
    for earlier in logs.glob("flink-*.log"):
        earlier.unlink()
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(exist_ok=True)  # what a killed process is still about to write may have kept it
    os.environ["FLINK_LOG_DIR"] = str(logs)
    os.environ.setdefault("LOG4J_PROPERTIES", str(LOG4J_PROPERTIES))
    # Without FLINK_HOME, PyFlink uses its own plugins folder and ignores FLINK_PLUGINS_DIR.
    os.environ.setdefault("FLINK_HOME", str(flink_home()))
    if " " not in str(folder):  # PyFlink splits these at blanks
        # Where Java is killed it leaves 100 MB of temporary files: here the next run finds and clears them.
        options = f"-XX:ErrorFile={logs}/java-crash-%p.log -Djava.io.tmpdir={temporary}"
        os.environ["JVM_ARGS"] = " ".join(filter(None, (options, os.environ.get("JVM_ARGS"))))
    # PyFlink adds HADOOP_CLASSPATH to Java's class path, from which Flink loads the guard.
    class_path = (str(guard_jar()), os.environ.get("HADOOP_CLASSPATH"))
    os.environ["HADOOP_CLASSPATH"] = os.pathsep.join(filter(None, class_path))
    # Otherwise workers would be threads of this process and share its interpreter lock.
    os.environ["_python_worker_execution_mode"] = "process"  # noqa: SIM112 - Flink spells it so
    # Workers find the packages where they are; shipping them as files would copy the whole checkout.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))

    from py4j.protocol import Py4JJavaError
    from pyflink.common import Configuration, JobClient
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.java_gateway import get_gateway

    from flink_job.stream_graph import stream_graph
    from flink_job.topology import build

    with _output_of_children(logs / "java.out"):
        get_gateway()
    settings = embedded_settings(port, _PARALLELISM, slots(pipeline, _PARALLELISM))
    settings |= job_settings(pipeline, source)
    if pipeline.uses_kafka():
        settings["pipeline.jars"] = connector_jar().as_uri()
    if restore is not None:
        settings["execution.state-recovery.path"] = restore
    configuration = Configuration()
    for key, value in settings.items():
        configuration.set_string(key, value)
    if any(scheme_of(uri) != FILE for uri in (pipeline.checkpoint_uri(), *filter(None, [restore]))):
        _load_file_systems(get_gateway().jvm)
    env = StreamExecutionEnvironment.get_execution_environment(configuration)
    build(pipeline, source, sinks, env, begun_ms=time.time_ns() // 1_000_000 if restore is None else None)
    graph = stream_graph(env, pipeline, source)
    log = max(logs.glob("*.log"), key=lambda path: path.stat().st_mtime_ns, default=logs)
    try:
        client = JobClient(env._j_stream_execution_environment.executeAsync(graph))
    except Py4JJavaError as problem:
        # Such as an incompatible checkpoint, or a folder that is not writable.
        raise JobFailed(reason_of(str(problem)), log) from None
    return EmbeddedJob(client, FlinkRest(f"http://localhost:{port}"), str(client.get_job_id()), log, mark)


def _load_file_systems(jvm: JVMView) -> None:
    """Load Flink's file system plugins, which an embedded cluster does not do by itself.

    Their options, such as credentials, are read from `config.yaml` in FLINK_CONF_DIR.
    """
    flink = jvm.org.apache.flink
    options = flink.configuration.GlobalConfiguration.loadConfiguration()
    plugins = flink.core.plugin.PluginUtils.createPluginManagerFromRootFolder(options)
    flink.core.fs.FileSystem.initialize(options, plugins)


@contextmanager
def _output_of_children(file: Path) -> Iterator[None]:
    """Send what processes started within print to a file: standard output is this command's alone."""
    sys.stdout.flush()
    own = os.dup(1)
    try:
        with file.open("ab") as target:
            os.dup2(target.fileno(), 1)
        yield
    finally:
        os.dup2(own, 1)
        os.close(own)
