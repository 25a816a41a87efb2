"""`funnel`: how many users reach each of several steps, one after another, within a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import BaseModel, ConfigDict, Field, field_validator

from operators.batch.event_batch import EventBatch, hashes_of
from operators.batch.groups import Groups
from operators.durations import DurationMs
from operators.expressions import Expression, compile_expression
from operators.gather.entries import Entries
from operators.gather.gathering import Gathering
from operators.metrics.funnel_levels import Levels, empty_levels, read_levels, write_levels
from operators.metrics.kind import Aggregator, AnswerColumns, Fields, Kind, typed_column
from sketches.exact_set import ExactSet
from sketches.hyperloglog import HyperLogLog, merge_images

_NUM_STD_DEV = 2
_DTYPES = {"string": pl.String, "long": pl.Int64, "double": pl.Float64, "bool": pl.Boolean}


class Step(BaseModel):
    """A step of a funnel: its name, and which events are of it."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(min_length=1, max_length=64)]
    where: str


class Funnel(Kind):
    """Options of `funnel`.

    `of` is the column of users. An event of the first of the `steps` is an entry; each further step is
    reached by an event later than the one of the step before, at most `within` after the entry. A user counts
    in the windows that hold an entry, once, with the furthest step of its entries there. Users are counted by
    HyperLogLogs of 2**lg_k bytes, one a step, or where `exact` is true by 16 bytes each. They are spread over
    `entity_shards`; never change it for a job that goes on from a checkpoint.
    """

    kind: Literal["funnel"]
    of: str
    steps: Annotated[tuple[Step, ...], Field(min_length=2, max_length=16)]
    within: Annotated[DurationMs, Field(gt=0)]
    lg_k: int = Field(14, ge=4, le=21)
    exact: bool = False
    entity_shards: int = Field(8, ge=1, le=1024)
    takes_sessions: ClassVar[bool] = False
    takes_lists: ClassVar[bool] = False

    @field_validator("steps")
    @classmethod
    def _names_differ(cls, steps: tuple[Step, ...]) -> tuple[Step, ...]:
        names = [step.name for step in steps]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"expected different names, got {name!r} twice")
        return steps

    def build(self, columns: Mapping[str, str]) -> Aggregator:
        """Return the counter of users."""
        type_ = typed_column("funnel", columns, self.of, tuple(_DTYPES))
        names = [step.name for step in self.steps]
        return FunnelAggregator(names, _DTYPES[type_], None if self.exact else self.lg_k)

    def gathering(self, columns: Mapping[str, str]) -> Gathering:
        """Return what follows users through the steps."""
        return Entries(self.of, self.within, self._conditions(columns), self.entity_shards)

    def _conditions(self, columns: Mapping[str, str]) -> list[Expression]:
        conditions = []
        for step in self.steps:
            try:
                conditions.append(compile_expression(step.where, columns, expect="bool"))
            except ValueError as problem:
                raise ValueError(f"steps.{step.name}.where: {problem}") from problem
        return conditions


