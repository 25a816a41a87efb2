"""The failures of a job, and whether another restart can succeed."""

from __future__ import annotations

from pathlib import Path

from flink_job.cluster.failure_reasons import UNREADABLE, reason_of
from flink_job.cluster.rest import Failure, FlinkRest
from operators.plain_text import in_one_line

_FOR_EVER = (
    *(f"{problem.__qualname__}: " for problem in UNREADABLE),
    "TopicAuthorizationException",
    "GroupAuthorizationException",
    "TransactionalIdAuthorizationException",
    "ClusterAuthorizationException",
    "SaslAuthenticationException",
    "RecordTooLargeException",
)
"""Names of errors that another attempt will meet again."""


class JobFailed(Exception):
    """A job that ended otherwise than by finishing or being stopped.

    Attributes:
        reason: one line.
        log: the file that has all the rest.
        how_to_resume: where the state is and the command to resume from it, in lines of their own; empty
            where unknown.
    """

    def __init__(self, reason: str, log: Path, how_to_resume: str = "") -> None:
        self.reason, self.log, self.how_to_resume = in_one_line(reason), log, how_to_resume
        super().__init__(self.reason)


def failures_of(rest: FlinkRest, job: str, log: Path) -> list[Failure]:
    """Return the failures after which the job restarted, oldest first.

    Args:
        rest: the cluster's REST interface.
        job: the job's id.
        log: where the rest can be read.

    Raises:
        JobFailed: where another attempt would fail in the same way; the job is cancelled then.
    """
    failures = rest.failures(job)
    if failures and any(name in failures[-1].trace for name in _FOR_EVER):
        rest.cancel(job)
        raise JobFailed(reason_of(failures[-1].trace), log)
    return failures
