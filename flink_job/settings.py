"""Flink's configuration for a pipeline."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from flink_job.pipeline.spec import Pipeline
from flink_job.rest_guard.settings import guarded_rest

if TYPE_CHECKING:
    from flink_job.sources.source import Source

PYTHON = "python.executable"
CHECKPOINT_FOLDER = "execution.checkpointing.dir"
_BUNDLE_MS = 200
"""How long what arrives at a Python operator is gathered before it is sent to its worker."""
_INGEST_MS = {"throughput": 200, "latency": 5}
"""How long messages are gathered for ingest. Each batch costs a round trip in every operator behind it.

Flink looks every so often whether the time is over since the last bundle was done, so up to twice as long is
gathered.
"""
_BUNDLE_TIME, _BUNDLE_SIZE = "python.fn-execution.bundle.time", "python.fn-execution.bundle.size"
_BUFFER_MS = {"throughput": 100, "latency": 0}
_BATCHES_PER_BUNDLE = 2
"""A watermark waits for the bundle that it came into: the more is in one, the later may an event be."""


def job_settings(pipeline: Pipeline, source: Source) -> dict[str, str]:
    """Return what the job itself sets, wherever it runs."""
    settings = {
        "pipeline.name": pipeline.name,
        "pipeline.max-parallelism": str(pipeline.max_parallelism),
        "pipeline.auto-watermark-interval": "20 ms",
        # No operator of ours keeps or changes what it was given.
        "pipeline.object-reuse": "true",
        "execution.buffer-timeout.interval": f"{_BUFFER_MS[pipeline.timing()]} ms",
        "execution.checkpointing.interval": f"{pipeline.checkpoints.every} ms",
        CHECKPOINT_FOLDER: pipeline.checkpoint_uri(),
        "execution.checkpointing.num-retained": str(pipeline.checkpoints.keep),
        "execution.checkpointing.externalized-checkpoint-retention": "RETAIN_ON_CANCELLATION",
        "execution.checkpointing.incremental": "true",
        "execution.checkpointing.min-pause": f"{min(pipeline.checkpoints.every, 1000)} ms",
        "execution.checkpointing.tolerable-failed-checkpoints": "3",
        "state.backend.type": "rocksdb",
        "restart-strategy.type": "exponential-delay",
        "restart-strategy.exponential-delay.initial-backoff": "1 s",
        "restart-strategy.exponential-delay.max-backoff": "30 s",
        "restart-strategy.exponential-delay.backoff-multiplier": "2",
        "table.exec.uid.generation": "ALWAYS",
        "table.local-time-zone": "UTC",
        "table.exec.source.idle-timeout": f"{_idle_timeout_ms(pipeline, source)} ms",
        **bundle_settings(pipeline, source),
    }
    if pipeline.timing() == "latency":
        # A task stands still while RocksDB writes what is new for a checkpoint: with Snappy six times longer.
        settings["state.backend.rocksdb.compression.per.level"] = "NO_COMPRESSION"
        # So much at most is still to be written then; what was before has been, by a thread of RocksDB's.
        settings["state.backend.rocksdb.writebuffer.size"] = "16 mb"
    if pipeline.parallelism is not None:
        settings["parallelism.default"] = str(pipeline.parallelism)
    return settings


def slots(pipeline: Pipeline, parallelism: int) -> int:
    """Return how many slots a job takes.

    Args:
        pipeline: the pipeline.
        parallelism: that of a pipeline which says none.
    """
    return (pipeline.parallelism or parallelism) * (2 if pipeline.rules_own_slots else 1)


def _idle_timeout_ms(pipeline: Pipeline, source: Source) -> int:
    """Return after how long a silent reader of events is idle, 0 for never.

    A topic of rules that has ended says that time has, and would be alone in saying what time it is.
    """
    return 0 if source.bounded and pipeline.rules_change() else pipeline.event.idle_timeout


def bundle_settings(pipeline: Pipeline, source: Source) -> dict[str, str]:
    """Return how much is gathered for Python operators, ingest and windows apart.

    For low latency nothing is: a record has all that a worker gets of a batch, and need not wait for another.
    """
    gathered = window_settings(source)
    return gathered | {_BUNDLE_SIZE: "1"} if pipeline.timing() == "latency" else gathered


def window_settings(source: Source) -> dict[str, str]:
    """Return how much is gathered for windows, where nobody waits for an event.

    Each batch of ingest has a record for each metric and shard. Where each was a bundle, windows of four
    metrics fell behind at 5,000 events a second; checkpoints waited for them, and alerts for checkpoints.
    """
    return {_BUNDLE_TIME: str(_BUNDLE_MS), _BUNDLE_SIZE: str(source.rows_per_batch * _BATCHES_PER_BUNDLE)}


def ingest_settings(pipeline: Pipeline, source: Source) -> dict[str, str]:
    """Return what the table that ingest is made of has otherwise than the job."""
    return {
        "python.fn-execution.arrow.batch.size": str(source.rows_per_batch),
        _BUNDLE_SIZE: str(source.rows_per_batch * _BATCHES_PER_BUNDLE),
        _BUNDLE_TIME: str(_INGEST_MS[pipeline.timing()]),
    }


def embedded_settings(rest_port: int, parallelism: int, slots: int) -> dict[str, str]:
    """Return what an embedded mini-cluster needs besides.

    Args:
        rest_port: the port of the web UI, on localhost.
        parallelism: the default parallelism.
        slots: how many slots there are.
    """
    return {
        "jobmanager.bind-host": "localhost",
        "taskmanager.bind-host": "localhost",
        "taskmanager.host": "localhost",
        "rest.address": "localhost",
        "rest.bind-address": "localhost",
        "rest.port": str(rest_port),
        "rest.bind-port": str(rest_port),
        **guarded_rest(rest_port, submission=False),
        "parallelism.default": str(parallelism),
        "taskmanager.numberOfTaskSlots": str(slots),
        "metrics.fetcher.update-interval": "500",
        # Nobody watches for long here; on a cluster a job is to be there again when what it needs is.
        "restart-strategy.exponential-delay.attempts-before-reset-backoff": "6",
        PYTHON: sys.executable,
        "python.client.executable": sys.executable,
    }
