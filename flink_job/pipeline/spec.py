"""The pipeline file: every key of it, checked as a whole before anything starts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from flink_job.pipeline.file_systems import expect_file_system
from flink_job.simulation.simulation import SimulatorSpec
from flink_job.sinks.file_sink import FileSinkSpec, ResultFileSinkSpec
from flink_job.sinks.kafka_spec import KafkaSinkSpec, ResultKafkaSinkSpec
from flink_job.sinks.print_sink import PrintSinkSpec
from flink_job.sources.file_source import FileSourceSpec
from flink_job.sources.items_spec import KafkaItems, SimilarEntry
from flink_job.sources.kafka_spec import KafkaSourceSpec
from flink_job.sources.side_topic_spec import ONLY_HERE, SideTopic
from operators.alerts.alert_spec import AlertsSpec
from operators.durations import DurationMs
from operators.parsing import CsvFormat, Format
from operators.parsing.csv_header import absent_columns
from operators.plan import Plan
from operators.section import Section

RUNS_FOLDER = Path(".sketchstream")
RESULTS, LATE, REJECTS = "results", "late", "rejects"
FIRST_SEEN, ENRICHED, SIMILAR = "first_seen", "enriched", "similar"
ALERTS, DECISIONS, AUDIT, DEAD_LETTERS = "alerts", "decisions", "audit", "dead_letters"
AT_ONCE = {ALERTS, DECISIONS}
"""Outputs that do not wait for a checkpoint: they come at least once."""
_LONGEST_INTERVAL_MS = 5 * 60_000
"""Between checkpoints with Kafka sinks: their transactions end after 15 minutes, restarts included."""


SinkSpec = Annotated[FileSinkSpec | KafkaSinkSpec | PrintSinkSpec, Field(discriminator="type")]


class Checkpoints(Section):
    """How often the job's state is written, where to, and how many are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    every: DurationMs = Field("10s", ge=10, validate_default=True)
    dir: Annotated[str, AfterValidator(expect_file_system)] | None = Field(
        None, description="A URI; default: .sketchstream/<name>/checkpoints."
    )
    keep: int = Field(3, ge=1, le=1000)