class FunnelAggregator(Aggregator):
    """A partial is a set of users for each step, those who came that far and no further.

    A user may be in several sets, as different entries come differently far; who reached a step is in its set
    or in one behind it. So each entry is added to one sketch only, and none says less than one a step would
    that had all who reached it.

    Args:
        names: of the steps.
        type_: of the column of users.
        lg_k: the size of the sketches; None for exact sets.
    """

    def __init__(self, names: Sequence[str], type_: type[pl.DataType], lg_k: int | None) -> None:
        """Keep the options."""
        self._names, self._type, self._lg_k = names, type_, lg_k

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Return partials without users: what ingest sends to windows by itself is of no step or user."""
        return [empty_levels(len(self._names))] * groups.count

    def partial(self, outcomes: Sequence[tuple[object, int]]) -> bytes:
        """Return the partial of entries.

        Args:
            outcomes: the user of each, and the number of the furthest step it reached, from 0.
        """
        furthest: dict[object, int] = {}
        for user, step in outcomes:
            furthest[user] = max(step, furthest.get(user, step))
        hashes = hashes_of(pl.Series(list(furthest), dtype=self._type))
        reached = np.fromiter(furthest.values(), np.int64, len(furthest))
        images = [self._image(hashes[reached == step]) for step in range(len(self._names))]
        return write_levels(images)

    def merge(self, partials: Sequence[bytes]) -> bytes:
        """Unite the sets; exact ones keep a user only where it came furthest."""
        by_step = list(zip(*(self._read(partial) for partial in partials), strict=True))
        if self._lg_k is None:
            return write_levels(_united_exactly(by_step))
        images = [[image for image in own if image] for own in by_step]
        return write_levels([merge_images(*own) if own else b"" for own in images])

    def answer(self, partial: bytes, events: int) -> Fields:
        """Return, for each step, how many users reached it and how many of them came no further."""
        counted = self._exactly(partial) if self._lg_k is None else self._estimates(partial)
        steps = []
        for name, own, next_ in zip(self._names, counted, [*counted[1:], (0, 0, 0)], strict=True):
            users, lower, upper = own
            steps.append(
                {
                    "step": name,
                    "users": users,
                    "lower": lower,
                    "upper": upper,
                    "stopped": users - next_[0],
                    "stopped_lower": max(0, lower - next_[2]),
                    "stopped_upper": upper - next_[1],
                }
            )
        return {"steps": steps, "confidence": 1.0 if self._lg_k is None else 0.95}

    def columns(self) -> AnswerColumns:
        """Return those of a step."""
        numbers = ("users", "lower", "upper", "stopped", "stopped_lower", "stopped_upper")
        return AnswerColumns({"step": "string"} | dict.fromkeys(numbers, "double"), "users", "step")

    def rows(self, answer: Mapping[str, object]) -> Sequence[Mapping[str, object]]:
        """Return a row a step."""
        return answer["steps"]

    def _exactly(self, partial: bytes) -> list[tuple[int, int, int]]:
        counted, users = [], 0
        for image in reversed(self._read(partial)):
            users += ExactSet.deserialize(image).members if image else 0
            counted.append((users, users, users))
        return counted[::-1]

    def _estimates(self, partial: bytes) -> list[tuple[float, float, float]]:
        """Return estimate and bounds of who reached each step.

        Who reached a step reached all before it: no step may have more users than the one before, and what
        bounds one from above bounds those behind it, what bounds it from below those before it.
        """
        counted, image = [], b""
        for own in reversed(self._read(partial)):
            image = merge_images(*filter(None, (image, own))) if image or own else b""
            sketch = HyperLogLog.deserialize(image) if image else HyperLogLog(self._lg_k)
            bounds = sketch.lower_bound(_NUM_STD_DEV), sketch.upper_bound(_NUM_STD_DEV)
            counted.append((sketch.estimate(), *bounds))
        users, lower, upper = np.array(counted).T  # from the last step to the first
        users, lower = np.maximum.accumulate(users), np.maximum.accumulate(lower)
        upper = np.minimum.accumulate(np.maximum(upper, users)[::-1])
        return list(zip(users[::-1].tolist(), lower[::-1].tolist(), upper.tolist(), strict=True))

    def _image(self, hashes: np.ndarray) -> bytes:
        if not len(hashes):
            return b""
        if self._lg_k is None:
            users = ExactSet()
            users.add_many(hashes)
            return users.serialize()
        sketch = HyperLogLog(self._lg_k)
        sketch.update_many(hashes)
        return sketch.serialize()

    def _read(self, partial: bytes) -> Levels:
        return read_levels(partial, len(self._names))


def _united_exactly(by_step: list[tuple[bytes, ...]]) -> list[bytes]:
    """Unite exact sets step by step, from the last on; who is in one is in none before it."""
    further, images = ExactSet(), []
    for own in reversed(by_step):
        users = ExactSet()
        for image in filter(None, own):
            hashes = ExactSet.deserialize(image).hashes
            users.add_many(hashes[further.add_many(hashes)])
        images.append(users.serialize() if users.members else b"")
    return images[::-1]
