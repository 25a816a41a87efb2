"""Watches a job from outside: how far it has read, its CPU time, memory and checkpoints."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Any

import numpy as np

from flink_job.cluster.failure_reasons import reason_of
from flink_job.cluster.rest import FlinkRest
from flink_job.standalone.cluster import FlinkCluster

FILTER = "*:numRecordsIn,rows,seen_state_bytes"
"""The only metrics that TaskManagers serve, so that to ask costs little."""

FIRST, LAST = 0.5, 0.95
"""The share of the input between which the rate is steady: before it code is compiled, after it ends."""

_EVERY_S = 0.5
_ENDED = ("FINISHED", "FAILED", "CANCELED")
_COUNT = re.compile(r"_numRecordsIn\{([^}]*)\} ([0-9.eE+]+)")
_SOURCE = 'operator_name="Source:'
_OPERATOR = re.compile(r'operator_id="(\w+)"')
_SEEN_BYTES = re.compile(r"^\S*_metric_seen_state_bytes\{.*\} (\S+)$", re.MULTILINE)
_ROWS = re.compile(r"_rows\{[^}]*\} ([0-9.eE+]+)")
_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
_MB = 1e6


@dataclass
class Series:
    """What was seen of a job, sample by sample.

    Attributes:
        time_s: when, since the submission began.
        read: messages read by the source.
        java_s: CPU time of JobManager and TaskManager so far.
        python_s: CPU time of the Python workers so far.
        memory_mb: memory of all of them, shared pages counted once.
    """

    time_s: list[float] = field(default_factory=list)
    read: list[float] = field(default_factory=list)
    java_s: list[float] = field(default_factory=list)
    python_s: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """What a run cost.

    Attributes:
        events_per_s: the steady rate.
        startup_s: from the start of the submission to where the steady line begins.
        whole_s: from the start of the submission to the end of the job.
        java_cpu_s: CPU seconds of the JVMs for a million events, in the steady part.
        python_cpu_s: the same of the Python workers.
        memory_mb: the most memory of all processes.
        state_mb: the largest state a checkpoint covered.
        checkpoint_mb: what a checkpoint wrote, on average.
        checkpoint_ms: how long one took, on average.
        checkpoints: how many there were.
        rows: the most rows that a function that does nothing was seen to have counted.
        seen_bytes: the most bytes in which values were remembered.
    """

    events_per_s: float
    startup_s: float
    whole_s: float
    java_cpu_s: float
    python_cpu_s: float
    memory_mb: float
    state_mb: float
    checkpoint_mb: float
    checkpoint_ms: float
    checkpoints: int
    rows: float
    seen_bytes: float


class Meter:
    """Watches one job on a cluster that has no other.

    Args:
        cluster: the cluster.
        began: when the submission began, by `time.monotonic`.
    """

    def __init__(self, cluster: FlinkCluster, began: float) -> None:
        self._cluster, self._began = cluster, began
        self._rest = FlinkRest(f"http://{cluster.address}")
        self.series = Series()
        self._rows = self._seen_bytes = 0.0

    def task_managers(self) -> list[int]:
        """Return the process ids of the cluster's TaskManagers."""
        return self._cluster.task_managers

    def watch(self, job: str, timeout_s: float) -> str:
        """Sample until the job has ended, and return its last state.

        Raises:
            RuntimeError: where it fails on the way, or takes too long.
        """
        deadline = time.monotonic() + timeout_s
        while (state := self._rest.status(job)) not in _ENDED:
            if time.monotonic() > deadline:
                raise RuntimeError(f"the job did not end within {timeout_s:.0f} s")
            if failures := self._rest.failures(job):
                raise RuntimeError(f"the job is restarted: {reason_of(failures[-1].trace)}")
            self._sample()
            time.sleep(_EVERY_S)
        return state

    def measured(self, job: str, messages: int, events_a_message: int) -> Measured:
        """Sum up a job that has ended.

        Args:
            job: its id.
            messages: how many it had to read.
            events_a_message: how many events each has.
        """
        s = self.series
        read, time_s = np.array(s.read), np.array(s.time_s)
        began_s, ended_s = np.interp([FIRST * messages, LAST * messages], read, time_s)
        java_s, python_s = (
            float(np.subtract(*np.interp([ended_s, began_s], time_s, spent)))
            for spent in (s.java_s, s.python_s)
        )
        events = (LAST - FIRST) * messages * events_a_message
        rate = events / (ended_s - began_s)
        return Measured(
            events_per_s=rate,
            startup_s=began_s - FIRST * messages * events_a_message / rate,
            whole_s=time.monotonic() - self._began,
            java_cpu_s=java_s * 1e6 / events,
            python_cpu_s=python_s * 1e6 / events,
            memory_mb=max(s.memory_mb),
            rows=self._rows,
            seen_bytes=self._seen_bytes,
            **_checkpoints(self._cluster.address, job),
        )

    def _sample(self) -> None:
        text = "".join(_text(f"http://localhost:{port}/metrics") for port in self._cluster.metrics_ports)
        now = time.monotonic() - self._began
        s = self.series
        s.time_s.append(now)
        s.read.append(max(_messages(text), s.read[-1] if s.read else 0.0))
        self._rows = max(self._rows, sum(map(float, _ROWS.findall(text))))
        self._seen_bytes = max(self._seen_bytes, sum(map(float, _SEEN_BYTES.findall(text))))
        java, python, memory = processes([self._cluster.job_manager, *self._cluster.task_managers])
        s.java_s.append(java)
        # What an ended worker took goes to its parent's account only once that has noticed.
        s.python_s.append(max(python, s.python_s[-1] if s.python_s else 0.0))
        s.memory_mb.append(memory)