class Sinks(BaseModel):
    """Where results, late events and rejects go, and what else the pipeline makes."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    results: Annotated[
        ResultFileSinkSpec | ResultKafkaSinkSpec | PrintSinkSpec, Field(discriminator="type")
    ] = PrintSinkSpec(type="print")
    late: SinkSpec | None = None
    rejects: SinkSpec | None = None
    first_seen: SinkSpec | None = None
    enriched: SinkSpec | None = None
    similar: SinkSpec | None = None
    alerts: SinkSpec | None = None
    decisions: SinkSpec | None = None
    audit: SinkSpec | None = None
    dead_letters: SinkSpec | None = None


class Pipeline(Plan):
    """A pipeline file.

    Late, rejected and enriched events and similar items go to the run's own folder, `.sketchstream/<name>`,
    where no sink is named for them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", title="sketchstream pipeline")
    profile: Literal["throughput", "latency"] | None = Field(
        None, description="Default: latency with rules on a source that does not end, else throughput."
    )
    parallelism: int | None = Field(None, ge=1, le=1024, description="Default: the cluster's.")
    max_parallelism: int = Field(
        128, ge=1, le=32768, description="Fixed for ever: state is cut into as many."
    )
    rules_own_slots: bool = Field(
        False, description="Whether rules on events have slots, and so Python workers, of their own."
    )
    checkpoints: Checkpoints = Checkpoints()
    source: Annotated[FileSourceSpec | SimulatorSpec | KafkaSourceSpec, Field(discriminator="type")]
    sinks: Sinks = Sinks()
    similar: tuple[SimilarEntry, ...] = ()
    rule_changes: SideTopic | None = None
    feedback: SideTopic | None = None
    alerts: AlertsSpec | None = None

    @model_validator(mode="after")
    def _fits_together(self) -> Pipeline:
        if not (self.metrics or self.has_rules() or self.enrich is not None or self.similar):
            raise ValueError("metrics: is missing, and so are rules, decide, enrich and similar")
        if self.parallelism is not None and self.parallelism > self.max_parallelism:
            raise ValueError(f"parallelism: expected at most {self.max_parallelism}, got {self.parallelism}")
        if self.rules_own_slots and self.features is None:
            raise ValueError("rules_own_slots: needs features, for rules on events")
        from_kafka = isinstance(self.source, KafkaSourceSpec)
        if self.event.time.kafka_timestamp and not from_kafka:
            raise ValueError("event.time: kafka_timestamp needs a source of type kafka")
        if self.rule_changes is not None and not self.metrics and self.features is None:
            raise ValueError("rule_changes: needs features or metrics, that rules could be on")
        for key in ("feedback", "alerts"):
            if getattr(self, key) is not None and not self.has_rules():
                raise ValueError(f"{key}: needs rules")
        self._expect_known_rules()
        self._expect_known_columns()
        for output, (there, needed) in self._made_of().items():
            named = output in self.sinks.model_fields_set and getattr(self.sinks, output) is not None
            if named and not there:
                raise ValueError(f"sinks.{output}: needs {needed}")
        for key, topic in self.side_topics():
            if topic.brokers is None and not from_kafka:
                raise ValueError(f"{key}.brokers: is missing, and the source has none")
        for output in self.outputs():
            sink = getattr(self.sinks, output)
            if not isinstance(sink, KafkaSinkSpec):
                continue
            if sink.brokers is None and not from_kafka:
                raise ValueError(f"sinks.{output}.brokers: is missing, and the source has none")
            if output in AT_ONCE:
                continue
            own_timeout = "transaction.timeout.ms" in sink.properties
            if self.checkpoints.every > _LONGEST_INTERVAL_MS and not own_timeout:
                raise ValueError(
                    "checkpoints.every: expected at most 5m with a sink of type kafka, whose "
                    "transactions end after 15 minutes; or set transaction.timeout.ms in its properties"
                )
        return self

    def columns_of_fields(self) -> dict[str, str]:
        """Return the CSV column of each field, by the key of the pipeline file that requires it."""
        return {f"fields.{name}": field.path for name, field in self.event.fields.items()}

    def outputs(self) -> tuple[str, ...]:
        """Return the names of all outputs that the job has."""
        only_if_named = {FIRST_SEEN}
        return tuple(
            output
            for output, (there, _) in self._made_of().items()
            if there and (output not in only_if_named or getattr(self.sinks, output) is not None)
        )

    def has_rules(self) -> bool:
        """Return whether there are rules, or can be once the job runs, or decisions, which ask them."""
        return bool(self.rules) or self.rule_changes is not None or self.decide is not None

    def has_rules_on_results(self) -> bool:
        """Return whether there are rules on results, or can be."""
        can_be = self.rule_changes is not None or any(rule.kind == "result" for rule in self.rules)
        return can_be and bool(self.metrics)

    def rules_change(self) -> bool:
        """Return whether rules can change while the job runs."""
        return self.rule_changes is not None or self.feedback is not None

    def timing(self) -> Literal["throughput", "latency"]:
        """Return the profile: where there are rules, somebody waits for alerts, unless the source ends."""
        source = self.source
        flows = isinstance(source, KafkaSourceSpec) and source.stop == "never"
        flows = flows or (isinstance(source, SimulatorSpec) and source.rate is not None)
        return self.profile or ("latency" if self.has_rules() and flows else "throughput")

    def remembers(self) -> bool:
        """Return whether a metric is of kind `first_seen`."""
        return any(metric.kind == FIRST_SEEN for metric in self.metrics)

    def gathers(self) -> bool:
        """Return whether a metric has events brought together before windows count them."""
        return any(metric.gather is not None for metric in self.resolved_metrics())

    def uses_kafka(self) -> bool:
        """Return whether the job needs Flink's Kafka connector."""
        ends = [self.source, *(getattr(self.sinks, output) for output in self.outputs())]
        return any(isinstance(end, KafkaSourceSpec | KafkaSinkSpec) for end in ends) or any(
            self.side_topics()
        )

    def side_topics(self) -> Iterator[tuple[str, SideTopic]]:
        """Yield each topic that is read beside the events, with its key in the pipeline file."""
        for entry in self.similar:
            if isinstance(entry.items, KafkaItems):
                yield f"similar.{entry.name}.items", entry.items
        for key in ("rule_changes", "feedback"):
            if getattr(self, key) is not None:
                yield key, getattr(self, key)

    def histories(self) -> Iterator[tuple[str, str, Format, dict[str, str]]]:
        """Yield each history read from files: its key, path, format, and required columns by option."""
        for metric in self.metrics:
            if (history := getattr(metric, "history", None)) is not None:
                columns = {"field": history.field or metric.of}
                yield f"metrics.{metric.name}.history", history.path, history.format, columns
        for entry in self.similar:
            if (history := entry.history) is not None:
                columns = {"user": history.user, "item": history.item, "time": history.time}
                yield f"similar.{entry.name}.history", history.path, history.format, columns

    def with_sketches(self) -> bool:
        """Return whether results carry their sketches."""
        results = self.sinks.results
        return isinstance(results, ResultFileSinkSpec | ResultKafkaSinkSpec) and results.with_sketch

    def plan_json(self) -> str:
        """Return what the operators need, as JSON."""
        return self.model_dump_json(
            include=set(Plan.model_fields),
            exclude={"similar": {"__all__": {"items": ONLY_HERE}}},
            exclude_unset=True,
            by_alias=True,
        )

    def run_folder(self) -> Path:
        """Return the folder that runs of this pipeline keep their things in."""
        return RUNS_FOLDER.absolute() / self.name

    def checkpoint_uri(self) -> str:
        """Return where checkpoints go."""
        return self.checkpoints.dir or (self.run_folder() / "checkpoints").as_uri()

    def _expect_known_rules(self) -> None:
        """Refuse a channel of rules that there are not; by a topic any rule may come."""
        if self.alerts is None or self.rule_changes is not None:
            return
        known = {rule.name for rule in self.rules}
        for channel in self.alerts.deliver:
            for name in channel.rules or ():
                if name not in known:
                    allowed = ", ".join(sorted(known))
                    raise ValueError(
                        f"alerts.deliver.{channel.name}.rules: expected one of {allowed}, got {name!r}"
                    )

    def _expect_known_columns(self) -> None:
        """Refuse fields whose column is not listed in source.format.columns."""
        format = getattr(self.source, "format", None)
        if isinstance(format, CsvFormat) and format.columns is not None:
            problems = absent_columns(self.columns_of_fields(), format.columns, "source.format.columns")
            if problems:
                raise ValueError(problems[0])

    def _made_of(self) -> dict[str, tuple[bool, str]]:
        """Return of each output whether the pipeline has it, and what it needs for it."""
        return {
            RESULTS: (bool(self.metrics), "metrics"),
            LATE: (bool(self.metrics), "metrics"),
            REJECTS: (True, "events"),
            FIRST_SEEN: (self.remembers(), "a metric of kind first_seen"),
            ENRICHED: (self.enrich is not None, "a section enrich"),
            SIMILAR: (bool(self.similar), "an entry in the list similar"),
            ALERTS: (self.has_rules(), "rules"),
            DECISIONS: (self.decide is not None, "a section decide"),
            AUDIT: (self.rules_change(), "rule_changes or feedback"),
            DEAD_LETTERS: (self.alerts is not None, "a section alerts that delivers"),
        }

    def output_folder(self, output: str) -> Path:
        """Return the folder that one of the outputs goes to in an embedded run."""
        spec = getattr(self.sinks, output)
        return Path(spec.path) if isinstance(spec, FileSinkSpec) else self.run_folder() / output
