"""The simulated shop as a source: events are made in the Python workers, the same for the same seed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from flink_job.simulation.simulation import Simulation, SimulatorSpec
from flink_job.sources.chunks import chunk_numbers
from operators.ingest.source_batch import Position, SourceBatch
from operators.parsing import Format
from operators.parsing.payloads import Payloads

if TYPE_CHECKING:
    import pandas as pd
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment, Table

PARTITION = "simulator"
_MOST_AT_ONCE = 20_000
_BATCHES_PER_S = 10


class SimulatorSource:
    """Events of a simulation, as fast as possible or at a rate of the wall clock.

    Args:
        spec: the simulation.
    """

    check_clock = False
    rows_per_batch = 1

    def __init__(self, spec: SimulatorSpec) -> None:
        self._spec = spec
        self._size = _MOST_AT_ONCE
        if spec.rate is not None:
            self._size = min(_MOST_AT_ONCE, max(1, int(spec.rate / _BATCHES_PER_S)))
        self.bounded = spec.events is not None
        self.format: Format = spec.format
        self.reader = SimulatorReader(spec, self._size)

    def readers(self, parallelism: int) -> int:
        """Return all: each takes what it is dealt."""
        return parallelism

    def table(self, env: StreamExecutionEnvironment, t_env: StreamTableEnvironment) -> Table:
        """Return the table of chunk numbers."""
        chunks = None if self._spec.events is None else -(-self._spec.events // self._size)
        return chunk_numbers(env, t_env, chunks)


class SimulatorReader:
    """Makes chunks in a worker.

    Args:
        spec: the simulation.
        size: events a chunk.
    """

    def __init__(self, spec: SimulatorSpec, size: int) -> None:
        self._spec, self._size = spec, size
        self._simulation: Simulation | None = None
        self._begun: tuple[int, float] | None = None

    def read(self, numbers: pd.Series) -> Iterator[tuple[int, SourceBatch]]:
        """Make the chunks of these numbers, each when it is due."""
        if self._simulation is None:
            self._simulation = Simulation(self._spec)
        for row, number in enumerate(numbers.tolist()):
            first = number * self._size
            count = self._size if self._spec.events is None else min(self._size, self._spec.events - first)
            self._wait_for(first)
            payloads = Payloads.from_lines(self._simulation.chunk(first, max(count, 0)))
            yield row, SourceBatch(payloads, _SimulatedPosition(first), (PARTITION,))

    def _wait_for(self, event: int) -> None:
        """Sleep until an event is due, counted from the first that this worker made."""
        if self._spec.rate is None:
            return
        now = time.monotonic()
        if self._begun is None:
            self._begun = (event, now)
        due = self._begun[1] + (event - self._begun[0]) / self._spec.rate
        time.sleep(max(0.0, due - now))


class _SimulatedPosition:
    def __init__(self, first: int) -> None:
        self._first = first

    def __call__(self, row: int) -> Position:
        return {"file": PARTITION, "line": self._first + row + 1}
