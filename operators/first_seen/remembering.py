"""How values are remembered: the options that whatever tells new values from known ones has in common."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from operators.durations import DurationMs
from operators.parsing import FormatSpec
from operators.section import Section
from sketches.growing_bloom import MAX_CAPACITY

_GUESSED_CAPACITY = 100_000


class History(BaseModel):
    """Values that were seen before the first event of the job.

    `path` is a file or a glob that every worker can read, `.gz` is unpacked; `field` is the values' key in
    its lines, default: the name of the column.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    path: Annotated[str, Field(min_length=1)]
    field: str | None = None
    format: FormatSpec = "json"


class Remembering(Section):
    """Options of how values are remembered.

    A value that no event had for `remember`, or up to a quarter longer, is new again; without it a value is
    remembered for ever. `capacity` is how many values are expected: it makes state smaller, but more may
    come. At most the share `rate` of new values is taken for known ones, none where `exact` is true, which
    takes ten times as much state. `value_shards` is into how many pieces values are spread; never change it
    for a job that goes on from a checkpoint. Values of `history` are known from the beginning.
    """

    remember: DurationMs | None = Field(None, ge=1000)
    capacity: int | None = Field(None, ge=1, le=MAX_CAPACITY)
    rate: float = Field(0.01, ge=0.00001, le=0.5)
    exact: bool = False
    value_shards: int = Field(8, ge=1, le=1024)
    history: History | None = None

    @model_validator(mode="after")
    def _history_has_no_time(self) -> Remembering:
        if self.history is not None and self.remember is not None:
            raise ValueError("history: its values have no time, so it does not go together with remember")
        return self

    def expected(self) -> int:
        """Return how many values state is made for at first."""
        return self.capacity or _GUESSED_CAPACITY
