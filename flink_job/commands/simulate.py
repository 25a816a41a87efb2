"""`sketchstream simulate`: writes simulated events, as fast as possible or at a rate."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task
from rich.text import Text

from flink_job.simulation.simulation import Simulation, SimulatorSpec
from flink_job.sources.source import SourceProblem

WRITES_PER_S = 20
_MOST_AT_ONCE = 20_000
_LINE_EVERY_S = 10.0


def write_events(spec: SimulatorSpec, target: str, progress: Callable[[int], None]) -> None:
    """Write events to a file or to standard output.

    Args:
        spec: the simulation; its `rate` is kept.
        target: a path, or `-`.
        progress: called with the number of events written.

    Raises:
        SourceProblem: where the file cannot be written.
    """
    at_once = _MOST_AT_ONCE if spec.rate is None else max(1, int(spec.rate / WRITES_PER_S))
    try:
        with nullcontext(sys.stdout.buffer) if target == "-" else open(target, "wb") as file:
            for chunk, done in chunks(spec, at_once, time.sleep):
                file.write(chunk)
                file.flush()
                progress(done)
    except BrokenPipeError:  # the reader has had enough
        return
    except OSError as problem:
        raise SourceProblem(f"{target}: cannot be written: {problem.strerror}") from problem


def chunks(spec: SimulatorSpec, at_once: int, wait: Callable[[float], Any]) -> Iterator[tuple[bytes, int]]:
    """Yield lines of events and how many there are so far, never faster than the rate.

    Args:
        spec: the simulation.
        at_once: how many events at a time.
        wait: waits for so many seconds.
    """
    simulation, began, done = Simulation(spec), time.monotonic(), 0
    while spec.events is None or done < spec.events:
        count = at_once if spec.events is None else min(at_once, spec.events - done)
        chunk = simulation.chunk(done, count)
        done += count
        yield chunk, done
        if spec.rate is not None:
            wait(max(0.0, began + done / spec.rate - time.monotonic()))


@contextmanager
def told(spec: SimulatorSpec, screen: Console, lines: bool = False) -> Iterator[Callable[[int], None]]:
    """Give a function that shows how many events there are so far, and how many a second.

    Args:
        spec: the simulation.
        screen: where to.
        lines: whether one that is no terminal gets a line every ten seconds, not nothing.
    """
    if screen.is_terminal:
        with Progress(BarColumn(), _Pace(), console=screen, transient=True) as progress:
            task = progress.add_task("events", total=spec.events)
            yield lambda done: progress.update(task, completed=done)
        return
    began = last = time.monotonic()

    def tell(done: int) -> None:
        nonlocal last
        now = time.monotonic()
        if lines and now - last >= _LINE_EVERY_S:
            last = now
            screen.print(f"{done:,} events, {done / (now - began):,.0f} events/s")

    yield tell


class _Pace(ProgressColumn):
    """Events so far, and events a second of late."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.completed:,.0f} events, {task.speed or 0:,.0f} events/s")
