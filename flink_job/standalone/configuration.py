"""The configuration that Flink's own scripts read for a cluster on this machine."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from flink_job.machine.flink import LOG4J_PROPERTIES, flink_home
from flink_job.machine.ports import free_port
from flink_job.rest_guard.settings import guarded_rest

CONFIGURATION_FILE = "config.yaml"
# Of servers in the foreground, and of `flink run`.
_LOGGING_FILES = ("log4j-console.properties", "log4j-cli.properties")
_LOCALHOST = (
    "jobmanager.rpc.address",
    "jobmanager.bind-host",
    "taskmanager.host",
    "taskmanager.bind-host",
    "rest.address",
    "rest.bind-address",
)


def cluster_settings(temporary: Path, rest_port: int, slots: int) -> dict[str, Any]:
    """Return the settings of a cluster: what Flink comes with, and what is special here.

    Args:
        temporary: the folder for what lives as long as the cluster.
        rest_port: the port of its REST interface and web UI, on localhost.
        slots: how many tasks a TaskManager can run side by side.
    """
    # Flink's file has what this version needs of Java, such as the packages to open.
    shipped = yaml.safe_load((flink_home() / "conf" / CONFIGURATION_FILE).read_text(encoding="utf-8"))
    settings = _flattened(shipped)
    if " " not in str(temporary):  # Flink's scripts split these at blanks
        settings["env.java.opts.all"] += f" -Djava.io.tmpdir={temporary}"
    return {
        **settings,
        **dict.fromkeys(_LOCALHOST, "localhost"),
        "jobmanager.rpc.port": free_port(),
        "rest.port": rest_port,
        "rest.bind-port": rest_port,
        **guarded_rest(rest_port, submission=True),
        "taskmanager.numberOfTaskSlots": slots,
        "jobmanager.memory.process.size": "1g",
        "taskmanager.memory.process.size": "2g",
        # State is not in Java's heap: what is there is small and short-lived.
        "env.java.opts.taskmanager": "-XX:+UseParallelGC",
        "state.backend.type": "rocksdb",
        "io.tmp.dirs": str(temporary),
        # A TaskManager that is gone is noticed in 10 s, not in 50.
        "heartbeat.interval": "2 s",
        "heartbeat.timeout": "10 s",
        "metrics.fetcher.update-interval": 1000,
        "python.executable": sys.executable,
        "python.client.executable": sys.executable,
    }


def write_configuration(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write the folder that Flink's scripts take for their `conf`.

    Args:
        folder: where; it is made if it is not there.
        settings: Flink's settings by their full names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / CONFIGURATION_FILE
    # Lines are not folded: Flink's scripts read the file line by line.
    text = yaml.safe_dump(dict(settings), width=float("inf"))
    # It may have the secrets of a file system.
    file.touch(mode=0o600)
    file.write_text(text, encoding="utf-8")
    for name in _LOGGING_FILES:
        # Without the mode of the original, which others may read.
        shutil.copyfile(LOG4J_PROPERTIES, folder / name)


def read_configuration(folder: Path) -> dict[str, Any]:
    """Return the settings that `write_configuration` wrote."""
    return yaml.safe_load((folder / CONFIGURATION_FILE).read_text(encoding="utf-8"))


def _flattened(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    leaves: dict[str, Any] = {}
    for key, value in tree.items():
        name = f"{prefix}{key}"
        leaves |= _flattened(value, f"{name}.") if isinstance(value, Mapping) else {name: value}
    return leaves
