"""A metric of the pipeline file: a kind with its options, its key, its condition and its windows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import reduce
from operator import or_
from typing import Annotated, NamedTuple

from pydantic import ConfigDict, Field, create_model

from operators.durations import DurationMs
from operators.expressions import Expression, compile_expression
from operators.gather.gathering import Gathering
from operators.metrics import all_kinds
from operators.metrics.first_seen import FirstSeen
from operators.metrics.items import item_type
from operators.metrics.kind import Aggregator
from operators.section import Section
from operators.windows.slices import SessionWindow, SliceGrid, TimeWindow
from operators.windows.window_spec import WindowSpec

KEYED_SHARDS = 8


class MetricFields(Section):
    """What every metric has, whatever its kind."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
    by: tuple[str, ...] = ()
    where: str | None = None
    windows: Annotated[tuple[WindowSpec, ...], Field(min_length=1, max_length=64)]
    allowed_lateness: DurationMs | None = None
    emit_every: Annotated[DurationMs, Field(gt=0)] | None = None
    shards: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Into how many pieces the keys are spread; never change it for a job that goes on from a checkpoint."""


_MODELS = tuple(
    create_model(f"{kind.__name__}Metric", __base__=(MetricFields, kind), __doc__=kind.__doc__)
    for kind in all_kinds().values()
)
MetricSpec = Annotated[reduce(or_, _MODELS), Field(discriminator="kind")]
"""Any metric: the common keys and those of its kind in one mapping."""


class Stage(NamedTuple):
    """An operator that events of a metric pass on their way to its windows.

    Attributes:
        shards: into how many pieces it is spread.
        span_ms: how far what it has sent is behind its watermark.
    """

    shards: int
    span_ms: int


@dataclass(frozen=True)
class Metric:
    """A metric checked against the columns, with all defaults filled in.

    Attributes:
        name: its name in the pipeline.
        kind: the kind's name.
        by: the key columns.
        key_types: the type of each of them; that of one value where it is multi-valued.
        exploded: the key column that is multi-valued, if one is.
        condition: its `where`.
        grid: its tumbling and sliding windows; None where it has none.
        sessions: its session windows.
        aggregator: the kind at work.
        allowed_lateness_ms: how long after its end a window takes events.
        emit_every_ms: how often open windows are reported early, by the wall clock; None for never.
        shards: how many pieces the keys are spread into.
        seen: how values are remembered; None where the kind does not ask for that.
        gather: how events are brought together before windows count them; None where they need not be. The
            lateness that is allowed is then that of gathering, and none is left for windows.
        delay_ms: how far windows are behind the watermark: as long as it takes to gather what is in them.
    """

    name: str
    kind: str
    by: tuple[str, ...]
    key_types: tuple[str, ...]
    exploded: str | None
    condition: Expression | None
    grid: SliceGrid | None
    sessions: tuple[SessionWindow, ...]
    aggregator: Aggregator
    allowed_lateness_ms: int
    emit_every_ms: int | None
    shards: int
    seen: FirstSeen | None
    gather: Gathering | None = None
    delay_ms: int = 0

    @property
    def lateness_ms(self) -> int:
        """How long after their time events are still taken, by windows or where they are gathered."""
        return self.allowed_lateness_ms if self.gather is None else self.delay_ms - self.gather.span_ms

    @property
    def stage(self) -> Stage | None:
        """What events pass before windows get them; None where they go to windows at once."""
        if self.gather is not None:
            return Stage(self.gather.shards, self.gather.span_ms)
        return None if self.seen is None else Stage(self.seen.value_shards, 0)

    @property
    def counts_revisions(self) -> bool:
        """Whether a window may be answered more than once, so that what was sent is remembered."""
        return self.allowed_lateness_ms > 0 or self.emit_every_ms is not None

    @property
    def late_sessions(self) -> SessionWindow | None:
        """The sessions that say what is late for the metric, being the last to; None where the grid does."""
        return max(self.sessions, key=lambda window: window.gap_ms, default=None)


def resolve_metric(
    spec: MetricFields, columns: Mapping[str, str], allowed_lateness_ms: int, emit_every_ms: int | None
) -> Metric:
    """Check a metric against the columns and fill in the pipeline's defaults.

    Raises:
        ValueError: where a column is missing or of a wrong type, the condition is wrong, or the windows
            cannot share slices; the message begins with the key.
    """
    condition = None
    if spec.where is not None:
        condition = _named("where", lambda: compile_expression(spec.where, columns, expect="bool"))
    for name in spec.by:
        if name not in columns:
            raise ValueError(f"by: there is no column {name!r}; columns are {', '.join(sorted(columns))}")
    multiple = [name for name in spec.by if columns[name] == "list"]
    if len(multiple) > 1 or len(set(spec.by)) < len(spec.by):
        raise ValueError(
            f"by: expected different columns, one of them multi-valued at most, got {list(spec.by)}"
        )
    lateness = allowed_lateness_ms if spec.allowed_lateness is None else spec.allowed_lateness
    windows = [window.window() for window in spec.windows]
    if len(set(windows)) < len(windows):
        raise ValueError("windows: the same window is named twice")
    if multiple and not spec.takes_lists:
        raise ValueError(f"by: {spec.kind} takes single-valued columns, but {multiple[0]!r} is multi-valued")
    if not spec.takes_sessions and any(isinstance(window, SessionWindow) for window in windows):
        raise ValueError(f"windows: {spec.kind} takes tumbling and sliding windows")
    over_time = tuple(window for window in windows if isinstance(window, TimeWindow))
    aggregator, gather = spec.build(columns), spec.gathering(columns)
    own_lateness = lateness if gather is None else 0
    return Metric(
        name=spec.name,
        kind=spec.kind,
        by=spec.by,
        key_types=tuple(item_type(columns[name]) for name in spec.by),
        exploded=multiple[0] if multiple else None,
        condition=condition,
        grid=_named("windows", lambda: SliceGrid(over_time, own_lateness, spec.before_ms))
        if over_time
        else None,
        sessions=tuple(window for window in windows if isinstance(window, SessionWindow)),
        aggregator=aggregator,
        allowed_lateness_ms=own_lateness,
        emit_every_ms=emit_every_ms if spec.emit_every is None else spec.emit_every,
        shards=spec.shards or (KEYED_SHARDS if spec.by else 1),
        seen=spec if isinstance(spec, FirstSeen) else None,
        gather=gather,
        delay_ms=0 if gather is None else gather.span_ms + lateness,
    )


def _named(key: str, make: object) -> object:
    try:
        return make()
    except ValueError as problem:
        raise ValueError(f"{key}: {problem}") from problem
