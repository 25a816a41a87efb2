"""The stage: one broker that stays, and a fresh cluster for every run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from bench.e2e.meter import FILTER
from flink_job.cluster.code_archive import write_code_archive
from flink_job.connector import connector_jar
from flink_job.machine.flink import flink_home
from flink_job.machine.ports import free_port
from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster
from flink_job.standalone.distribution import java_environment

PARALLELISM = 2
SETTINGS = {
    "metrics.reporter.prom.filter.includes": FILTER,
    "execution.checkpointing.interval": "5 s",
    "execution.checkpointing.incremental": "true",
    "parallelism.default": str(PARALLELISM),
}
_BENCH = Path(__file__).resolve().parents[1]
_JOB_ID = re.compile(r"Job has been submitted with JobID ([0-9a-f]{32})")
_SUBMISSION_S = 180


@dataclass(frozen=True)
class Stage:
    """Where a run happens.

    Attributes:
        broker: the broker.
        folder: where clusters keep their things.
        cluster_settings: Flink's settings besides those of the benchmark.
    """

    broker: Broker
    folder: Path
    cluster_settings: Mapping[str, str] = field(default_factory=dict)


@contextmanager
def running_broker(folder: Path) -> Iterator[Broker]:
    """Run a broker."""
    broker = Broker(folder / "broker", free_port())
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@contextmanager
def fresh_cluster(
    folder: Path, settings: Mapping[str, str] = MappingProxyType({}), slots: int = PARALLELISM
) -> Iterator[FlinkCluster]:
    """Run a cluster of one TaskManager.

    Args:
        folder: its folder.
        settings: Flink's settings besides those of the benchmark.
        slots: how many parallel parts of jobs there is room for.
    """
    checkpoints = {"execution.checkpointing.dir": (folder / "checkpoints").as_uri()}
    cluster = FlinkCluster(
        folder, free_port(), slots=slots, settings=SETTINGS | checkpoints | settings, prometheus=True
    )
    cluster.start()
    try:
        yield cluster
    finally:
        cluster.stop()


def submit_module(cluster: FlinkCluster, module: str, arguments: Sequence[str], folder: Path) -> str:
    """Submit one of the benchmark's own jobs as the product is submitted, and return its id.

    Args:
        cluster: where to.
        module: the job's entry.
        arguments: for it.
        folder: where the archive of its code is written.
    """
    code = folder / "bench.zip"
    write_code_archive(code)
    with zipfile.ZipFile(code, "a", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(_BENCH.rglob("*.py")):
            archive.write(path, path.relative_to(_BENCH.parent))
        archive.writestr("bench/__init__.py", "")
    command = [str(flink_home() / "bin" / "flink"), "run", "--detached", "-m", cluster.address]
    command += ["--jarfile", str(connector_jar()), "-pyclientexec", sys.executable, "-pyfs", str(code)]
    command += [f"-Dpython.executable={sys.executable}", "-pym", module, *arguments]
    environment = java_environment() | {"FLINK_LOG_DIR": str(folder), "PATH": os.environ["PATH"]}
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=_SUBMISSION_S)
    found = _JOB_ID.search(ran.stdout)
    if found is None:
        raise RuntimeError(f"{module} was not taken: {ran.stdout[-2000:]} {ran.stderr[-2000:]}")
    return found[1]
