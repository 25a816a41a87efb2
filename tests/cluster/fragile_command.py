"""The `sketchstream` command, but on SIGUSR1 the TaskManager of its mini-cluster ends.

So it does when a task that failed cannot be cleaned up, which nothing from outside brings about.
"""

from __future__ import annotations

import signal
from typing import Any

from flink_job.cli import main
from flink_job.cluster.embedded_job import EmbeddedJob
from flink_job.commands import run


def start_and_wait_for_signal(*arguments: Any) -> EmbeddedJob:
    job = start(*arguments)
    signal.signal(signal.SIGUSR1, lambda *_: _end_task_manager(job))
    return job


def _end_task_manager(job: EmbeddedJob) -> None:
    client = job.client._j_job_client
    of_client = client.getClass().getDeclaredField("miniCluster")
    of_client.setAccessible(True)
    of_client.get(client).terminateTaskManager(0)


if __name__ == "__main__":
    start, run.start = run.start, start_and_wait_for_signal
    main()
