"""What a source hands to ingest, whatever it reads from."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from operators.parsing.payloads import Payloads

Position = dict[str, str | int]
LONGEST_PAYLOAD = 128 * 1024
"""Bytes of a payload that are shown; JSON makes six of one at worst, and a broker takes a million."""


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
        all_heard: whether every partition that this worker reads has been heard from since it started, up to
            and in this batch, or is idle; until then there is no watermark.
    """

    payloads: Payloads
    position: Callable[[int], Position]
    partition_names: tuple[str, ...]
    partitions: np.ndarray | None = None
    record_time_ms: np.ndarray | None = None
    all_heard: bool = True


class Reader(Protocol):
    """The part of a source that works in the Python worker."""

    def read(self, *columns: object) -> Iterator[tuple[int, SourceBatch]]:
        """Read what the rows of one call stand for.

        Args:
            columns: one pandas Series a column of the source's table.

        Yields:
            The number of the row that carries the answer, and a batch.
        """


def payload_fields(payload: bytes | None) -> dict[str, str | int | None]:
    """Return the payload as rejects and late events show it: as text where it is UTF-8, else in base64.

    Of one longer than `LONGEST_PAYLOAD` the beginning is shown, with `payload_bytes`, how long it is: the
    largest message that a broker takes would not fit, escaped, into another one.
    """
    if payload is None:
        return {"payload": None}
    shown = payload[:LONGEST_PAYLOAD]
    length = {"payload_bytes": len(payload)} if len(payload) > LONGEST_PAYLOAD else {}
    # A character may have been cut in two, of four bytes at most.
    for missing in range(4 if length else 1):
        try:
            return {"payload": shown[: len(shown) - missing].decode()} | length
        except UnicodeDecodeError:
            continue
    return {"payload_base64": b64encode(shown).decode()} | length
