"""Goes on by itself when the embedded cluster is lost, as a cluster does when it loses a TaskManager."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence

from flink_job.pipeline.file_systems import FILE, scheme_of
from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.checkpoints import latest
from flink_job.screen import print_error

_COUNT = "SKETCHSTREAM_REVIVALS"
_MOST = 3


def revive(pipeline: Pipeline, lost: str, arguments: Sequence[str]) -> str:
    """Replace this process by one that goes on from the last checkpoint.

    Args:
        pipeline: the pipeline whose run was lost.
        lost: how, in one line.
        arguments: those of the `run` command, pipeline file first, without `--from` and `--overwrite`.

    Returns:
        How to resume, for a message, where the process is not replaced: no checkpoint was found, or it was
        replaced three times already.
    """
    again = f"sketchstream run {shlex.quote(arguments[0])}"
    if scheme_of(pipeline.checkpoint_uri()) != FILE:
        where = f"{pipeline.checkpoint_uri().rstrip('/')}/JOB/chk-NUMBER"
        return f"go on from its last checkpoint, if it had one, with: {again} --from {where}"
    count = int(os.environ.get(_COUNT, "0"))
    try:
        checkpoint = latest(pipeline)
    except PipelineProblem:
        return f"it had no checkpoint yet, so there is nothing to go on from; begin again with: {again}"
    if count >= _MOST:
        return (
            f"it was lost {count + 1} times, so it is not gone on with by itself\n"
            f"its last checkpoint: {checkpoint}\ngo on with: {again} --from latest"
        )
    print_error(f"{lost}; going on from {checkpoint}")
    sys.stdout.flush()
    sys.stderr.flush()
    os.environ[_COUNT] = str(count + 1)
    command = [sys.executable, "-m", "flink_job.cli", "run", *arguments, "--from", "latest"]
    os.execv(sys.executable, command)
