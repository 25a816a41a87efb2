"""What went wrong with a job, in one line."""

from __future__ import annotations

import re
from pathlib import Path

from flink_job.cluster.rest import Failure, FlinkRest
from flink_job.sources.source import SourceProblem
from operators.first_seen.history import HistoryProblem
from operators.plain_text import in_one_line
from operators.similar.item_lines import ItemsProblem

_TRACEBACK = "Traceback (most recent call last):"
_NAMED_ERROR = re.compile(r"(?:[A-Za-z_]\w*\.)*([A-Za-z_]\w*)(?:: (.*))?$")
_UNREADABLE = (SourceProblem, ItemsProblem, HistoryProblem)
_FOR_EVER = (
    *(f"{problem.__qualname__}: " for problem in _UNREADABLE),
    "TopicAuthorizationException",
    "GroupAuthorizationException",
    "TransactionalIdAuthorizationException",
    "ClusterAuthorizationException",
    "SaslAuthenticationException",
    "RecordTooLargeException",
)
"""Names of errors that another attempt will meet again."""
_NO_ROOM = "NoResourceAvailableException"
_WORKER_GONE = "StatusRuntimeException: CANCELLED: "
_TELLING = frozenset(problem.__qualname__ for problem in _UNREADABLE)


class JobFailed(Exception):
    """A job that ended otherwise than by finishing or being stopped.

    Attributes:
        reason: one line.
        log: the file that has all the rest.
    """

    def __init__(self, reason: str, log: Path) -> None:
        self.reason, self.log = in_one_line(reason), log
        super().__init__(self.reason)


def trouble_of(rest: FlinkRest, job: str, log: Path) -> Failure | None:
    """Return the failure after which a job restarted last, None where it never did.

    Args:
        rest: the cluster's REST interface.
        job: the job's id.
        log: where the rest can be read.

    Raises:
        JobFailed: where another attempt would fail in the same way; the job is cancelled then.
    """
    failure = rest.last_failure(job)
    if failure is not None and any(name in failure.trace for name in _FOR_EVER):
        rest.cancel(job)
        raise JobFailed(reason_of(failure.trace), log)
    return failure


def reason_of(trace: str) -> str:
    """Return the one line of a stack trace that says what went wrong.

    It is the error of the last Python traceback if there is one, else the innermost Java cause.
    """
    if _NO_ROOM in trace:
        return "the cluster has too few free slots: a TaskManager is gone, or other jobs have them"
    python = trace.rpartition(_TRACEBACK)[2] if _TRACEBACK in trace else ""
    # The frames of a traceback are indented; the first line that is not is the error.
    for line in python.splitlines()[1:]:
        if named := _NAMED_ERROR.match(line):
            name, said = named[1], named[2] or ""
            return said if name in _TELLING else f"{name}: {said}".removesuffix(": ")
    if _WORKER_GONE in trace:
        return "a Python worker is gone: it was killed or crashed, or the machine is out of memory"
    lines = [line.strip() for line in trace.splitlines() if line.strip()]
    causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
    return (causes or lines or ["no reason given"])[-1 if causes else 0]