def processes(roots: list[int]) -> tuple[float, float, float]:
    """Return CPU seconds of Java, of all else, and the memory in MB of processes and what they started."""
    java = other = memory = 0.0
    for pid in descendants(roots):
        try:
            head, _, tail = Path(f"/proc/{pid}/stat").read_text().rpartition(")")
        except OSError:
            continue
        seconds = sum(map(int, tail.split()[11:13])) * _TICK_S
        java, other = (java + seconds, other) if head.endswith("(java") else (java, other + seconds)
        memory += _memory(pid)
    return java, other, memory


def descendants(roots: list[int]) -> list[int]:
    """Return processes and all that they, and those in turn, have started."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(path.name))
    found = []
    waiting = list(roots)
    while waiting:
        found.append(waiting.pop())
        waiting += children.get(found[-1], [])
    return found


def _messages(text: str) -> float:
    """Return how many messages were read, of metrics in Prometheus' format.

    A job may read its topic more than once, side by side: what it has read then is the mean.
    """
    counts: dict[str, float] = {}
    for labels, count in _COUNT.findall(text):
        if _SOURCE in labels and (operator := _OPERATOR.search(labels)):
            counts[operator[1]] = counts.get(operator[1], 0.0) + float(count)
    return mean(counts.values()) if counts else 0.0


def _memory(pid: int) -> float:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0.0
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 / _MB if found else 0.0


def _checkpoints(address: str, job: str) -> dict[str, Any]:
    seen = json.loads(_text(f"http://{address}/jobs/{job}/checkpoints"))
    done = [entry for entry in seen["history"] if entry["status"] == "COMPLETED"]
    return {
        "state_mb": max((entry["state_size"] for entry in done), default=0) / _MB,
        "checkpoint_mb": mean([entry["checkpointed_size"] for entry in done] or [0]) / _MB,
        "checkpoint_ms": mean([entry["end_to_end_duration"] for entry in done] or [0]),
        "checkpoints": seen["counts"]["completed"],
    }


def _text(address: str) -> str:
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return answer.read().decode()
    except OSError:
        return ""
