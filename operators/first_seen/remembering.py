"""How values are remembered: the options that whatever tells new values from known ones has in common."""

from __future__ import annotations

import math
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, model_validator

from operators.durations import DurationMs
from operators.parsing import FormatSpec
from operators.section import Section
from sketches.bloom import MAX_BITS, Bloom
from sketches.growing_bloom import MAX_CAPACITY

PERIODS = 4
"""Number of periods for which a value is remembered after the one in which it was last seen."""
_GUESSED_CAPACITY = 100_000
_FIRST_SHARE, _FIRST_SHARE_SIZED = 0.1, 0.95
_SAMPLE = 1_000_000
_MIB_BITS = 2**23


class FirstFilter(NamedTuple):
    """Options of a `GrowingBloom`: first capacity, total false positive rate, first filter's share of it."""

    capacity: int
    rate: float
    first_share: float


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

    @model_validator(mode="after")
    def _filters_fit(self) -> Remembering:
        first = self.first_filter()
        # Scaled up from a sample size, since `suggest` refuses the full size where it is too large.
        bits = first.capacity / _SAMPLE * Bloom.suggest(_SAMPLE, first.rate * first.first_share)[1]
        if not self.exact and bits > MAX_BITS:
            means, allowed = (round(size / _MIB_BITS) for size in (bits, MAX_BITS))
            shards = math.ceil(self.value_shards * bits / MAX_BITS * 1.01)
            raise ValueError(
                f"capacity: {self.capacity} at rate {self.rate:g} in {self.value_shards} value_shards means "
                f"{means} MiB each; at most {allowed} MiB are allowed, so at least {shards} value_shards, "
                "or a greater rate"
            )
        return self

    def expected(self) -> int:
        """Return how many values state is made for at first."""
        return self.capacity or _GUESSED_CAPACITY

    def first_filter(self) -> FirstFilter:
        """Return the options of each shard's growing Bloom filter, used unless `exact`."""
        mean = self.expected() / self.value_shards
        return FirstFilter(
            # Three standard deviations above the mean shard size, so that few shards have to grow.
            capacity=min(MAX_CAPACITY, int(mean + 3 * mean**0.5) + 1),
            rate=self.rate if self.remember is None else self.rate / (PERIODS + 1),
            first_share=_FIRST_SHARE if self.capacity is None else _FIRST_SHARE_SIZED,
        )
