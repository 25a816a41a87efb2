"""Lets a pipeline run once at a time in a folder: two runs would write, and clear, the same files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock

from flink_job.machine.environment import EnvironmentProblem
from flink_job.pipeline.spec import Pipeline


@contextmanager
def only_run(pipeline: Pipeline) -> Iterator[None]:
    """Hold the folder of a pipeline's runs. However this process ends, it is free again then.

    Raises:
        EnvironmentProblem: where another run holds it.
    """
    folder = pipeline.run_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "running").open("a+") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise EnvironmentProblem(
                f"{pipeline.name} runs already in {folder}, as process {file.read()}",
                "stop that run first, or give this pipeline another name",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
