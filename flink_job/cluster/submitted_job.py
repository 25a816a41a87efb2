"""A job that a cluster runs: where it is, what troubles it, and where its state can be found again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flink_job.cluster.failure_reasons import reason_of
from flink_job.cluster.failures import JobFailed, failures_of
from flink_job.cluster.rest import ENDED, Failure, FlinkRest, FlinkUnreachable, JobUnknown
from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.checkpoints import latest_of_job, may_exist
from flink_job.runs.json_files import read_json, write_json

WAIT_S = 60
"""Timeout in seconds for a cluster that does not answer."""
_BUSY_S = 2
"""Seconds without an answer before a message is shown."""
_ADVICE = "name a checkpoint or savepoint, or run it without --from to begin"


@dataclass(frozen=True)
class Submission:
    """What is stored about a submitted job, so that a later run can resume from its checkpoints.

    Attributes:
        cluster: `host:port` of the cluster's REST interface.
        job: the job's id.
        folder: the URI under which its checkpoints are; empty in files of older versions.
        began_from: the checkpoint or savepoint that it was restored from.
        last_seen: its newest checkpoint when the cluster was last polled.
    """

    cluster: str
    job: str
    folder: str = ""
    began_from: str | None = None
    last_seen: str | None = None


class ClusterGone(JobFailed):
    """The cluster does not answer, or no longer has the job; its checkpoints are unaffected."""


@dataclass(frozen=True)
class SubmittedJob:
    """A job that was submitted.

    Attributes:
        rest: the cluster's REST interface, which is also the address of the web UI.
        submission: what is stored about the job.
        pipeline: the pipeline that it runs.
        command: the command that ran the pipeline, without `--from`.
        log: the output of the submission; the rest is in the cluster's logs.
    """

    rest: FlinkRest
    submission: Submission
    pipeline: Pipeline
    command: str
    log: Path

    @property
    def id(self) -> str:
        """The job's id."""
        return self.submission.job

    def failures(self) -> list[Failure]:
        """Return the failures after which the job restarted, oldest first.

        Raises:
            JobFailed: where another attempt would fail in the same way, because the source cannot be read.
        """
        return failures_of(self.rest, self.id, self.log)

    def outage_message(self, problem: FlinkUnreachable, for_s: float, last_seen: str | None) -> str:
        """Return the message to show while the cluster does not answer; empty for the first seconds.

        Args:
            problem: the error of the last request.
            for_s: seconds since the cluster last answered.
            last_seen: the job's newest checkpoint at its last answer.

        Raises:
            ClusterGone: the timeout has passed, or the cluster does not know the job.
        """
        if isinstance(problem, JobUnknown) or for_s >= WAIT_S:
            raise self.cluster_gone(problem, for_s, last_seen)
        if for_s < _BUSY_S:
            return ""
        return f"{self._no_answer_message(for_s)}; it is waited for up to {WAIT_S} s, Ctrl-C ends that"

    def cluster_gone(self, problem: FlinkUnreachable, for_s: float, last_seen: str | None) -> ClusterGone:
        """Return the error for a cluster that is given up, and store the job's newest checkpoint."""
        cluster = self.submission.cluster
        note = replace(self.submission, last_seen=last_seen or self.submission.last_seen)
        write_json(_submission_file(self.pipeline), asdict(note))
        if isinstance(problem, JobUnknown):
            reason = (
                f"{cluster} no longer knows the job {self.id}: its JobManager was started anew, and without "
                "high availability jobs end with it"
            )
            first = ""
        else:
            reason = self._no_answer_message(for_s)
            first = "first start the JobManager again and see at its web UI that the job does not run there\n"
        checkpoint = _checkpoint_of(note)
        if checkpoint is None:
            how_to_resume = f"{first}it had no checkpoint yet; begin again with: {self.command}"
        else:
            how_to_resume = (
                f"its last checkpoint: {checkpoint}\n{first}go on with: {self.command} --from latest"
            )
        return ClusterGone(reason, self.log, how_to_resume)

    def _no_answer_message(self, for_s: float) -> str:
        cluster = self.submission.cluster
        return f"{cluster} has not answered for {for_s:.0f} s: its JobManager is gone, or cannot be reached"

    def expect_finished(self, state: str, checkpoint_failure: str) -> None:
        """Check that the job ended as FINISHED.

        Args:
            state: its last known state.
            checkpoint_failure: the cause of failed checkpoints, as last polled; empty if none.

        Raises:
            JobFailed: it ended in another state.
        """
        if state == "FINISHED":
            return
        try:
            failures = self.failures()
        except FlinkUnreachable:
            failures = []
        reason = f"the job is {state.lower()}"
        if failures:
            reason = reason_of(failures[-1].trace, checkpoint_failure)
        raise JobFailed(reason, self.log)


def note_submitted(pipeline: Pipeline, submission: Submission) -> None:
    """Store which job of which cluster runs a pipeline."""
    write_json(_submission_file(pipeline), asdict(submission))


def latest_of_cluster(pipeline: Pipeline) -> str:
    """Return where the newest checkpoint or savepoint of the job is that ran a pipeline last.

    The cluster is asked first; the fallback is the checkpoint folder, if this machine sees it.

    Raises:
        PipelineProblem: none is known, or the job still runs.
    """
    file = _submission_file(pipeline)
    note = read_json(file, Submission, f"remove that file, then {_ADVICE}")
    if note is None:
        raise _problem(f"{pipeline.name} was not submitted to a cluster from this folder; {_ADVICE}")
    if not note.folder:
        note = replace(note, folder=pipeline.checkpoint_uri())
    rest, found = FlinkRest(f"http://{note.cluster}"), None
    try:
        if rest.status(note.job) not in ENDED:
            raise _problem(f"job {note.job} still runs on {note.cluster}; end it first")
        found = rest.checkpoints(note.job).latest
    except FlinkUnreachable:
        pass
    found = found or _checkpoint_of(note)
    if found is None:
        raise _problem(
            f"neither {note.cluster} nor {note.folder} has a checkpoint of job {note.job}; {_ADVICE}"
        )
    return found


def _problem(why: str) -> PipelineProblem:
    return PipelineProblem("--from latest", [why])


def _checkpoint_of(note: Submission) -> str | None:
    """Return the newest checkpoint or savepoint of a job that is known without asking the cluster."""
    known = (uri for uri in (note.last_seen, note.began_from) if uri and may_exist(uri))
    return latest_of_job(note.folder, note.job) or next(known, None)


def _submission_file(pipeline: Pipeline) -> Path:
    return pipeline.run_folder() / "submitted.json"
