"""An entry of `similar` checked against the columns of events."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np

from operators.expressions import Expression, compile_expression
from operators.metrics.kind import typed_column
from operators.similar.similar_spec import SimilarSpec

ItemId = str | int
"""The id of an item: text, or a whole number where the column that names items is a long."""
_STREAM = "@similar"
_Made = TypeVar("_Made")


@dataclass(frozen=True)
class Answerer:
    """What answers one kind of question, with the conditions compiled.

    Attributes:
        spec: the entry.
        condition: which events ask; None for all.
        touch_condition: which events touch an item; None for all.
        id_type: the type of item ids.
        query_type: the type of queries.
    """

    spec: SimilarSpec
    condition: Expression | None
    touch_condition: Expression | None
    id_type: Literal["string", "long"]
    query_type: Literal["string", "long"]

    @property
    def stream(self) -> str:
        """The name of the stream of its records."""
        return self.spec.name + _STREAM


def resolve_similar(spec: SimilarSpec, columns: Mapping[str, str]) -> Answerer:
    """Check an entry against the columns.

    Args:
        spec: the entry.
        columns: the type of every column.

    Raises:
        ValueError: where a column is missing or of a wrong type, or a condition is wrong; the message begins
            with the key.
    """
    query, profile = spec.query, spec.profile
    allowed = ("string",) if query.text is not None else ("string", "long")
    type_ = typed_column("similar", columns, query.column, allowed, key=f"query.{query.kind}")
    id_type = type_ if query.item is not None else "string"
    touch_condition = None
    if profile is not None:
        allowed = ("string", "long")
        id_type = typed_column("similar", columns, profile.touched, allowed, key="profile.touched")
        touch_condition = _condition("profile.where", profile.where, columns)
    return Answerer(spec, _condition("where", spec.where, columns), touch_condition, id_type, type_)


def shards_of(hashes: np.ndarray, spec: SimilarSpec) -> np.ndarray:
    """Return the shard of each query, `(n,) int64`.

    Args:
        hashes: `(n, 2) uint64`.
        spec: how many shards there are.
    """
    return (hashes[:, 1] % np.uint64(spec.shards)).astype(np.int64)


def is_similar_stream(stream: str) -> bool:
    """Return whether a stream is one of questions for similar items."""
    return stream.endswith(_STREAM)


def _condition(key: str, text: str | None, columns: Mapping[str, str]) -> Expression | None:
    if text is None:
        return None
    return _named(key, lambda: compile_expression(text, columns, expect="bool"))


def _named(key: str, make: Callable[[], _Made]) -> _Made:
    try:
        return make()
    except ValueError as problem:
        raise ValueError(f"{key}: {problem}") from problem
