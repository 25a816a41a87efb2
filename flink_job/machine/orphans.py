"""Ends the Python workers that a Java process leaves behind when it is killed.

Every process of a run inherits a mark in its environment, by which these, and only these, are found (Linux).
"""

from __future__ import annotations

import os
import signal
import uuid
from contextlib import suppress
from pathlib import Path

MARK = "SKETCHSTREAM_RUN"


def mark_run() -> str:
    """Give all processes started from now on a mark of their own, and return it."""
    mark = uuid.uuid4().hex
    os.environ[MARK] = mark
    return mark


def end_orphans(mark: str, proc: Path = Path("/proc")) -> list[int]:
    """Kill the processes that carry a mark, this one excepted.

    Args:
        mark: what `mark_run` returned.
        proc: the process file system of Linux.

    Returns:
        The ids of those that were killed.
    """
    wanted, ended = f"{MARK}={mark}".encode(), []
    for process in proc.glob("[0-9]*"):
        pid = int(process.name)
        # A process may end while it is looked at, or belong to another user.
        with suppress(OSError):
            if pid != os.getpid() and wanted in (process / "environ").read_bytes().split(b"\0"):
                os.kill(pid, signal.SIGKILL)
                ended.append(pid)
    return ended
