"""What a source hands to ingest, whatever it reads from."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from operators.parsing.payloads import Payloads

Position = dict[str, str | int]


@dataclass(frozen=True)
class SourceBatch:
    """Payloads that were read together.

    Attributes:
        payloads: the raw payloads.
        position: says where a payload (by its number) comes from: topic, partition and offset, or file and
            line.
        partitions: the partition of each payload, an index into `partition_names`, `(n,)`; None where all are
            of the first.
        partition_names: names of the partitions that this batch is from.
        record_time_ms: the record's own timestamp, `(n,)` int64; None where the source has none.
    """

    payloads: Payloads
    position: Callable[[int], Position]
    partition_names: tuple[str, ...]
    partitions: np.ndarray | None = None
    record_time_ms: np.ndarray | None = None


class Reader(Protocol):
    """The part of a source that works in the Python worker."""

    expected_partitions: int | None
    """How many partitions there are for each reader; None where that is not known."""

    def read(self, *columns: object) -> Iterator[tuple[int, SourceBatch]]:
        """Read what the rows of one call stand for.

        Args:
            columns: one pandas Series a column of the source's table.

        Yields:
            The number of the row that carries the answer, and a batch.
        """


def payload_fields(payload: bytes | None) -> dict[str, str | None]:
    """Return the payload as rejects and late events show it: as text where it is UTF-8, else in base64."""
    if payload is None:
        return {"payload": None}
    try:
        return {"payload": payload.decode()}
    except UnicodeDecodeError:
        return {"payload_base64": b64encode(payload).decode()}
