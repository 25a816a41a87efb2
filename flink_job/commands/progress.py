"""Follows a running job: what the screen shows while it runs."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timezone

from rich.console import Console
from rich.live import Live
from rich.text import Text

from flink_job.cluster.embedded_job import EmbeddedJob
from flink_job.cluster.failures import reason_of
from flink_job.cluster.rest import ENDED, Failure, FlinkGone, FlinkUnreachable
from flink_job.pipeline.outside import without_secrets

COUNTERS = ("events", "rejected", "late", "results", "open_windows", "watermark_s")
_EVERY_S = 0.5


@dataclass
class Progress:
    """What is known of a running job.

    Attributes:
        state: Flink's name of the job's state.
        counters: the last value of each counter.
        events_per_s: the rate over the last look.
        started: when it was started, by the monotonic clock in seconds.
        trouble: the failure after which it restarted last.
    """

    state: str = "STARTING"
    counters: dict[str, float] = field(default_factory=dict)
    events_per_s: float = 0.0
    started: float = field(default_factory=time.monotonic)
    trouble: Failure | None = None
    _looked: float | None = None

    def look(self, job: EmbeddedJob) -> bool:
        """Ask the cluster once; return whether the job still runs."""
        try:
            self.state = job.rest.status(job.id)
            counters = job.rest.counters(job.id, COUNTERS)
            self.trouble = job.trouble()
        except FlinkGone:
            return False  # an embedded cluster goes away with its job
        except FlinkUnreachable:
            return True  # it is busy, or just about to go
        now = time.monotonic()
        if self._looked is not None:
            made = counters.get("events", 0) - self.counters.get("events", 0)
            self.events_per_s = max(made, 0) / (now - self._looked)
        self._looked, self.counters = now, self.counters | counters
        return self.state not in ENDED

    def line(self) -> str:
        """Return one line for the screen."""
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
            f"watermark {watermark}"
        )


def follow(job: EmbeddedJob, console: Console, stopped: Callable[[], bool]) -> Progress:
    """Show progress until the job has ended or is to be stopped.

    Where the console is no terminal, it is a line every few seconds.

    Raises:
        ClusterLost: where an embedded cluster died.
        JobFailed: where the job would restart for ever.
    """
    progress, shown, told = Progress(), 0.0, None
    live = Live(Text(progress.line()), console=console, auto_refresh=False, transient=True)
    with live if console.is_terminal else nullcontext():
        while not stopped() and progress.look(job):
            if console.is_terminal:
                live.update(Text(progress.line()), refresh=True)
            elif time.monotonic() - shown > 5:
                console.print(progress.line(), soft_wrap=True)
                shown = time.monotonic()
            if progress.trouble not in (None, told):
                told = progress.trouble
                console.print(
                    Text(f"restarts after: {without_secrets(reason_of(told.trace))}"), soft_wrap=True
                )
            time.sleep(_EVERY_S)
    return progress
