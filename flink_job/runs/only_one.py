"""Lets a pipeline run once at a time in a folder: two runs would write, and clear, the same files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock

from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.private_folder import open_own, private_folder
from flink_job.pipeline.spec import Pipeline


@contextmanager
def only_run(pipeline: Pipeline) -> Iterator[None]:
    """Hold the folder of a pipeline's runs; however this process ends, it is free again then.

    What is written meanwhile is for this user alone.

    Raises:
        EnvironmentProblem: where another run holds it, or it is not this user's alone.
    """
    folder = pipeline.run_folder()
    with private_folder(folder), open_own(folder / "running") as file:
        try:
            flock(file, LOCK_EX | LOCK_NB)
        except BlockingIOError:
            holder = file.read().decode(errors="replace")
            raise EnvironmentProblem(
                f"{pipeline.name} runs already in {folder}, as process {holder}",
                "stop that run first, or give this pipeline another name",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        file.flush()
        yield
