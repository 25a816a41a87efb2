"""`sketchstream run --cluster`: a pipeline from start to end on a Flink cluster."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from flink_job.cluster.rest import ENDED, FlinkGone, FlinkRest, FlinkUnreachable, JobUnknown
from flink_job.cluster.submission import submit
from flink_job.cluster.submitted_job import (
    WAIT_S,
    Submission,
    SubmittedJob,
    latest_of_cluster,
    note_submitted,
)
from flink_job.commands.committed import commit_reached, ends_to_reach
from flink_job.commands.interrupts import interrupts
from flink_job.commands.progress import follow
from flink_job.machine.environment import EnvironmentProblem
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.began import expect_same_shape, write_began
from flink_job.runs.checkpoints import SAVEPOINTS, restore_point
from flink_job.settings import CHECKPOINT_FOLDER, PYTHON
from flink_job.sinks.opening import open_sinks
from flink_job.sources.opening import open_source

_SAVEPOINT_TIMEOUT_S = 300
_AGAIN_S = 1.0
_LOOK_S = 0.2
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


@dataclass(frozen=True)
class ClusterRun:
    """How a run on a cluster stands.

    Attributes:
        job: the job's id.
        web_ui: where to look at it.
        state: as Flink says it: RUNNING where it was left to run, FINISHED where its source came to its end.
        counted: what Flink counted since this start: events, rejected, late, results.
        savepoint: where it left its state when it was stopped.
    """

    job: str
    web_ui: str
    state: str
    counted: dict[str, int]
    savepoint: str | None = None


def run_on_cluster(
    pipeline: Pipeline,
    path: Path,
    overrides: Sequence[str],
    cluster: str,
    detach: bool,
    go_on: str | None,
    console: Console,
) -> ClusterRun:
    """Run a pipeline on a cluster until it ends or is interrupted, or leave it there running.

    Args:
        pipeline: the pipeline.
        path: its file.
        overrides: `a.b=c`, as given to `load_pipeline`.
        cluster: `host:port` of the cluster's REST interface.
        detach: whether to leave when the job was taken.
        go_on: what to go on from: `latest`, or a checkpoint or savepoint; None to begin afresh.
        console: where progress is shown.

    Raises:
        PipelineProblem: where the pipeline cannot be run as it is.
        SourceProblem: where the source cannot be read.
        KafkaProblem: where a topic cannot be read or written.
        EnvironmentProblem: where the cluster does not answer, or something on this machine is missing.
        JobFailed: where the job cannot be submitted, or fails.
    """
    rest = FlinkRest(f"http://{cluster}")
    configuration = _configuration(rest, cluster)
    settings = _checkpoint_settings(pipeline, cluster, configuration) | _python_settings(
        cluster, configuration
    )
    # What a user can mend is told here, in one line, not by the submission's stack trace.
    source = open_source(pipeline, go_on is not None, console)
    open_sinks(pipeline, False, console)
    ends = ends_to_reach(source, go_on is not None)
    restore = _restore_point(pipeline, go_on)
    pipeline.run_folder().mkdir(parents=True, exist_ok=True)
    if restore is None:
        write_began(pipeline)
    command = f"sketchstream run {shlex.quote(str(path))} --cluster {cluster}"
    with interrupts() as interrupted:
        job = submit(pipeline, path, overrides, cluster, restore, settings)
        folder = settings.get(CHECKPOINT_FOLDER, pipeline.checkpoint_uri()).rstrip("/")
        submission = Submission(cluster, job, folder, restore)
        note_submitted(pipeline, submission)
        log = pipeline.run_folder() / "logs" / "submission.log"
        submitted = SubmittedJob(rest, submission, pipeline, command, log)
        console.print(f"[bold]{pipeline.name}[/] runs as job {job}; web UI: {rest.address}", soft_wrap=True)
        # A detached run ends only once the cluster has confirmed the job.
        progress = follow(submitted, console, lambda: bool(interrupted), once=detach)
        if progress.outage:  # and Ctrl-C ended the waiting
            raise submitted.cluster_gone(progress.last_error, progress.silent_s, progress.checkpoints.latest)
        if detach:
            return ClusterRun(job, rest.address, progress.state, {})
        savepoint, state = None, progress.state
        if interrupted:
            console.print("stopping with a savepoint; Ctrl-C again to leave the job running")
            try:
                savepoint = stop(rest, job, f"{folder}/{SAVEPOINTS}")
            except (FlinkGone, JobUnknown) as problem:
                raise submitted.cluster_gone(problem, WAIT_S, progress.checkpoints.latest) from None
            state = _state(rest, job) or ("FINISHED" if savepoint else state)
        if savepoint is None:
            submitted.expect_finished(state, progress.checkpoints.failed_because)
            commit_reached(source, ends, console)
    counted = {
        name: int(progress.counters.get(name, 0)) for name in ("events", "rejected", "late", "results")
    }
    return ClusterRun(job, rest.address, state, counted, savepoint)


def stop(rest: FlinkRest, job: str, folder: str) -> str | None:
    """Stop a job with a savepoint once all of it runs; return its URI, None where the job ended by itself.

    A job that fails while it stops is started again by Flink, and stopped then. One whose input is over is
    left to end.

    Args:
        rest: the cluster's REST interface.
        job: the job's id.
        folder: the URI under which the savepoint is to be.

    Raises:
        EnvironmentProblem: where it cannot be stopped within some minutes.
        FlinkGone: nothing listened at the cluster's address until the timeout.
        JobUnknown: the cluster no longer has the job.
    """
    begun = time.monotonic()
    while True:
        try:
            savepoint = rest.stop_with_savepoint(job, folder, _SAVEPOINT_TIMEOUT_S)
        except FlinkUnreachable as problem:
            if _has_ended(rest, job):
                return None
            waited_s = time.monotonic() - begun
            if waited_s > WAIT_S and isinstance(problem, FlinkGone):
                raise
            if waited_s > _SAVEPOINT_TIMEOUT_S:
                raise EnvironmentProblem(
                    f"job {job} could not be stopped: {problem}", f"it runs on; stop it at {rest.address}"
                ) from None
            time.sleep(_AGAIN_S)
        else:
            while (
                _state(rest, job) not in (*ENDED, None) and time.monotonic() - begun <= _SAVEPOINT_TIMEOUT_S
            ):
                time.sleep(_LOOK_S)
            return savepoint


def _has_ended(rest: FlinkRest, job: str) -> bool:
    """Return whether a job is known to have ended.

    Raises:
        JobUnknown: the cluster does not have the job.
    """
    try:
        return rest.status(job) in ENDED
    except JobUnknown:
        raise
    except FlinkUnreachable:
        return False


def _state(rest: FlinkRest, job: str) -> str | None:
    """Return a job's state; None where the cluster does not answer."""
    with suppress(FlinkUnreachable):
        return rest.status(job)
    return None


