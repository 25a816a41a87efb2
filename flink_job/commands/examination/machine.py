"""Whether this machine has what every run needs: Python, Java, packages, a port, disk, memory."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from packaging.requirements import Requirement

from flink_job.commands.examination.finding import Finding
from flink_job.machine.environment import EnvironmentProblem, find_java
from flink_job.machine.ports import holder_of, is_free

REST_PORT = 8081
DISTRIBUTION = "sketchstream"
INSTALL = "Run `make setup`, and start the command of the .venv that it makes."

_PYTHONS = ((3, 10), (3, 13))
_GIB = 1024**3
_ENOUGH_DISK, _TOO_LITTLE_DISK = 2 * _GIB, _GIB // 4
_ENOUGH_MEMORY, _ENOUGH_CORES = 4 * _GIB, 2


def check_python(running: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Whether this Python is one that PyFlink and every pinned package have a build for."""
    lowest, beyond = _PYTHONS
    told = ".".join(map(str, running))
    if lowest <= running < beyond:
        return Finding("Python", "ok", told)
    return Finding("Python", "fail", f"{told} runs; 3.10, 3.11 or 3.12 is needed", INSTALL)


def check_java() -> Finding:
    """Whether there is a Java that Flink runs on, and whether it is the one that was asked for."""
    try:
        found = find_java()
    except EnvironmentProblem as problem:
        return Finding("Java", "fail", problem.message, problem.remedy)
    told = f"{found.version} at {found.home} ({found.origin})"
    if found.notes:
        detail = f"{'; '.join(found.notes)}; used instead: {told}"
        return Finding("Java", "warn", detail, "Set JAVA_HOME to a Java 11, 17 or 21, or leave it as it is.")
    return Finding("Java", "ok", told)


def check_packages(pins: Iterable[str] | None = None) -> Finding:
    """Whether every package is installed at the version this project pins.

    Args:
        pins: Requirements such as `numpy==2.1.3`; those of this distribution when left out.
    """
    if pins is None:
        try:
            pins = requires(DISTRIBUTION) or []
        except PackageNotFoundError:
            return Finding("packages", "warn", f"{DISTRIBUTION} is not installed: pins not compared", INSTALL)
    wanted = [requirement for requirement in map(Requirement, pins) if _applies(requirement)]
    faults = [fault for requirement in wanted if (fault := _fault_of(requirement))]
    if faults:
        return Finding("packages", "fail", "; ".join(faults), INSTALL)
    return Finding("packages", "ok", f"{len(wanted)} as pinned")


def check_port(port: int = REST_PORT) -> Finding:
    """Whether Flink's REST interface and web UI can have their port, and who holds it if not."""
    if is_free(port):
        return Finding("web UI port", "ok", f"{port} is free")
    holder = holder_of(port) or "a process of another user or container"
    return Finding("web UI port", "warn", f"{port} is held by {holder}", "Stop it, or use another port.")


def check_disk(folder: Path = Path(".sketchstream")) -> Finding:
    """Whether checkpoints and state can be written where they go, with room to spare.

    Args:
        folder: Where a run keeps them; it need not exist yet.
    """
    there = folder.absolute()
    while not there.exists():
        there = there.parent
    try:
        with tempfile.TemporaryFile(dir=there):
            free = shutil.disk_usage(there).free
    except OSError as error:
        detail = f"cannot write in {there}: {error.strerror}"
        return Finding("disk", "fail", detail, "Start from a folder of your own.")
    told = f"{free / _GIB:.1f} GiB free in {there}"
    if free < _TOO_LITTLE_DISK:
        return Finding("disk", "fail", told, "Free some space: state and checkpoints need at least 0.25 GiB.")
    if free < _ENOUGH_DISK:
        return Finding("disk", "warn", told, "Free some space: long runs may need 2 GiB.")
    return Finding("disk", "ok", told)


def check_machine(cores: int | None = None, memory: int | None = None) -> Finding:
    """Whether there are cores and memory enough for a JVM and its Python workers.

    Args:
        cores: Cores this process may use; counted when left out.
        memory: Bytes it may use; asked of the system when left out.
    """
    cores = _usable_cores() if cores is None else cores
    memory = _usable_memory() if memory is None else memory
    told = f"cores: {cores}, memory: {memory / _GIB:.1f} GiB"
    if cores < _ENOUGH_CORES or memory < _ENOUGH_MEMORY:
        return Finding(
            "machine", "warn", told, "It runs, but slowly: 2 cores and 4 GiB are the least to enjoy it."
        )
    return Finding("machine", "ok", told)


def _applies(requirement: Requirement) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({"extra": ""})


def _fault_of(requirement: Requirement) -> str:
    try:
        installed = version(requirement.name)
    except PackageNotFoundError:
        return f"{requirement.name} is not installed, {requirement.specifier} is pinned"
    if not requirement.specifier.contains(installed, prereleases=True):
        return f"{requirement.name} is {installed}, {requirement.specifier} is pinned"
    return ""


def _usable_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _usable_memory() -> int:
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit = Path("/sys/fs/cgroup/memory.max")  # of the container, where there is one
    told = limit.read_text().strip() if limit.is_file() else "max"
    return physical if told == "max" else min(physical, int(told))
