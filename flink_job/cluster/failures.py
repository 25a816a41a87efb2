"""A job that failed, and whether another attempt has any hope."""

from __future__ import annotations

from pathlib import Path

from flink_job.cluster.reasons import UNREADABLE, reason_of
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
        way_on: where its state is and how to go on, in lines of their own; empty where there is no telling.
    """

    def __init__(self, reason: str, log: Path, way_on: str = "") -> None:
        self.reason, self.log, self.way_on = in_one_line(reason), log, way_on
        super().__init__(self.reason)


def failures_of(rest: FlinkRest, job: str, log: Path) -> list[Failure]:
    """Return the failures after which a job restarted, the oldest first.

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
