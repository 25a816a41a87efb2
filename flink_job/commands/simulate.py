"""`sketchstream simulate`: writes simulated events, as fast as possible or at a rate."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextlib import nullcontext

from flink_job.simulation.simulation import Simulation, SimulatorSpec
from flink_job.sources.source import SourceProblem

_MOST_AT_ONCE = 20_000
_WRITES_PER_S = 20


def write_events(spec: SimulatorSpec, target: str, progress: Callable[[int], None]) -> None:
    """Write events to a file or to standard output.

    Args:
        spec: the simulation; its `rate` is kept.
        target: a path, or `-`.
        progress: called with the number of events written.

    Raises:
        SourceProblem: where the file cannot be written.
    """
    simulation, began = Simulation(spec), time.monotonic()
    size = _MOST_AT_ONCE if spec.rate is None else max(1, int(spec.rate / _WRITES_PER_S))
    try:
        with nullcontext(sys.stdout.buffer) if target == "-" else open(target, "wb") as file:
            done = 0
            while spec.events is None or done < spec.events:
                count = size if spec.events is None else min(size, spec.events - done)
                file.write(simulation.chunk(done, count))
                file.flush()
                done += count
                progress(done)
                if spec.rate is not None:
                    time.sleep(max(0.0, began + done / spec.rate - time.monotonic()))
    except BrokenPipeError:  # the reader has had enough
        return
    except OSError as problem:
        raise SourceProblem(f"{target}: cannot be written: {problem.strerror}") from problem
