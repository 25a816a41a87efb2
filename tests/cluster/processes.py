"""Runs of the command in processes of their own, to be watched, interrupted and killed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import urllib.request
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import linux
import yaml
from cluster_runs import COMMAND
from waiting import wait_for

_MARK = "SKETCHSTREAM_TEST_RUN"
_GRACE_S = 20


class Run:
    """A `sketchstream` command that runs in a folder, a process group of its own.

    Args:
        folder: its working directory.
        arguments: what follows `sketchstream`.
        environment: variables besides those of the test.
        command: what stands for `sketchstream`.
    """

    def __init__(
        self,
        folder: Path,
        *arguments: str,
        environment: dict[str, str] | None = None,
        command: Sequence[str | Path] = (COMMAND,),
    ) -> None:
        self.folder, self._mark = folder, uuid.uuid4().hex
        self._out, self._err = folder / f"{self._mark}.out", folder / f"{self._mark}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*command, *arguments],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=os.environ | (environment or {}) | {_MARK: self._mark},
                start_new_session=True,
            )

    @property
    def out(self) -> str:
        """What it wrote to standard output so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """What it wrote to standard error so far."""
        return self._err.read_text()

    def wait(self, timeout_s: float = 240) -> int:
        """Wait for its end and return its exit code."""
        return self.process.wait(timeout_s)

    def outcome(self) -> dict[str, Any]:
        """Wait for its end, which must be a good one, and return what `--json` printed."""
        code = self.wait()
        assert code == 0, f"exit code {code}\n{self.out}\n{self.err}"
        return json.loads(self.out)

    def interrupt(self) -> None:
        """Send SIGINT to the whole process group, as a terminal does on Ctrl-C."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill(self) -> None:
        """Kill the command itself, with -9."""
        self.process.kill()
        self.process.wait()

    def processes(self, having: str = "") -> list[int]:
        """Return the living processes that the command started, itself included."""
        mark = f"{_MARK}={self._mark}".encode()
        ours = (pid for pid in linux.processes() if mark in linux.told(pid, "environ"))
        return [pid for pid in ours if having in linux.command_line(pid)]

    def workers(self) -> list[int]:
        """Return the Python workers, children of the JVM's."""
        return self.processes("beam_boot")

    def kill_workers(self) -> None:
        """Kill all Python workers."""
        _kill(self.workers())

    def worker_ids(self) -> set[str]:
        """Return what Beam calls the workers; while one starts, two processes may be the same."""
        words = {word for pid in self.workers() for word in linux.command_line(pid).split()}
        return {word for word in words if word.startswith("--id=")}

    def java(self) -> list[int]:
        """Return the JVM."""
        return [pid for pid in self.processes() if linux.told(pid, "comm").strip() == b"java"]

    def clean_up(self) -> None:
        """Kill all that is left."""
        _kill(self.processes())
        self.process.wait()

    def expect_nothing_left(self) -> None:
        """Wait until all that the command started has ended, which must be soon."""
        wait_for(lambda: not self.processes(), "the end of all that the command started", timeout_s=_GRACE_S)

    def address(self) -> str:
        """Return the address of the web UI, as soon as it is told."""
        return wait_for(lambda: re.search(r"http://localhost:\d+", self.err), "the address of the web UI")[0]

    def ask(self, path: str) -> Any:
        """Ask the REST interface."""
        with urllib.request.urlopen(self.address() + path, timeout=10) as answer:
            return json.load(answer)

    def job(self) -> str:
        """Return the job's id."""
        return wait_for(lambda: re.search(r"as job ([0-9a-f]{32})", self.err), "the job's id")[1]

    def await_checkpoints(self, count: int) -> None:
        """Wait until this run has finished so many checkpoints."""
        where = f".sketchstream/*/checkpoints/{self.job()}/chk-*/_metadata"

        def done() -> bool:
            numbers = [int(path.parent.name.partition("-")[2]) for path in self.folder.glob(where)]
            return max(numbers, default=0) >= count

        wait_for(done, f"{count} checkpoints", lambda: self.process.poll() is None)


def write_pipeline(folder: Path, pipeline: dict[str, Any]) -> str:
    """Write a pipeline file and return its name."""
    (folder / "pipeline.yaml").write_text(yaml.safe_dump(pipeline))
    return "pipeline.yaml"


def read_output(folder: Path) -> list[dict[str, Any]]:
    """Return the objects of all finished part files of a folder."""
    return [json.loads(line) for path in sorted(folder.glob("part-*")) for line in path.open()]


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it ended by itself meanwhile
            os.kill(pid, signal.SIGKILL)
