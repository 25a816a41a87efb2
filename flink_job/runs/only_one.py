"""Lets a pipeline run once at a time in a folder: two runs would write, and clear, the same files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from fcntl import LOCK_EX, LOCK_NB, flock

from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.private_folder import open_private, private_folder
from flink_job.pipeline.spec import Pipeline


@contextmanager
def only_run(pipeline: Pipeline) -> Iterator[None]:
    """Lock the folder of a pipeline's runs until this process ends, however it ends.

    Files created while it is held are readable by this user only.

    Raises:
        EnvironmentProblem: another run holds the lock, or the folder is not private to this user.
    """
    folder = pipeline.run_folder()
    with private_folder(folder), open_private(folder / "running") as file:
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
