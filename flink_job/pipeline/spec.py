"""The pipeline file: every key of it, checked as a whole before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flink_job.simulation.simulation import SimulatorSpec
from flink_job.sinks.file_sink import FileSinkSpec, ResultFileSinkSpec
from flink_job.sinks.kafka_spec import KafkaSinkSpec, ResultKafkaSinkSpec
from flink_job.sinks.print_sink import PrintSinkSpec
from flink_job.sources.file_source import FileSourceSpec
from flink_job.sources.kafka_spec import KafkaSourceSpec
from operators.durations import DurationMs
from operators.plan import Plan

RUNS_FOLDER = Path(".sketchstream")


SinkSpec = Annotated[FileSinkSpec | KafkaSinkSpec | PrintSinkSpec, Field(discriminator="type")]


class Checkpoints(BaseModel):
    """How often the job's state is written, where to, and how many are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    every: DurationMs = Field("10s", ge=10, validate_default=True)
    dir: str | None = Field(
        None, pattern="^[a-z0-9]+://.+", description="A URI; default: .sketchstream/<name>/checkpoints."
    )
    keep: int = Field(3, ge=1, le=1000)


class Sinks(BaseModel):
    """Where results, late events and rejects go."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    results: Annotated[
        ResultFileSinkSpec | ResultKafkaSinkSpec | PrintSinkSpec, Field(discriminator="type")
    ] = PrintSinkSpec(type="print")
    late: SinkSpec | None = None
    rejects: SinkSpec | None = None


class Pipeline(Plan):
    """A pipeline file.

    Late events and rejects go to the run's own folder, `.sketchstream/<name>`, where no sink is named for
    them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", title="sketchstream pipeline")
    profile: Literal["throughput", "latency"] = "throughput"
    parallelism: int | None = Field(None, ge=1, le=1024, description="Default: the cluster's.")
    max_parallelism: int = Field(
        128, ge=1, le=32768, description="Fixed for ever: state is cut into as many."
    )
    checkpoints: Checkpoints = Checkpoints()
    source: Annotated[FileSourceSpec | SimulatorSpec | KafkaSourceSpec, Field(discriminator="type")]
    sinks: Sinks = Sinks()

    @model_validator(mode="after")
    def _fits_together(self) -> Pipeline:
        if self.parallelism is not None and self.parallelism > self.max_parallelism:
            raise ValueError(f"parallelism: expected at most {self.max_parallelism}, got {self.parallelism}")
        from_kafka = isinstance(self.source, KafkaSourceSpec)
        if self.event.time.kafka_timestamp and not from_kafka:
            raise ValueError("event.time: kafka_timestamp needs a source of type kafka")
        for output in ("results", "late", "rejects"):
            sink = getattr(self.sinks, output)
            if isinstance(sink, KafkaSinkSpec) and sink.brokers is None and not from_kafka:
                raise ValueError(f"sinks.{output}.brokers: is missing, and the source has none")
        return self

    def beyond_this_version(self) -> list[str]:
        """Return what the pipeline asks for that cannot be run yet, a line each."""
        asked = {"source": self.source} | {f"sinks.{name}": sink for name, sink in self.sinks}
        return [
            f"{key}.type: kafka can be checked but not run by this version; file, simulator and print can"
            for key, spec in asked.items()
            if isinstance(spec, KafkaSourceSpec | KafkaSinkSpec)
        ]

    def plan_json(self) -> str:
        """Return what the operators need, as JSON."""
        return self.model_dump_json(include=set(Plan.model_fields), exclude_unset=True, by_alias=True)

    def run_folder(self) -> Path:
        """Return the folder that runs of this pipeline keep their things in."""
        return RUNS_FOLDER.absolute() / self.name

    def checkpoint_uri(self) -> str:
        """Return where checkpoints go."""
        return self.checkpoints.dir or (self.run_folder() / "checkpoints").as_uri()

    def output_folder(self, output: str) -> Path:
        """Return the folder that one of the outputs (results, late, rejects) goes to in an embedded run."""
        spec = getattr(self.sinks, output)
        return Path(spec.path) if isinstance(spec, FileSinkSpec) else self.run_folder() / output
