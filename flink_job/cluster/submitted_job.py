"""A job that a cluster runs: where it is, what troubles it, and where its state can be found again."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from pathlib import Path

from flink_job.cluster.failures import JobFailed, failures_of
from flink_job.cluster.reasons import reason_of
from flink_job.cluster.rest import ENDED, Failure, FlinkRest, FlinkUnreachable, JobUnknown
from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.checkpoints import latest_of_job, may_be_there
from flink_job.runs.notes import read_note, write_note

WAIT_S = 60
"""For how long a cluster that does not answer is waited for."""
_BUSY_S = 2
"""For how long it may be silent without a word."""
_NOT_FOUND = "name a checkpoint or savepoint, or run it without --from to begin"


@dataclass(frozen=True)
class Submission:
    """What is noted of a job that was submitted, for who goes on with it.

    Attributes:
        cluster: `host:port` of the cluster's REST interface.
        job: the job's id.
        folder: the URI under which its checkpoints are; empty in notes of before there were such.
        began_from: the checkpoint or savepoint that it began with.
        last_seen: its newest checkpoint when the cluster was last asked.
    """

    cluster: str
    job: str
    folder: str = ""
    began_from: str | None = None
    last_seen: str | None = None


class ClusterGone(JobFailed):
    """The cluster does not answer, or no longer knows the job; its checkpoints are whole."""


@dataclass(frozen=True)
class SubmittedJob:
    """A job that was submitted.

    Attributes:
        rest: the cluster's REST interface, which is also the address of the web UI.
        submission: what is noted of the job.
        pipeline: the pipeline that it runs.
        command: with which the pipeline was run, without `--from`.
        log: what was said when it was submitted; the cluster's logs have the rest.
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
        """Return the failures after which the job restarted, the oldest first.

        Raises:
            JobFailed: where another attempt would fail in the same way, because the source cannot be read.
        """
        return failures_of(self.rest, self.id, self.log)

    def is_away(self, problem: FlinkUnreachable, for_s: float, last_seen: str | None) -> str:
        """Say what is waited for where the cluster does not tell how the job is; nothing in the beginning.

        Args:
            problem: why it does not.
            for_s: for how long it has not.
            last_seen: the job's newest checkpoint when it last did.

        Raises:
            ClusterGone: where it is not waited for any longer.
        """
        if isinstance(problem, JobUnknown) or for_s >= WAIT_S:
            raise self.gone(problem, for_s, last_seen)
        if for_s < _BUSY_S:
            return ""
        return f"{self._silence(for_s)}; it is waited for up to {WAIT_S} s, Ctrl-C ends that"

    def gone(self, problem: FlinkUnreachable, for_s: float, last_seen: str | None) -> ClusterGone:
        """Return what to say where the cluster is given up; where a checkpoint is, is noted."""
        cluster = self.submission.cluster
        note = replace(self.submission, last_seen=last_seen or self.submission.last_seen)
        write_note(_file(self.pipeline), asdict(note))
        if isinstance(problem, JobUnknown):
            reason = (
                f"{cluster} no longer knows the job {self.id}: its JobManager was started anew, and without "
                "high availability jobs end with it"
            )
            first = ""
        else:
            reason = self._silence(for_s)
            first = "first start the JobManager again and see at its web UI that the job does not run there\n"
        checkpoint = _checkpoint_of(note)
        if checkpoint is None:
            way_on = f"{first}it had no checkpoint yet; begin again with: {self.command}"
        else:
            way_on = f"its last checkpoint: {checkpoint}\n{first}go on with: {self.command} --from latest"
        return ClusterGone(reason, self.log, way_on)

    def _silence(self, for_s: float) -> str:
        cluster = self.submission.cluster
        return f"{cluster} has not answered for {for_s:.0f} s: its JobManager is gone, or cannot be reached"

    def expect_finished(self, state: str, of_checkpoints: str) -> None:
        """Tell how a job ended that has.

        Args:
            state: in which it was seen last.
            of_checkpoints: why checkpoints failed when they were last looked at.

        Raises:
            JobFailed: where it did not finish.
        """
        if state == "FINISHED":
            return
        try:
            failures = self.failures()
        except FlinkUnreachable:
            failures = []
        reason = f"the job is {state.lower()}"
        if failures:
            reason = reason_of(failures[-1].trace, of_checkpoints)
        raise JobFailed(reason, self.log)


def note_submitted(pipeline: Pipeline, submission: Submission) -> None:
    """Remember which job of which cluster runs a pipeline."""
    write_note(_file(pipeline), asdict(submission))


def latest_of_cluster(pipeline: Pipeline) -> str:
    """Return where the newest checkpoint or savepoint of the job is that ran a pipeline last.

    The cluster is asked first; where it does not know, it is looked for on disk.

    Raises:
        PipelineProblem: where this is not known, or the job still runs.
    """
    file = _file(pipeline)
    note = read_note(file, Submission, f"remove that file, then {_NOT_FOUND}")
    if note is None:
        raise _nothing(f"{pipeline.name} was not submitted to a cluster from this folder; {_NOT_FOUND}")
    if not note.folder:
        note = replace(note, folder=pipeline.checkpoint_uri())
    rest, found = FlinkRest(f"http://{note.cluster}"), None
    try:
        if rest.status(note.job) not in ENDED:
            raise _nothing(f"job {note.job} still runs on {note.cluster}; end it first")
        found = rest.checkpoints(note.job).latest
    except FlinkUnreachable:
        pass
    found = found or _checkpoint_of(note)
    if found is None:
        raise _nothing(
            f"neither {note.cluster} nor {note.folder} has a checkpoint of job {note.job}; {_NOT_FOUND}"
        )
    return found


def _nothing(why: str) -> PipelineProblem:
    return PipelineProblem("--from latest", [why])


def _checkpoint_of(note: Submission) -> str | None:
    """Return the newest checkpoint or savepoint of a job that is known without the cluster."""
    known = (uri for uri in (note.last_seen, note.began_from) if uri and may_be_there(uri))
    return latest_of_job(note.folder, note.job) or next(known, None)


def _file(pipeline: Pipeline) -> Path:
    return pipeline.run_folder() / "submitted.json"
