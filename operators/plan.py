"""The part of a pipeline that the operators work from: what an event is, and the metrics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from pydantic import ConfigDict, Field, model_validator

from operators.durations import DurationMs
from operators.enrich.enrich_spec import EnrichSpec
from operators.events.event import EventSpec
from operators.expressions import Expression
from operators.metric import Metric, MetricSpec, resolve_metric
from operators.rules.compiled_rule import CompiledRule
from operators.rules.feature_spec import FeaturesSpec
from operators.rules.readable import Readable
from operators.rules.resolved import Features, resolve_decide, resolve_features
from operators.rules.rule_spec import FIRST_VERSION, DecideSpec, Rule
from operators.section import Section
from operators.similar.answerer import Answerer, resolve_similar
from operators.similar.similar_spec import SimilarSpec


class Plan(Section):
    """The keys of a pipeline file that say what an event is and what is asked of events."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    name: Annotated[str, Field(pattern="^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
    event: EventSpec
    allowed_lateness: DurationMs = Field("0s", validate_default=True)
    emit_every: Annotated[DurationMs, Field(gt=0)] | None = None
    metrics: tuple[MetricSpec, ...] = ()
    enrich: EnrichSpec | None = None
    similar: tuple[SimilarSpec, ...] = ()
    features: FeaturesSpec | None = None
    rules: tuple[Rule, ...] = ()
    decide: DecideSpec | None = None

    @model_validator(mode="after")
    def _metrics_fit_the_event(self) -> Plan:
        _expect_different("metrics", [metric.name for metric in self.metrics])
        _expect_different("similar", [entry.name for entry in self.similar])
        self.resolved_metrics()
        _expect_different("rules", [rule.name for rule in self.rules])
        self.resolved_similar()
        self.resolved_rules()
        self.answered()
        self.event_with_checks()
        if self.enrich is not None:
            _named("enrich", lambda: self.enrich.condition(self.event.column_types()))
        return self

    def resolved_metrics(self) -> tuple[Metric, ...]:
        """Return the metrics, checked against the columns, with all defaults filled in."""
        columns = self.event.column_types()
        return tuple(
            _named(
                f"metrics.{spec.name}",
                lambda spec=spec: resolve_metric(spec, columns, self.allowed_lateness, self.emit_every),
            )
            for spec in self.metrics
        )

    def resolved_similar(self) -> tuple[Answerer, ...]:
        """Return what answers questions for similar items, checked against the columns."""
        columns = self.event.column_types()
        return tuple(
            _named(f"similar.{spec.name}", lambda spec=spec: resolve_similar(spec, columns))
            for spec in self.similar
        )

    def resolved_features(self) -> Features | None:
        """Return what rules may know of the past, checked against the columns; None for nothing."""
        if self.features is None:
            return None
        return _named("features", lambda: resolve_features(self.features, self.event.column_types()))

    def readable(self) -> Readable:
        """Return what rules may read, and so which rules there can be."""
        features = self.resolved_features()
        return Readable({} if features is None else features.types, self.resolved_metrics())

    def resolved_rules(self) -> tuple[CompiledRule, ...]:
        """Return the rules, checked against the columns, features and results."""
        readable = self.readable()
        return tuple(
            _named(f"rules.{rule.name}", lambda rule=rule: readable.compile(rule, FIRST_VERSION))
            for rule in self.rules
        )

    def answered(self) -> Expression | None:
        """Return for which events there are decisions, where there are any; None for all."""
        if self.decide is None:
            return None
        return resolve_decide(self.decide, self.resolved_features())

    def event_with_checks(self) -> EventSpec:
        """Return the event section with what the metrics demand of an event added to its checks."""
        demanded = [
            check if metric.where is None else f"not coalesce({metric.where}, false) or {check}"
            for metric in self.metrics
            for check in metric.checks()
        ]
        checks = (*self.event.checks, *(check for check in dict.fromkeys(demanded)))
        return self.event.model_copy(update={"checks": checks})


def _expect_different(key: str, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"{key}: expected different names, got {twice!r} twice")


def _named(key: str, make: Callable[[], object]) -> object:
    try:
        return make()
    except ValueError as problem:
        raise ValueError(f"{key}.{problem}") from problem
