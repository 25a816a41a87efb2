"""A real Flink cluster on this machine: one JobManager, any number of TaskManagers, each its own process."""

from __future__ import annotations

import json
import shutil
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

from flink_job.machine.flink import flink_home
from flink_job.machine.ports import free_port
from flink_job.standalone.configuration import (
    cluster_settings,
    read_configuration,
    write_configuration,
)
from flink_job.standalone.daemons import Daemon, Daemons, expect_free, expect_same_address
from flink_job.standalone.distribution import java_environment, link_flink_jars

_JOB_MANAGER, _TASK_MANAGER = "jobmanager", "taskmanager"
_START_S = 120.0
_REPORTER = "metrics.reporter.prom."
_PROMETHEUS = "org.apache.flink.metrics.prometheus.PrometheusReporterFactory"


class FlinkCluster:
    """A session cluster that takes jobs at its REST interface; everything but metrics is on localhost only.

    Whoever has the same folder speaks of the same cluster, also in another process.

    Args:
        folder: its configuration, logs and temporary files.
        rest_port: the port of the REST interface and web UI, on localhost.
        task_managers: how many to start with, 0 or more.
        slots: how many tasks each can run side by side, 1 or more.
        settings: Flink's settings, in place of those here. They count when the JobManager is started.
        prometheus: whether each TaskManager serves its metrics at `http://localhost:PORT/metrics`. Flink's
            reporter cannot be told to keep to localhost: who reaches this machine can read them.
    """

    def __init__(
        self,
        folder: Path,
        rest_port: int,
        task_managers: int = 1,
        slots: int = 2,
        settings: Mapping[str, str] = MappingProxyType({}),
        prometheus: bool = False,
    ) -> None:
        self.folder, self._rest_port = folder.absolute(), rest_port
        self._wanted, self._slots = task_managers, slots
        self._settings, self._prometheus = dict(settings), prometheus
        self._daemons = Daemons(self.folder)

    @property
    def address(self) -> str:
        """Where the REST interface is, as `localhost:PORT`."""
        return f"localhost:{self._rest_port}"

    @property
    def log_folder(self) -> Path:
        """The folder of the logs, begun anew when the cluster is started."""
        return self.folder / "logs"

    @property
    def job_manager(self) -> int | None:
        """The process id of the JobManager; None where it does not run."""
        running = self._daemons.running(_JOB_MANAGER)
        return running[0].pid if running else None

    @property
    def task_managers(self) -> list[int]:
        """The process ids of the living TaskManagers, in the order of their start."""
        return [daemon.pid for daemon in self._daemons.running(_TASK_MANAGER)]

    @property
    def metrics_ports(self) -> list[int]:
        """The port of the metrics of each of `task_managers`; none where they are not served."""
        ports = (urlsplit(daemon.address).port for daemon in self._daemons.running(_TASK_MANAGER))
        return [port for port in ports if port]

    def start(self) -> None:
        """Start what of the cluster does not run, and wait until all TaskManagers offer their slots.

        Raises:
            EnvironmentProblem: where Flink or Java are missing, the port is taken, the cluster of this folder
                runs at another port, or it does not come up.
        """
        started: list[Daemon] = []
        try:
            if not self.job_manager:
                started.append(self._start_job_manager())
            for daemon in self._daemons.running(_JOB_MANAGER):
                expect_same_address(daemon, f"http://{self.address}")
            for _ in range(self._wanted - len(self.task_managers)):
                started.append(self._launch_task_manager())
            if started:
                self._await(started)
        except BaseException:
            self._daemons.end(started, grace_s=0)
            raise

    def start_task_manager(self) -> int:
        """Start one more TaskManager, wait until it offers its slots, and return its process id.

        It takes the place of one that was killed, whose Python workers are ended.

        Raises:
            EnvironmentProblem: where it does not come up.
        """
        started = self._launch_task_manager()
        try:
            self._await([started])
        except BaseException:
            self._daemons.end([started], grace_s=0)
            raise
        return started.pid

    def stop(self) -> list[Daemon]:
        """End the cluster, its jobs and all Python workers, also those of a killed TaskManager.

        Returns:
            What was ended.
        """
        return self._daemons.end()

    def _start_job_manager(self) -> Daemon:
        self._daemons.end()
        expect_free(self._rest_port, "REST interface of Flink")
        for leftovers in ("lib", "logs", "pids", "tmp"):
            shutil.rmtree(self.folder / leftovers, ignore_errors=True)
        for needed in (self.log_folder, self.folder / "tmp"):
            needed.mkdir(parents=True)
        link_flink_jars(self.folder / "lib")
        settings = cluster_settings(self.folder / "tmp", self._rest_port, self._slots)
        write_configuration(self.folder / "conf", settings | self._settings)
        return self._launch(_JOB_MANAGER, "standalonesession", [], f"http://{self.address}")

    def _launch_task_manager(self) -> Daemon:
        # Numbers of killed ones are not used again: their logs stay.
        noted = [daemon for daemon in self._daemons.all() if daemon.name.startswith(_TASK_MANAGER)]
        numbers = [int(daemon.name.rpartition("-")[2]) for daemon in noted]
        name = f"{_TASK_MANAGER}-{max(numbers, default=0) + 1}"
        options, address = {"taskmanager.resource-id": name}, ""
        if self._prometheus:
            # Here and not in the file, which the JobManager reads too: it would serve a fixed port.
            port = free_port()
            options |= {_REPORTER + "factory.class": _PROMETHEUS, _REPORTER + "port": str(port)}
            # Values of labels, such as a metric's name, as they are.
            options[_REPORTER + "filterLabelValueCharacters"] = "false"
            address = f"http://localhost:{port}/metrics"
        arguments = [word for key, value in options.items() for word in ("-D", f"{key}={value}")]
        return self._launch(name, "taskexecutor", arguments, address)

    def _launch(self, name: str, service: str, arguments: list[str], address: str) -> Daemon:
        environment = {
            **java_environment(),
            "FLINK_CONF_DIR": str(self.folder / "conf"),
            "FLINK_LIB_DIR": str(self.folder / "lib"),
            "FLINK_LOG_DIR": str(self.log_folder),
            "FLINK_PID_DIR": str(self.folder / "pids"),
            # Of these two the scripts make the name of the log.
            "FLINK_IDENT_STRING": name,
            "HOSTNAME": "localhost",
        }
        script = flink_home() / "bin" / f"{name.partition('-')[0]}.sh"
        # In the foreground the script becomes the server, so that its process id is the server's.
        command = ["bash", script, "start-foreground", *arguments]
        log = self.log_folder / f"flink-{name}-{service}-0-localhost.log"
        return self._daemons.launch(name, command, environment, address, log)

    def _await(self, started: list[Daemon]) -> None:
        """Wait until those of them that are TaskManagers offer their slots, and the JobManager answers.

        When as many run as are wanted, those that are gone have been replaced, and what they left is ended.
        """
        wanted = {daemon.name for daemon in started if daemon.name.startswith(_TASK_MANAGER)}
        slots = int(read_configuration(self.folder / "conf")["taskmanager.numberOfTaskSlots"])

        def ready() -> bool:
            known = self._registered(slots)
            return known is not None and wanted <= known

        self._daemons.await_answer(ready, started, _START_S)
        if len(self.task_managers) >= self._wanted:
            self._daemons.end([daemon for daemon in self._daemons.all() if not daemon.is_running()])

    def _registered(self, slots: int) -> set[str] | None:
        """Return the TaskManagers that have registered all slots; None where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.address}/taskmanagers", timeout=5) as answer:
                known = json.load(answer)["taskmanagers"]
        except (OSError, ValueError):
            return None
        return {entry["id"] for entry in known if entry["slotsNumber"] == slots}
