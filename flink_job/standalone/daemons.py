"""Processes that go on when the one that started them ends, found again by a file in their folder (Linux)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.orphans import MARK, end_orphans
from flink_job.machine.ports import holder_of, is_free

_TAIL_LINES = 15
_POLL_S = 0.1
_GRACE_S = 20.0
_DEATH_S = 10.0
# Kept so that those of them that end are reaped: they would stay in the process table otherwise.
_children: list[subprocess.Popen[bytes]] = []


@dataclass(frozen=True)
class Daemon:
    """A process that was started here or by an earlier command.

    Attributes:
        name: what it is; no two in a folder have the same.
        pid: its process id.
        started: when it began, in clock ticks since the machine did; tells it from a later process of its id.
        mark: what it and all that it starts carry in their environment.
        address: where it answers; empty where nobody asks it.
        log: its log.
    """

    name: str
    pid: int
    started: int
    mark: str
    address: str
    log: str

    def is_running(self) -> bool:
        """Return whether this very process lives, and not another one that was given its id."""
        return _beginning(self.pid) == self.started

    def send(self, signal_number: int) -> None:
        """Send a signal to the process, if it still is this one."""
        if self.is_running():
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal_number)


class Daemons:
    """The processes of one folder, noted in its file `processes.json`.

    Args:
        folder: where the file is, and what the processes print; also their working directory.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self._file = self.folder / "processes.json"

    def all(self) -> list[Daemon]:
        """Return those that were started and not ended by `end`, dead ones too, the oldest first."""
        if not self._file.is_file():
            return []
        return [Daemon(**entry) for entry in json.loads(self._file.read_text(encoding="utf-8"))]

    def running(self, prefix: str = "") -> list[Daemon]:
        """Return the living ones whose name begins so."""
        return [daemon for daemon in self.all() if daemon.name.startswith(prefix) and daemon.is_running()]

    def launch(
        self,
        name: str,
        command: Sequence[str | Path],
        environment: Mapping[str, str],
        address: str = "",
        log: Path | None = None,
    ) -> Daemon:
        """Start a process and note it.

        Args:
            name: what it is; takes the place of a dead one of the same name.
            command: program and arguments.
            environment: all its variables; its mark is added.
            address: where it will answer.
            log: its log; what it prints, which goes to `NAME.out` in the folder, when left out.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        printed, mark = self.folder / f"{name}.out", uuid.uuid4().hex
        with printed.open("wb") as out:
            child = subprocess.Popen(
                [str(word) for word in command],
                cwd=self.folder,
                env={**environment, MARK: mark},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                # Ctrl-C in the terminal is meant for the command, not for what it leaves running.
                start_new_session=True,
            )
        _children.append(child)
        daemon = Daemon(name, child.pid, _beginning(child.pid) or 0, mark, address, str(log or printed))
        self._write([*(other for other in self.all() if other.name != name), daemon])
        return daemon

    def end(self, daemons: Iterable[Daemon] | None = None, grace_s: float = _GRACE_S) -> list[Daemon]:
        """End processes and all that they left behind: politely, then by force.

        Args:
            daemons: which ones; all when left out.
            grace_s: how long they may take by themselves, in seconds; 0 kills at once.

        Returns:
            Those of them that were running.
        """
        chosen = list(self.all() if daemons is None else daemons)
        ended = [daemon for daemon in chosen if daemon.is_running()]
        if grace_s:
            for daemon in ended:
                daemon.send(signal.SIGTERM)
            _wait_until(lambda: not any(daemon.is_running() for daemon in ended), grace_s)
        for daemon in ended:
            daemon.send(signal.SIGKILL)
        _wait_until(lambda: not any(daemon.is_running() for daemon in ended), _DEATH_S)
        left = [pid for daemon in chosen for pid in end_orphans(daemon.mark)]
        _wait_until(lambda: not any(_beginning(pid) for pid in left), _DEATH_S)
        if chosen:
            self._write([daemon for daemon in self.all() if daemon not in chosen])
        return ended

    def await_answer(self, answers: Callable[[], bool], daemons: Sequence[Daemon], timeout_s: float) -> None:
        """Wait until processes do what they are there for.

        Args:
            answers: whether they do.
            daemons: the processes, none of which may end meanwhile.
            timeout_s: how long to wait, in seconds.

        Raises:
            EnvironmentProblem: where they do not, with the end of a log.
        """
        deadline = time.monotonic() + timeout_s
        while not answers():
            ended = next((daemon for daemon in daemons if not daemon.is_running()), None)
            if ended is None and time.monotonic() < deadline:
                time.sleep(_POLL_S)
                continue
            fault = f"did not answer within {timeout_s:.0f} s" if ended is None else "ended while it started"
            culprit = ended or daemons[0]
            log = self._telling_log(culprit)
            raise EnvironmentProblem(
                f"The {culprit.name} {fault}; {log} ends so:\n{_tail(log)}",
                "Put right what it says there, then start again.",
            )

    def _telling_log(self, daemon: Daemon) -> Path:
        # A process that does not even get as far as its log says why where it prints.
        log = Path(daemon.log)
        return log if log.is_file() and log.stat().st_size else self.folder / f"{daemon.name}.out"

    def _write(self, daemons: list[Daemon]) -> None:
        if not daemons:
            self._file.unlink(missing_ok=True)
            return
        # Written whole or not at all: the file is all that is known of what runs.
        new = self._file.with_suffix(".new")
        new.write_text(json.dumps([asdict(daemon) for daemon in daemons], indent=1), encoding="utf-8")
        new.replace(self._file)


def expect_free(port: int, what: str) -> None:
    """Refuse a port of the loopback interface that another process listens on.

    Args:
        port: TCP port, 1 to 65535.
        what: what wants it.

    Raises:
        EnvironmentProblem: where it is taken; it names the holder.
    """
    if not is_free(port):
        holder = holder_of(port) or "a process of another user or container"
        raise EnvironmentProblem(
            f"Port {port} for the {what} is taken by {holder}.", "Stop that, or choose another port."
        )


def expect_same_address(daemon: Daemon, address: str) -> None:
    """Refuse to take a running process for one at another address.

    Raises:
        EnvironmentProblem: where the process answers elsewhere.
    """
    if daemon.address != address:
        raise EnvironmentProblem(
            f"The {daemon.name} of this folder runs already, at {daemon.address} and not at {address}.",
            "Use that address, stop it first, or choose another folder.",
        )


def _beginning(pid: int) -> int | None:
    """When a process began, in clock ticks since the machine did; None where it has ended."""
    for child in _children:
        child.poll()
    try:
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # Its second field is the name, which may have blanks and brackets of its own.
    fields = status.rpartition(") ")[2].split()
    state, threads, beginning = fields[0], int(fields[17]), int(fields[19])
    # Ended and not yet reaped; but while other threads of it end, it still holds its ports.
    return None if state in "ZX" and threads <= 1 else beginning


def _wait_until(done: Callable[[], bool], timeout_s: float) -> None:
    deadline = time.monotonic() + timeout_s
    while not done() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _tail(file: Path) -> str:
    if not file.is_file():
        return "(there is no such file)"
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    return "\n".join(lines[-_TAIL_LINES:]) or "(it is empty)"
