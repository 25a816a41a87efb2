"""Processes that a killed Java process leaves behind are ended, and no others."""

from __future__ import annotations

import os
import subprocess
import sys

from flink_job.machine.orphans import end_orphans, mark_run

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


def test_only_processes_of_the_run_are_ended(monkeypatch) -> None:
    monkeypatch.setenv("SKETCHSTREAM_RUN", "before")
    other = subprocess.Popen(SLEEP)
    mark = mark_run()
    own = subprocess.Popen(SLEEP)
    try:
        assert end_orphans(mark) == [own.pid]
        assert own.wait(10) == -9
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
    assert os.environ["SKETCHSTREAM_RUN"] == mark
