"""The pipeline file's `features`: what rules may know of an entity's past when an event of it comes.

A feature is a column that is made from the events of one entity, a user or a card, in the order in which they
come. The event at hand counts in `count`, `sum` and `distinct`; all others tell of what was before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import ConfigDict, Field

from operators.durations import DurationMs
from operators.section import Section

_Column = Annotated[str, Field(min_length=1)]
_Within = Annotated[DurationMs, Field(ge=1)]


class _Feature(Section):
    """What every feature has: `where` says which events count for it, all by default."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    where: str | None = None


class Count(_Feature):
    """How many events there were `within` the time up to now."""

    kind: Literal["count"]
    within: _Within


class Sum(_Feature):
    """The sum of a number over the events `within` the time up to now."""

    kind: Literal["sum"]
    of: _Column
    within: _Within


class Distinct(_Feature):
    """How many different values a column had `within` the time up to now."""

    kind: Literal["distinct"]
    of: _Column
    within: _Within


class First(_Feature):
    """Whether no event came before; exact for as long as the entity is remembered."""

    kind: Literal["first"]


class Since(_Feature):
    """Milliseconds since the event before; null where there was none."""

    kind: Literal["since"]


class Previous(_Feature):
    """The value that a column had in the event before; null where there was none."""

    kind: Literal["previous"]
    of: _Column


class Deviations(_Feature):
    """How many standard deviations a number is away from its mean over the events before, with its sign.

    `over: own` takes the entity's events, `over: all` those of all entities of the same shard, a sample of
    one in `shards`. Null before there were `at_least` events; at most 1,000,000 either way, which is also
    told where all events before had one value and this one has another.
    """

    kind: Literal["deviations"]
    of: _Column
    over: Literal["own", "all"] = "own"
    at_least: Annotated[int, Field(ge=2, le=1_000_000)] = 5


class Speed(_Feature):
    """The speed in km/h at which the entity came from the place of the event before; null for the first.

    Places are degrees; the way is a great circle. Less than a second between events counts as a second.
    """

    kind: Literal["speed"]
    latitude: _Column
    longitude: _Column


Feature = Annotated[
    Count | Sum | Distinct | First | Since | Previous | Deviations | Speed, Field(discriminator="kind")
]
_FeatureName = Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_]{0,63}$")]


class FeaturesSpec(Section):
    """What rules know of the past: `of` is the column of the entity, `where` says which events rules see.

    `id` is a column that names an event, so that one that is sent twice raises one alert; by default an event
    is named by where it is from. An entity that has no event for as long as `remember` is forgotten. `shards`
    is into how many pieces entities are spread; never change it for a job that goes on from a checkpoint.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    of: _Column
    where: str | None = None
    id: _Column | None = None
    remember: Annotated[DurationMs, Field(ge=1000)] = Field("30d", validate_default=True)
    shards: Annotated[int, Field(ge=1, le=1024)] = 8
    columns: Mapping[_FeatureName, Feature] = {}
