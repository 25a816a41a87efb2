"""Where the time of a run goes: CPU time by thread, and the busiest methods of Java and Python.

Threads are read from the system, Java by its own flight recorder, Python by `py-spy` where it is on the path.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.e2e.meter import FIRST, LAST, Meter, descendants

FLIGHT_RECORDER = "-XX:StartFlightRecording=settings=profile,dumponexit=true,filename="
_LONGEST_S = 15
_TICKS_A_SECOND = 100
_MOST = 25


@dataclass(frozen=True)
class Profile:
    """Where the time went.

    Attributes:
        threads: by process and thread, microseconds of CPU time a message.
        java: by method, its share of the samples of the TaskManager, 0 to 1, the busiest first.
        python: by function, the same of the workers while they hold the interpreter; empty where `py-spy` is
            missing.
    """

    threads: dict[str, float]
    java: dict[str, float]
    python: dict[str, float]


class Profiler:
    """Profiles the steady part of a run, in a thread of its own.

    Args:
        meter: what watches the run.
        messages: how many the run reads.
        folder: where recordings are written.
    """

    def __init__(self, meter: Meter, messages: int, folder: Path) -> None:
        self._meter, self._messages, self._folder = meter, messages, folder
        self._threads: dict[str, float] = {}
        self._spies: list[Path] = []
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        """Wait for the steady part and profile it."""
        self._thread.start()

    def profile(self, recording: Path) -> Profile:
        """Return what was seen; the TaskManager must have ended and left its recording."""
        self._thread.join()
        python = Counter[str]()
        for spied in self._spies:
            for line in spied.read_text().splitlines() if spied.exists() else ():
                stack, _, count = line.rpartition(" ")
                python[re.sub(r":\d+\)$", ")", stack.rpartition(";")[2])] += int(count)
        return Profile(self._threads, _shares(_sampled_methods(recording)), _shares(python))

    def _run(self) -> None:
        self._await(lambda: self._read() >= FIRST * self._messages)
        processes = descendants(self._meter.task_managers())
        before, read = {pid: _ticks(pid) for pid in processes}, self._read()
        spies = [self._spy(pid) for pid in processes if shutil.which("py-spy") and _is_worker(pid)]
        began = time.monotonic()
        self._await(lambda: self._read() >= LAST * self._messages or time.monotonic() - began > _LONGEST_S)
        messages = max(self._read() - read, 1.0)
        spent = Counter[str]()
        for pid, earlier in before.items():
            for thread, ticks in _ticks(pid).items():
                name = f"{'Python' if _is_worker(pid) else 'Java'}: {re.sub(r'[0-9]+', 'N', thread[1])}"
                spent[name] += ticks - earlier.get(thread, 0)
        self._threads = {
            name: ticks / _TICKS_A_SECOND / messages * 1e6 for name, ticks in spent.most_common(_MOST)
        }
        for spy in spies:
            spy.wait()

    def _read(self) -> float:
        return self._meter.series.read[-1] if self._meter.series.read else 0.0

    def _await(self, done: Callable[[], bool]) -> None:
        while not done():
            time.sleep(0.1)

    def _spy(self, pid: int) -> subprocess.Popen[bytes]:
        target = self._folder / f"worker-{pid}.stacks"
        self._spies.append(target)
        # Threads that wait would be most of what it sees otherwise.
        command = ["py-spy", "record", "--gil", "--format", "raw", "--rate", "200", "--duration", "5"]
        return subprocess.Popen(
            [*command, "--output", str(target), "--pid", str(pid)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def _ticks(pid: int) -> dict[tuple[str, str], int]:
    """Return the CPU time of each thread of a process, by its number and name."""
    found = {}
    for task in Path(f"/proc/{pid}/task").glob("*/stat"):
        try:
            head, _, tail = task.read_text().rpartition(")")
        except OSError:
            continue
        found[task.parent.name, head.partition("(")[2]] = sum(map(int, tail.split()[11:13]))
    return found


def _is_worker(pid: int) -> bool:
    try:
        return b"beam_boot" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _sampled_methods(recording: Path) -> Counter[str]:
    """Return how often each method was the innermost of a sample of a flight recording."""
    tool = shutil.which("jfr")
    if tool is None or not recording.exists():
        return Counter()
    ran = subprocess.run(
        [tool, "print", "--events", "jdk.ExecutionSample", "--stack-depth", "1", str(recording)],
        capture_output=True,
        text=True,
    )
    return Counter(re.findall(r"^\s+([\w.$<>]+)\(.*\)\s+line:", ran.stdout, re.MULTILINE))


def _shares(counts: Counter[str]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: count / total for name, count in counts.most_common(_MOST)}
