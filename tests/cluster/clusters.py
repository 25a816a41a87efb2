"""Jobs on a real cluster: submitted as a user does, watched, robbed of processes, and stopped."""

from __future__ import annotations

import json
import urllib.request
from pathlib import Path
from typing import Any

import linux
from processes import Run
from waiting import wait_for

from flink_job.cluster.rest import ENDED, FlinkRest
from flink_job.standalone.cluster import FlinkCluster


def start(runs: list[Run], folder: Path, cluster: FlinkCluster, *options: str) -> Run:
    """Run the pipeline.yaml of a folder on a cluster and wait until its job is taken."""
    run = Run(folder, "run", "pipeline.yaml", "--json", "--cluster", cluster.address, *options)
    runs.append(run)
    run.job()
    return run


def stop(run: Run) -> None:
    """Stop a run with Ctrl-C, behind a savepoint."""
    run.interrupt()
    assert run.wait() == 0, run.err
    assert json.loads(run.out)["savepoint"], run.out


def cancel(cluster: FlinkCluster, job: str) -> None:
    """End a job at once, and wait until its slots are free."""
    rest = FlinkRest(f"http://{cluster.address}")
    rest.cancel(job)
    wait_for(lambda: rest.status(job) == "CANCELED", "the end of a job")


def cancel_all(cluster: FlinkCluster) -> None:
    """End what a cluster still runs, and wait until its slots are free."""
    for job in _ask(cluster, "/jobs/overview")["jobs"]:
        if job["state"] not in ENDED:
            cancel(cluster, job["jid"])


def restarts(cluster: FlinkCluster, job: str) -> int:
    """How often a job was restarted, or is about to be, by the failures that it had.

    The metric that says so was seen to stand still for minutes once a TaskManager was gone.
    """
    return len(_ask(cluster, f"/jobs/{job}/exceptions?maxExceptions=100")["exceptionHistory"]["entries"])


def workers(task_manager: int) -> list[int]:
    """The Python workers of a TaskManager: those of its descendants that serve Beam's protocol."""
    parents = {pid: linux.parent(pid) for pid in linux.processes()}

    def descends(pid: int | None) -> bool:
        while pid in parents:
            if pid == task_manager:
                return True
            pid = parents[pid]
        return False

    return [pid for pid in parents if descends(pid) and "beam_boot" in linux.command_line(pid)]


def busy_task_manager(cluster: FlinkCluster) -> int:
    """A TaskManager that has workers."""

    def found() -> int | None:
        return next((pid for pid in cluster.task_managers if workers(pid)), None)

    return wait_for(found, "a TaskManager with Python workers")


def _ask(cluster: FlinkCluster, path: str) -> Any:
    with urllib.request.urlopen(f"http://{cluster.address}{path}", timeout=10) as answer:
        return json.load(answer)
