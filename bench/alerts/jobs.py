"""The jobs of the benchmark: the pipeline that is shipped, whole or in parts."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from bench.e2e.rig import PARALLELISM, Stage
from flink_job.cluster.rest import FlinkRest
from flink_job.cluster.submission import submit
from flink_job.pipeline.reading import load_pipeline
from flink_job.pipeline.spec import Pipeline
from flink_job.settings import PYTHON, slots
from flink_job.sinks.opening import open_sinks
from flink_job.standalone.cluster import FlinkCluster

OUTPUTS = ("results", "late", "rejects", "alerts", "decisions", "audit")
JOBS = {"one": ("whole",), "rules": ("rules",), "two": ("rules", "windows")}
"""What runs side by side on the same topic: rules and windows in one job, rules alone, or each in its own."""
_PIPELINE = Path(__file__).resolve().parents[2] / "pipelines" / "fraud_kafka.yaml"
_WITHOUT = {
    "whole": (),
    "rules": ("metrics",),
    "windows": ("rules", "features", "decide", "rule_changes", "feedback", "profile", "rules_own_slots"),
}
_SINKS = {
    "whole": OUTPUTS,
    "rules": ("rejects", "alerts", "decisions", "audit"),
    "windows": ("results", "late", "rejects"),
}
_STARTS_S = 120.0


@dataclass(frozen=True)
class Job:
    """A job that is to be started.

    Attributes:
        pipeline: its pipeline.
        path: the pipeline's file.
        overrides: what the pipeline has otherwise than the file, `KEY=VALUE`.
    """

    pipeline: Pipeline
    path: Path
    overrides: list[str]

    @property
    def slots(self) -> int:
        """How many slots it takes."""
        return slots(self.pipeline, PARALLELISM)


def prepared(stage: Stage, jobs: str, overrides: Sequence[str]) -> list[Job]:
    """Write the files of jobs.

    Args:
        stage: where.
        jobs: which, a key of `JOBS`.
        overrides: what pipelines that may have the key are to have otherwise, `KEY=VALUE`.
    """
    made = []
    for part in JOBS[jobs]:
        path, document = stage.folder / f"{part}.yaml", _document(stage, part)
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        own = [override for override in overrides if re.split(r"[.=]", override)[0] not in _WITHOUT[part]]
        made.append(Job(load_pipeline(path, own), path, own))
    return made


def start(cluster: FlinkCluster, jobs: Sequence[Job]) -> None:
    """Submit jobs and wait until every part of them works."""
    for job in jobs:
        open_sinks(job.pipeline, keep_here=False, console=Console(stderr=True))
        settings = {PYTHON: sys.executable}
        job_id = submit(job.pipeline, job.path, job.overrides, cluster.address, None, settings)
        rest, deadline = FlinkRest(f"http://{cluster.address}"), time.monotonic() + _STARTS_S
        while rest.checkpoints(job_id).latest is None:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the job had no checkpoint within {_STARTS_S:.0f} s")
            time.sleep(0.5)


def _document(stage: Stage, part: str) -> dict[str, Any]:
    """Return the shipped pipeline, or a part of it, with windows of an hour, as its clock runs fast."""
    document = yaml.safe_load(_PIPELINE.read_text())
    document |= {
        "name": f"fraud_{part}",
        "parallelism": PARALLELISM,
    }
    document["checkpoints"]["dir"] = (stage.folder / "flink" / "checkpoints").as_uri()
    document["source"] |= {"brokers": stage.broker.address, "topic": "payments", "stop": "never"}
    document["event"]["fields"]["sent_ms"] = "double"
    for metric in document["metrics"]:
        metric["windows"] = [{"tumbling": "1h"}]
    document["sinks"] = {output: document["sinks"][output] for output in _SINKS[part]}
    return {key: value for key, value in document.items() if key not in _WITHOUT[part]}
