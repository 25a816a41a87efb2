"""Follows a running job: what the screen shows while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone

from rich.console import Console
from rich.live import Live
from rich.text import Text

from flink_job.cluster.embedded_job import EmbeddedJob
from flink_job.cluster.failure_reasons import reason_of
from flink_job.cluster.rest import ENDED, Checkpoints, Failure, FlinkUnreachable
from flink_job.cluster.submitted_job import SubmittedJob
from flink_job.pipeline.redaction import without_secrets
from operators.plain_text import in_one_line

COUNTERS = ("events", "rejected", "late", "results", "open_windows", "watermark_s")
_EVERY_S = 0.5
_PRINT_EVERY_S = 5
_LONG_S = 10


@dataclass
class Progress:
    """What is known of a running job.

    Attributes:
        state: Flink's name of the job's state.
        counters: the last value of each counter.
        events_per_s: the rate over the last look.
        started: when it was started, by the monotonic clock in seconds.
        failures: those after which it restarted, oldest first.
        checkpoints: its checkpoint statistics.
        outage: the message to show while the cluster does not answer; empty while it does.
        last_error: the error of the last poll; None where it succeeded.
    """

    state: str = "STARTING"
    counters: dict[str, float] = field(default_factory=dict)
    events_per_s: float = 0.0
    started: float = field(default_factory=time.monotonic)
    failures: list[Failure] = field(default_factory=list)
    checkpoints: Checkpoints = field(default_factory=Checkpoints)
    outage: str = ""
    last_error: FlinkUnreachable | None = None
    _answered: float = field(default_factory=time.monotonic)
    _looked: float | None = None

    @property
    def silent_s(self) -> float:
        """Seconds since the cluster last answered with the job's state."""
        return time.monotonic() - self._answered

    def look(self, job: EmbeddedJob | SubmittedJob) -> bool:
        """Poll the cluster once; return whether the job still runs.

        Raises:
            JobFailed: the job cannot recover, or the cluster is given up after its timeout.
        """
        try:
            self.state = job.rest.status(job.id)
        except FlinkUnreachable as problem:
            self.last_error = problem
            away = job.outage_message(problem, self.silent_s, self.checkpoints.latest)
            self.outage = away or ""
            return away is not None
        self.outage, self.last_error, self._answered = "", None, time.monotonic()
        with suppress(FlinkUnreachable):  # it is busy, or shutting down
            self.failures = job.failures()
            self.checkpoints = job.rest.checkpoints(job.id)
            self._count(job.rest.counters(job.id, COUNTERS))
        return self.state not in ENDED

    def _count(self, counters: dict[str, float]) -> None:
        now = time.monotonic()
        if self._looked is not None:
            made = counters.get("events", 0) - self.counters.get("events", 0)
            self.events_per_s = max(made, 0) / (now - self._looked)
        self._looked, self.counters = now, self.counters | counters

    def line(self) -> str:
        """Return one line for the screen."""
        if self.outage:
            return self.outage
        counter = self.counters.get
        watermark_s = counter("watermark_s")
        watermark = "none"
        if watermark_s is not None and watermark_s > -62_135_596_800:
            watermark = datetime.fromtimestamp(watermark_s, timezone.utc).strftime("%Y-%m-%d %H:%M:%SZ")
        return (
            f"{self.state.lower()} {time.monotonic() - self.started:.0f} s  "
            f"events {counter('events', 0):,.0f} ({self.events_per_s:,.0f}/s)  "
            f"rejects {counter('rejected', 0):,.0f}  late {counter('late', 0):,.0f}  "
            f"results {counter('results', 0):,.0f}  open windows {counter('open_windows', 0):,.0f}  "
            f"watermark {watermark}  {describe_checkpoints(self.checkpoints)}"
        )


def follow(
    job: EmbeddedJob | SubmittedJob, console: Console, stopped: Callable[[], bool], once: bool = False
) -> Progress:
    """Show progress until the job has ended or is to be stopped.

    Where the console is no terminal, it is a line every few seconds.

    Args:
        job: the job.
        console: where progress is shown.
        stopped: whether it is to be stopped.
        once: whether to return after the first answer of the cluster.

    Raises:
        ClusterLost: where an embedded cluster died.
        JobFailed: where the job would restart for ever, or its cluster no longer answers.
    """
    progress, shown, said, why = Progress(), 0.0, list[Failure](), ""
    live = Live(Text(progress.line()), console=console, auto_refresh=False, transient=True)
    with live if console.is_terminal else nullcontext():
        away = ""
        while not stopped() and progress.look(job):
            if once and progress.last_error is None:
                break
            news = bool(progress.outage) != bool(away)
            if news and away:
                console.print("the cluster answers again")
            away = progress.outage
            if console.is_terminal:
                live.update(Text(progress.line()), refresh=True)
            elif news or time.monotonic() - shown > _PRINT_EVERY_S:
                console.print(Text(progress.line()), soft_wrap=True)
                shown = time.monotonic()
            if progress.checkpoints.failed_because not in ("", why):
                why = progress.checkpoints.failed_because
                console.print(Text(f"a checkpoint failed: {_safe_reason(why)}"), soft_wrap=True)
            for failure in progress.failures:
                if failure not in said:
                    said.append(failure)
                    reason = _safe_reason(failure.trace, progress.checkpoints.failed_because)
                    console.print(Text(f"restarts after: {reason}"), soft_wrap=True)
            time.sleep(_EVERY_S)
    return progress


def describe_checkpoints(checkpoints: Checkpoints) -> str:
    """Describe checkpoint statistics in a few words."""
    none = "no new checkpoint yet" if checkpoints.latest else "no checkpoint yet"
    words = f"checkpoints {checkpoints.completed:,}" if checkpoints.completed else none
    if checkpoints.failed:
        since = " since" if checkpoints.completed else ""
        what, _, _ = _safe_reason(checkpoints.failed_because).partition(". ")
        words += f", {checkpoints.failed}{since} failed: {what}"
    if checkpoints.running_s is not None and (not checkpoints.completed or checkpoints.running_s > _LONG_S):
        which = "the next" if checkpoints.completed or checkpoints.failed else "the first"
        words += f", {which} has run for {checkpoints.running_s:.0f} s"
    return words


def _safe_reason(trace: str, checkpoint_failure: str = "") -> str:
    """Return the reason of a failure on one line, secrets redacted and control characters escaped."""
    return in_one_line(without_secrets(reason_of(trace, checkpoint_failure)))
