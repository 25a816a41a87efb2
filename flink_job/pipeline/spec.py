"""The pipeline file: every key of it, checked as a whole before anything starts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from flink_job.simulation.simulation import SimulatorSpec
from flink_job.sinks.file_sink import FileSinkSpec, ResultFileSinkSpec
from flink_job.sinks.print_sink import PrintSinkSpec
from flink_job.sources.file_source import FileSourceSpec
from operators.durations import DurationMs
from operators.plan import Plan

RUNS_FOLDER = Path(".sketchstream")


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
    results: Annotated[ResultFileSinkSpec | PrintSinkSpec, Field(discriminator="type")] = PrintSinkSpec(
        type="print"
    )
    late: Annotated[FileSinkSpec | PrintSinkSpec, Field(discriminator="type")] | None = None
    rejects: Annotated[FileSinkSpec | PrintSinkSpec, Field(discriminator="type")] | None = None


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
    source: Annotated[FileSourceSpec | SimulatorSpec, Field(discriminator="type")]
    sinks: Sinks = Sinks()

    @model_validator(mode="after")
    def _parallelism_fits(self) -> Pipeline:
        if self.parallelism is not None and self.parallelism > self.max_parallelism:
            raise ValueError(f"parallelism: expected at most {self.max_parallelism}, got {self.parallelism}")
        if self.event.time.kafka_timestamp:
            raise ValueError("event.time: kafka_timestamp needs a source of type kafka")
        return self

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
