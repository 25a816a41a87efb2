"""What may be wrong with this machine, one independent check each, with the remedy beside every fault."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal

from packaging.requirements import Requirement
from rich.table import Table

from flink_job.embedded.environment import EnvironmentProblem, find_java
from flink_job.embedded.ports import holder_of, is_free

REST_PORT = 8081
DISTRIBUTION = "sketchstream"
PROJECT = Path(__file__).resolve().parents[2]
JAR_CHECKSUMS = {
    "flink-sql-connector-kafka-5.0.0-2.2.jar": (
        "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616"
    ),
}

_PYTHONS = ((3, 10), (3, 13))
_FLINK_JARS = ("flink-dist", "flink-table-api-java-uber", "flink-table-planner-loader", "flink-table-runtime")
_GIB = 1024**3
_ENOUGH_DISK, _TOO_LITTLE_DISK = 2 * _GIB, _GIB // 4
_ENOUGH_MEMORY, _ENOUGH_CORES = 4 * _GIB, 2
_INSTALL = "Run `make setup`, and start the command of the .venv that it makes."
_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}

Status = Literal["ok", "warn", "fail"]


@dataclass(frozen=True)
class Finding:
    """The outcome of one check.

    Args:
        name: What was checked.
        status: `ok`; `warn` where some uses are hampered; `fail` where nothing can run.
        detail: What was found.
        remedy: The step that puts it right; empty when all is well.
    """

    name: str
    status: Status
    detail: str
    remedy: str = ""


def examine() -> list[Finding]:
    """Every check of this machine, in a fixed order; a check that breaks is itself a failed finding.

    Returns:
        One finding per check.
    """
    checks: dict[str, Callable[[], Finding]] = {
        "Python": check_python,
        "Java": check_java,
        "packages": check_packages,
        "Flink": check_flink,
        "connector": check_connector,
        "web UI port": check_port,
        "disk": check_disk,
        "machine": check_machine,
    }
    return [_guarded(name, check) for name, check in checks.items()]


def render(findings: Sequence[Finding]) -> Table:
    """The findings as a table for the terminal, each remedy under its fault."""
    table = Table("", "checked", "found", box=None, pad_edge=False)
    for finding in findings:
        colour = _COLOURS[finding.status]
        # Text of ours and of the system alike may hold brackets, which rich would read as markup.
        found = finding.detail if not finding.remedy else f"{finding.detail}\n-> {finding.remedy}"
        table.add_row(f"[{colour}]{finding.status}[/]", finding.name, found.replace("[", r"\["))
    return table


def as_json(findings: Sequence[Finding]) -> str:
    """The findings as a JSON array of objects with name, status, detail and remedy."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)


def check_python(running: tuple[int, int] = sys.version_info[:2]) -> Finding:
    """Whether this Python is one that PyFlink and every pinned package have a build for."""
    lowest, beyond = _PYTHONS
    told = ".".join(map(str, running))
    if lowest <= running < beyond:
        return Finding("Python", "ok", told)
    return Finding("Python", "fail", f"{told} runs; 3.10, 3.11 or 3.12 is needed", _INSTALL)


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
            return Finding(
                "packages", "warn", f"{DISTRIBUTION} is not installed: pins not compared", _INSTALL
            )
    wanted = [requirement for requirement in map(Requirement, pins) if _applies(requirement)]
    faults = [fault for requirement in wanted if (fault := _fault_of(requirement))]
    if faults:
        return Finding("packages", "fail", "; ".join(faults), _INSTALL)
    return Finding("packages", "ok", f"{len(wanted)} as pinned")


def check_flink(library: Path | None = None) -> Finding:
    """Whether PyFlink brought Flink's own jars, in its own version.

    Args:
        library: The folder of the jars; PyFlink's own when left out.
    """
    if library is None:
        package = importlib.util.find_spec("pyflink")
        if package is None or package.origin is None:
            return Finding("Flink", "fail", "apache-flink is not installed", _INSTALL)
        library = Path(package.origin).parent / "lib"
    missing = [jar for jar in _FLINK_JARS if not list(library.glob(f"{jar}-[0-9]*.jar"))]
    if missing:
        return Finding("Flink", "fail", f"{', '.join(missing)} missing in {library}", _INSTALL)
    return Finding("Flink", "ok", f"{version('apache-flink')}, jars in {library}")


def check_connector(folder: Path = PROJECT / ".jars") -> Finding:
    """Whether the connector jars are there with the pinned content; only Kafka needs them.

    Args:
        folder: Where `make jars` puts them.
    """
    remedy = f"Remove {folder} and run `make jars`."
    for name, pinned in JAR_CHECKSUMS.items():
        jar = folder / name
        if not jar.is_file():
            return Finding(
                "connector", "warn", f"no {name}; only Kafka needs it", "Run `make jars` if you want it."
            )
        found = hashlib.sha256(jar.read_bytes()).hexdigest()
        if found != pinned:
            detail = f"{name} has sha256 {found[:12]}..., pinned is {pinned[:12]}..."
            return Finding("connector", "fail", detail, remedy)
    return Finding("connector", "ok", ", ".join(JAR_CHECKSUMS))


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


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    # A doctor that falls over tells the user nothing about the seven other checks.
    try:
        return check()
    except Exception as error:
        detail = f"the check itself broke: {type(error).__name__}: {error}"
        return Finding(name, "fail", detail, "Report this as a bug, with this line.")


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
