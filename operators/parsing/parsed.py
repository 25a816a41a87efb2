"""What parsing gives: a frame of events, and the payloads that are none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import polars as pl

from operators.parsing.payloads import Payloads

POLARS_TYPES: dict[str, type[pl.DataType]] = {
    "string": pl.String,
    "long": pl.Int64,
    "double": pl.Float64,
    "bool": pl.Boolean,
}
"""The type of the column that holds each type of field."""

FieldPaths = Mapping[str, tuple[str, str]]
"""Declared fields, in the order of their columns: name -> (path, type)."""


class Reject(NamedTuple):
    """An event that cannot be read.

    Attributes:
        reason: one snake_case word: empty_payload, malformed_json, malformed_csv, wrong_type,
            too_few_fields or too_many_fields.
        detail: what was expected and what was there, for a person.
        row: number of the payload in its batch.
        index: 0-based number of the event among those of its ndjson message, else None.
    """

    reason: str
    detail: str
    row: int
    index: int | None = None


@dataclass(frozen=True, eq=False)
class Parsed:
    """The events of a batch of payloads, in their order.

    Attributes:
        frame: one row an accepted event, exactly the declared fields in their order.
        row: (m,) int64, the number of the payload each event came from.
        index: (m,) int64, the number of the event within its ndjson message; None for other formats.
        rejects: the events that are not in `frame`, in the order of their payloads.
    """

    frame: pl.DataFrame
    row: np.ndarray
    index: np.ndarray | None
    rejects: list[Reject]


class Parser(Protocol):
    """Turns payloads of one format into columns. One parser serves one thread."""

    def parse(self, payloads: Payloads) -> Parsed:
        """Reads every event of a batch; what cannot be read is a reject, never an exception."""
        ...


def check_field_types(fields: FieldPaths) -> None:
    """Refuses fields of a type that is not one of the four.

    Args:
        fields: the declared fields.

    Raises:
        ValueError: there is no field, or a type is unknown; the message names it.
    """
    if not fields:
        raise ValueError("fields: expected at least one field, got none")
    for name, (_, type_name) in fields.items():
        if type_name not in POLARS_TYPES:
            raise ValueError(f"field {name}: expected one of {', '.join(POLARS_TYPES)}, got {type_name!r}")


def with_one_zero(doubles: pl.Series) -> pl.Series:
    """Replaces -0.0 by 0.0: they are equal, but differ as bit patterns, texts and JSON keys.

    All doubles of events, parsed or derived, are normalised here, so later code need not handle -0.0.
    """
    zeros = doubles == 0.0
    # Polars optimises adding 0.0 away.
    return doubles.set(zeros, 0.0) if zeros.any() else doubles
