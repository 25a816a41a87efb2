"""What the job asks of a source."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from operators.ingest.source_batch import Reader
from operators.parsing import Format

if TYPE_CHECKING:  # the commands that start no job do not wait for PyFlink to load
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment, Table


class Source(Protocol):
    """A place that events come from.

    Attributes:
        format: how a payload is to be read.
        reader: the part that works in the Python workers.
        check_clock: whether event times are held against the wall clock (`min_time`, `max_future`).
        bounded: whether the source ends by itself.
        rows_per_batch: how many rows of its table one ingest call takes.
    """

    format: Format
    reader: Reader
    check_clock: bool
    bounded: bool
    rows_per_batch: int

    def readers(self, parallelism: int) -> int:
        """Return how many of the job's workers are to read the table, which is made for as many."""

    def table(self, env: StreamExecutionEnvironment, t_env: StreamTableEnvironment) -> Table:
        """Return the table whose columns `reader.read` takes, in their order."""


class SourceProblem(ValueError):
    """A source that cannot be read; the message says which, why and what to do."""