def _restore_point(pipeline: Pipeline, go_on: str | None) -> str | None:
    if go_on != "latest":
        return None if go_on is None else restore_point(pipeline, go_on)
    expect_same_shape(pipeline)
    return latest_of_cluster(pipeline)


def _configuration(rest: FlinkRest, cluster: str) -> dict[str, str]:
    try:
        return rest.configuration()
    except FlinkUnreachable:
        raise EnvironmentProblem(
            f"no Flink cluster answers at {cluster}",
            "start one with `make cluster-up`, or give the address of its web UI as HOST:PORT",
        ) from None


def _python_settings(cluster: str, configuration: dict[str, str]) -> dict[str, str]:
    """Return which Python the workers are to be: the cluster's own, else on this machine this one."""
    own = {PYTHON: sys.executable} if cluster.startswith(_LOCAL) else {}
    return {PYTHON: configuration[PYTHON]} if PYTHON in configuration else own


def _checkpoint_settings(pipeline: Pipeline, cluster: str, configuration: dict[str, str]) -> dict[str, str]:
    """Return where checkpoints go if the cluster has a say in it.

    Raises:
        EnvironmentProblem: where checkpoints would go to a folder that only this machine has.
    """
    if pipeline.checkpoints.dir is not None:
        return {}
    if CHECKPOINT_FOLDER in configuration:
        return {CHECKPOINT_FOLDER: configuration[CHECKPOINT_FOLDER]}
    if not cluster.startswith(_LOCAL):
        raise EnvironmentProblem(
            f"the cluster {cluster} has no folder for checkpoints, and the pipeline names none",
            f"set checkpoints.dir, or {CHECKPOINT_FOLDER} in the cluster's configuration, to one that all of "
            "its machines share",
        )
    return {}
