"""What a metric kind is: its options in the pipeline file, and the aggregator that they build."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from pydantic import ConfigDict

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.section import Section

if TYPE_CHECKING:
    from operators.gather.gathering import Gathering

Fields = dict[str, object]


@dataclass(frozen=True)
class AnswerColumns:
    """What the rows of a kind's answers have, for rules that read them.

    Attributes:
        types: the type of each column: string, long, double or bool.
        history: the column that rules may compare with what it was in the windows before; None for none.
        item: the column that tells the rows of one answer apart; None where an answer is one row.
    """

    types: Mapping[str, str]
    history: str | None
    item: str | None = None


def value_columns(type_: str) -> AnswerColumns:
    """Return the columns of an answer that is one value of this type with its bounds."""
    history = "value" if type_ in ("long", "double") else None
    return AnswerColumns(dict.fromkeys(("value", "lower", "upper"), type_), history)


def item_columns(type_: str) -> AnswerColumns:
    """Return the columns of an answer that is a count of each of several items of this type."""
    return AnswerColumns(
        {"item": type_} | dict.fromkeys(("count", "lower", "upper"), "long"), "count", "item"
    )


class Kind(Section, ABC):
    """The options of one metric kind, as the pipeline file has them; `kind` is a literal of one word."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    always_exact: ClassVar[bool] = False
    """True where the answer has no error."""

    takes_sessions: ClassVar[bool] = True
    """False where its windows have to be of a fixed length."""

    takes_lists: ClassVar[bool] = True
    """False where an event has to have one key only."""

    answer_options: ClassVar[frozenset[str]] = frozenset()
    """Options that shape answers only, not what is kept: a job that goes on may have others."""

    @property
    def before_ms(self) -> int:
        """How long the time before a window is that the window is held against; 0 for kinds that do not.

        The aggregator of a kind that does has a method `answer_against`.
        """
        return 0

    @abstractmethod
    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return what computes this metric.

        Args:
            columns: the type of every column: string, long, double, bool, or `list` of strings.

        Raises:
            ValueError: where a column is missing or of a type that this kind cannot take.
        """

    def gathering(self, columns: Mapping[str, str]) -> Gathering | None:
        """Return how events are brought together before windows count them; None where they need not be.

        The aggregator of a kind that gathers has a method `partial`, which makes a partial of outcomes.

        Args:
            columns: as for `build`.

        Raises:
            ValueError: as `build` does.
        """
        return None

    def checks(self) -> tuple[str, ...]:
        """Return conditions that every event of this metric must meet; one that does not is a reject."""
        return ()


@dataclass(frozen=True)
class Before:
    """What is known of the time before a window, for one key.

    Attributes:
        partial: all partials of that time, merged; None where nothing came.
        seen_ms: how much of that time was seen, 0 to the kind's `before_ms`.
        window_ms: the length of the window itself.
    """

    partial: bytes | None
    seen_ms: int
    window_ms: int


class Aggregator(ABC):
    """Mergeable summaries of groups of events. A partial is never empty bytes."""

    @abstractmethod
    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Return the partial of each group, in the order of their numbers."""

    @abstractmethod
    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Return the partial of all together, two or more; order does not matter."""

    @abstractmethod
    def answer(self, partial: bytes, events: int) -> Fields:
        """Return the result fields of this kind.

        Args:
            partial: all partials of the window, merged.
            events: how many events are in the window.
        """

    def answer_against(self, partial: bytes, events: int, before: Before) -> Fields:
        """Return the result fields of a kind that holds a window against the time before it.

        Args:
            partial: all partials of the window, merged.
            events: how many events are in the window.
            before: what is known of the time before it.
        """
        return self.answer(partial, events)

    def sketch(self, partial: bytes) -> bytes | None:
        """Return the sketch's own image, for `with_sketch`; None where the kind keeps no sketch."""
        return None

    def columns(self) -> AnswerColumns:
        """Return what the rows of `rows` have; by default value, lower and upper, doubles."""
        return value_columns("double")

    def rows(self, answer: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
        """Return an answer as rows, which rules look at one by one.

        Args:
            answer: the fields of `answer` as they are read from JSON; there may be others.

        Returns:
            Rows that have all of `columns`, and maybe more. By default one: the answer as it is.
        """
        return (answer,)


def typed_column(
    kind: str, columns: Mapping[str, str], name: str, allowed: tuple[str, ...], key: str = "of"
) -> str:
    """Return the type of a column.

    Raises:
        ValueError: where it is not there or not of an allowed type; names the key and what is allowed.
    """
    if name not in columns:
        raise ValueError(f"{key}: there is no column {name!r}; columns are {', '.join(sorted(columns))}")
    if columns[name] not in allowed:
        raise ValueError(
            f"{key}: {kind} takes {' or '.join(allowed)}, but column {name!r} is {columns[name]}"
        )
    return columns[name]


def split_by_group(ids: np.ndarray | None, values: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the values of each group, `count` arrays, in the order of the events."""
    if ids is None:
        return [values]
    order = np.argsort(ids, kind="stable")
    ends = np.cumsum(np.bincount(ids, minlength=count))
    return np.split(values[order], ends[:-1])
