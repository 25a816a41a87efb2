"""A job that a cluster runs: where it is, what troubles it, and where its state can be found again."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from flink_job.cluster.failures import JobFailed, reason_of, trouble_of
from flink_job.cluster.rest import Failure, FlinkRest, FlinkUnreachable
from flink_job.machine.private_folder import write_whole
from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.spec import Pipeline


@dataclass(frozen=True)
class SubmittedJob:
    """A job that was submitted.

    Attributes:
        rest: the cluster's REST interface, which is also the address of the web UI.
        id: the job's id.
        log: what was said when it was submitted; the cluster's logs have the rest.
    """

    rest: FlinkRest
    id: str
    log: Path

    def trouble(self) -> Failure | None:
        """Return the failure after which the job restarted last, None where it never did.

        Raises:
            JobFailed: where another attempt would fail in the same way, because the source cannot be read.
        """
        return trouble_of(self.rest, self.id, self.log)

    def wait(self) -> None:
        """Tell how a job ended that has.

        Raises:
            JobFailed: where it did not finish.
        """
        state = self.rest.status(self.id)
        if state != "FINISHED":
            trouble = self.trouble()
            raise JobFailed(reason_of(trouble.trace) if trouble else f"the job is {state.lower()}", self.log)


@dataclass(frozen=True)
class _Submitted:
    cluster: str
    job: str


def note_submitted(pipeline: Pipeline, cluster: str, job: str) -> None:
    """Remember which job of which cluster runs a pipeline."""
    write_whole(_note(pipeline), json.dumps(asdict(_Submitted(cluster, job))).encode())


def latest_of_cluster(pipeline: Pipeline) -> str:
    """Return where the newest checkpoint or savepoint of the job is that ran a pipeline last.

    Raises:
        PipelineProblem: where this is not known.
    """
    advice = "name a checkpoint or savepoint, or run it without --from to begin"
    try:
        noted = _Submitted(**json.loads(_note(pipeline).read_text()))
    except FileNotFoundError:
        raise PipelineProblem(
            "--from latest", [f"{pipeline.name} was not submitted to a cluster from this folder; {advice}"]
        ) from None
    try:
        found = FlinkRest(f"http://{noted.cluster}").latest_checkpoint(noted.job)
    except FlinkUnreachable:
        found = None
    if found is None:
        raise PipelineProblem(
            "--from latest", [f"{noted.cluster} knows no checkpoint of job {noted.job}; {advice}"]
        )
    return found


def _note(pipeline: Pipeline) -> Path:
    return pipeline.run_folder() / "submitted.json"
