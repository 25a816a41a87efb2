"""Whether a Flink cluster answers, is of our version, and has room for a pipeline."""

from __future__ import annotations

from importlib.metadata import version
from pathlib import PurePosixPath
from typing import Any

from flink_job.cluster.rest import FlinkRest, FlinkUnreachable
from flink_job.commands.examination.finding import Finding
from flink_job.pipeline.file_systems import PLUGINS, scheme_of
from flink_job.pipeline.spec import Pipeline
from flink_job.settings import CHECKPOINT_FOLDER

_LOCAL = ("localhost:", "127.0.0.1:", "[::1]:")
# On these a job's TaskManagers are started when it comes.
_ON_DEMAND = ("kubernetes.cluster-id", "yarn.application.id")


class _Cluster(FlinkRest):
    def overview(self) -> dict[str, Any]:
        """Return Flink's version, and its slots."""
        answer = self._get("/overview")
        if not isinstance(answer, dict) or "flink-version" not in answer:
            raise FlinkUnreachable("what answers is not Flink")
        return answer

    def class_path(self) -> list[str]:
        """Return the names of the jars that all jobs of the cluster share."""
        return [PurePosixPath(jar).name for jar in self._get("/jobmanager/environment")["classpath"]]


def check_cluster(address: str, pipeline: Pipeline | None) -> list[Finding]:
    """Look at a cluster, and whether a pipeline can run there if one is given.

    Args:
        address: `host:port` of its REST interface, which is also its web UI.
        pipeline: the pipeline, if there is one.

    Returns:
        A finding on the cluster; where it answers, one each on the jars that it has, on its slots and on
        where checkpoints go.
    """
    rest = _Cluster(f"http://{address}")
    try:
        overview, configuration, jars = rest.overview(), rest.configuration(), rest.class_path()
    except FlinkUnreachable as problem:
        cause = problem.__cause__ or problem
        reason = getattr(cause, "reason", cause)
        why = getattr(reason, "strerror", None) or reason
        return [
            Finding(
                "cluster",
                "fail",
                f"no Flink cluster answers at {address}: {why}",
                "Start one with `make cluster-up`, or give the address of its web UI as HOST:PORT.",
            )
        ]
    return [
        _version(address, overview),
        _shared_jars(jars),
        _slots(overview, configuration, pipeline),
        _checkpoints(address, configuration, pipeline),
    ]


def _version(address: str, overview: dict[str, Any]) -> Finding:
    theirs, ours = overview["flink-version"], version("apache-flink")
    if theirs == ours:
        return Finding("cluster", "ok", f"{address}: Flink {theirs}")
    detail = f"{address}: Flink {theirs}, but jobs of this project are of Flink {ours}"
    return Finding("cluster", "fail", detail, f"Use a cluster of Flink {ours}.")


def _shared_jars(jars: list[str]) -> Finding:
    name = f"flink-python-{version('apache-flink')}.jar"
    if name in jars:
        return Finding("shared jars", "ok", f"{name} in the cluster's lib")
    return Finding(
        "shared jars",
        "warn",
        f"{name} is not in the cluster's lib: a TaskManager loads it anew for each job and never gives back "
        "its 46 MB of Metaspace",
        f"Link or copy opt/{name} to lib/ on each machine of the cluster, and start it again.",
    )


def _slots(overview: dict[str, Any], configuration: dict[str, str], pipeline: Pipeline | None) -> Finding:
    free, total, managers = (overview[key] for key in ("slots-available", "slots-total", "taskmanagers"))
    told = f"{free} of {total} free, TaskManagers: {managers}"
    if any(configuration.get(key) for key in _ON_DEMAND):
        return Finding("slots", "ok", f"{told}; more are started on demand")
    if pipeline is None:
        needed = 1
    else:
        needed = pipeline.parallelism or int(configuration.get("parallelism.default", "1"))
        told += f"; {pipeline.name} needs {needed}"
    if needed <= free:
        return Finding("slots", "ok", told)
    start = "Start more TaskManagers (or with more taskmanager.numberOfTaskSlots), or lower `parallelism`."
    if needed <= total:
        return Finding("slots", "warn", told, f"Wait for other jobs to end, or stop them. {start}")
    return Finding("slots", "fail", told, start)


def _checkpoints(address: str, configuration: dict[str, str], pipeline: Pipeline | None) -> Finding:
    own = None if pipeline is None else pipeline.checkpoints.dir
    folder = own or configuration.get(CHECKPOINT_FOLDER)
    if folder:
        origin = "the pipeline's" if own else "the cluster's"
        plugin = PLUGINS.get(scheme_of(folder), "a plugin")
        shared = "every TaskManager must see this folder"
        needed = f"each of its machines needs {plugin}" if plugin else shared
        return Finding("checkpoints", "ok", f"{folder} ({origin}); {needed}")
    remedy = (
        f"Set checkpoints.dir in the pipeline, or {CHECKPOINT_FOLDER} in the cluster's configuration, to a "
        "URI that all of the cluster sees."
    )
    if address.startswith(_LOCAL):
        return Finding("checkpoints", "ok", "in the run's own folder on this machine")
    return Finding("checkpoints", "fail", "the cluster has no folder for them", remedy)
