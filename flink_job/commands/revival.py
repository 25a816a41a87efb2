"""Goes on by itself when the embedded cluster is lost, as a cluster does when it loses a TaskManager."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.checkpoints import latest

_COUNT = "SKETCHSTREAM_REVIVALS"
_MOST = 3


def revive(pipeline: Pipeline, lost: str, arguments: Sequence[str]) -> None:
    """Replace this process by one that goes on from the last checkpoint.

    Returns only where that makes no sense: there is no checkpoint, or it was done three times already.

    Args:
        pipeline: the pipeline whose run was lost.
        lost: how, in one line.
        arguments: of the `run` command, without `--from` and `--overwrite`.
    """
    count = int(os.environ.get(_COUNT, "0"))
    try:
        checkpoint = latest(pipeline)
    except PipelineProblem:
        return
    if count >= _MOST:
        return
    click.echo(f"{lost}; going on from {checkpoint}", err=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ[_COUNT] = str(count + 1)
    command = [sys.executable, "-m", "flink_job.cli", "run", *arguments, "--from", "latest"]
    os.execv(sys.executable, command)
