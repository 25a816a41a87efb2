"""What is run on the cluster, and how it is submitted."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from bench.e2e.checks import Check
from bench.e2e.meter import Measured, Meter
from bench.e2e.rig import PARALLELISM, SETTINGS, Stage, fresh_cluster, submit_module
from bench.e2e.workload import Topic, create, delete
from bench.report.five_metrics import EVENT, five_metrics
from flink_job.cluster.submission import submit
from flink_job.pipeline.reading import load_pipeline
from flink_job.pipeline.spec import ENRICHED, LATE, REJECTS, RESULTS
from flink_job.settings import PYTHON
from flink_job.sinks.opening import open_sinks
from flink_job.standalone.cluster import FlinkCluster

_TIMEOUT_S = 900.0
_OUTPUTS = (RESULTS, LATE, REJECTS)
METRICS = five_metrics("60s", "10s")
_CONSOLE = Console(stderr=True)


Run = Callable[[Stage, FlinkCluster, Topic], str]


@dataclass(frozen=True)
class Contender:
    """Something that runs on the cluster.

    Attributes:
        name: what it is called in the tables.
        topic: which of the filled topics it reads.
        submit: hands the job to the cluster and returns its id.
        check: raises RuntimeError unless the job did its work.
        share: how much of each partition it reads, 0 to 1.
    """

    name: str
    topic: str
    submit: Run
    check: Check
    share: float = 1.0


def measure(
    contender: Contender, stage: Stage, topic: Topic, at_start: Callable[[Meter], None] = lambda _: None
) -> Measured:
    """Run a contender on a fresh cluster and hold what it found against the truth.

    Args:
        contender: what to run.
        stage: where.
        topic: what it reads.
        at_start: is given the meter when the job was taken.

    Raises:
        RuntimeError: where the job failed or did not do its work.
    """
    for output in (*_OUTPUTS, ENRICHED):
        delete(stage.broker, f"bench-{output}")
    with fresh_cluster(stage.folder / "flink", stage.cluster_settings) as cluster:
        began = time.monotonic()
        job = contender.submit(stage, cluster, topic)
        meter = Meter(cluster, began)
        at_start(meter)
        state = meter.watch(job, _TIMEOUT_S)
        if state != "FINISHED":
            raise RuntimeError(f"{contender.name}: the job is {state}; its logs are in {cluster.log_folder}")
        found = meter.measured(job, sum(topic.part(contender.share)), topic.events_a_message)
    contender.check(stage, topic, found)
    return found


def product_job(
    metrics: Sequence[dict[str, Any]] = METRICS,
    source: Mapping[str, Any] | None = None,
    enrich: Mapping[str, Any] | None = None,
) -> Run:
    """Return the submission of the product, as `sketchstream run --cluster` does it."""

    def run(stage: Stage, cluster: FlinkCluster, topic: Topic) -> str:
        path = pipeline_file(stage, topic, metrics, source, enrich)
        pipeline = load_pipeline(path, [])
        open_sinks(pipeline, keep_here=False, console=_CONSOLE)
        return submit(pipeline, path, [], cluster.address, None, {PYTHON: sys.executable})

    return run


def altered(options: Sequence[str], source: Mapping[str, Any] | None = None) -> Run:
    """Return the submission of the product with options of `pipeline_job`."""

    def run(stage: Stage, cluster: FlinkCluster, topic: Topic) -> str:
        path = pipeline_file(stage, topic, METRICS, source)
        open_sinks(load_pipeline(path, []), keep_here=False, console=_CONSOLE)
        arguments = ["--pipeline", str(path), *options]
        return submit_module(cluster, "bench.e2e.jobs.pipeline_job", arguments, stage.folder)

    return run


def rival(module: str, share: float, **options: Any) -> Run:
    """Return the submission of one of the other jobs.

    Args:
        module: its entry.
        share: how much of each partition it reads.
        options: for it, besides what all of them take.
    """

    def run(stage: Stage, cluster: FlinkCluster, topic: Topic) -> str:
        given = {
            "name": "bench",
            "brokers": stage.broker.address,
            "topic": topic.name,
            "results": "bench-results",
            "ends": topic.part(share),
            "settings": SETTINGS,
            **options,
        }
        create(stage.broker, "bench-results")
        return submit_module(cluster, f"bench.e2e.jobs.{module}", [json.dumps(given)], stage.folder)

    return run


def pipeline_file(
    stage: Stage,
    topic: Topic,
    metrics: Sequence[dict[str, Any]],
    source: Mapping[str, Any] | None,
    enrich: Mapping[str, Any] | None = None,
) -> Path:
    """Write the pipeline of the benchmark and return its file."""
    outputs = _OUTPUTS if enrich is None else (*_OUTPUTS, ENRICHED)
    pipeline = {
        "name": "bench",
        "parallelism": PARALLELISM,
        "checkpoints": {"every": "5s", "dir": (stage.folder / "flink" / "checkpoints").as_uri()},
        "source": {
            "type": "kafka",
            "brokers": stage.broker.address,
            "topic": topic.name,
            "stop": "latest",
            "format": "json" if topic.events_a_message == 1 else "ndjson",
            **(source or {}),
        },
        "event": EVENT,
        "metrics": list(metrics),
        "sinks": {
            output: {"type": "kafka", "topic": f"bench-{output}", "create": True} for output in outputs
        },
    }
    if enrich is not None:
        pipeline["enrich"] = dict(enrich)
    path = stage.folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(pipeline))
    return path
