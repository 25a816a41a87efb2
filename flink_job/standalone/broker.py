"""A real Kafka broker on this machine: one process, broker and controller in one (KRaft)."""

from __future__ import annotations

import base64
import socket
import subprocess
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.flink import LOG4J_PROPERTIES
from flink_job.machine.ports import free_port
from flink_job.standalone.daemons import Daemon, Daemons, expect_free, expect_same_address
from flink_job.standalone.distribution import BROKER_JARS, broker_class_path, java_environment

_NAME = "broker"
_START_S = 60.0
_PROBE_MS = 2000
_HEAP = "512m"
# What is given for these is added to what they are here, with a comma between.
_LISTS = ("listeners", "listener.security.protocol.map")
_DEFAULTS = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
    # A misspelt topic is an error, not a new topic.
    "auto.create.topics.enable": "false",
    "num.partitions": "1",
    "offsets.topic.replication.factor": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    # Fifty each by default: that many folders to open at every start.
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    # Retention goes by the records' own timestamps: recorded events of years ago would be gone in minutes.
    "log.retention.ms": "-1",
}


def server_properties(
    data: Path, port: int, controller_port: int, added: Mapping[str, str]
) -> dict[str, str]:
    """Return what is written to `server.properties`.

    Args:
        data: the folder of the data.
        port: of the listener PLAINTEXT on localhost.
        controller_port: of the controller on localhost; it may be another one at every start.
        added: as `properties` of `Broker`.
    """
    controller = f"localhost:{controller_port}"
    properties = {
        **_DEFAULTS,
        "listeners": f"PLAINTEXT://localhost:{port},CONTROLLER://{controller}",
        "controller.quorum.voters": f"1@{controller}",
        "log.dirs": str(data),
    }
    return properties | {
        key: f"{properties[key]},{value}" if key in _LISTS else value for key, value in added.items()
    }


class Broker:
    """A broker that keeps its data in a folder, and goes on with it when started there again.

    Whoever has the same folder speaks of the same broker, also in another process.

    Args:
        folder: its data, its configuration and its log.
        port: of its listener PLAINTEXT on localhost.
        properties: added to `server.properties`, in place of the defaults here. What is given for `listeners`
            and `listener.security.protocol.map` comes on top: `SASL://localhost:9094` is a second listener.
    """

    def __init__(self, folder: Path, port: int, properties: Mapping[str, str] = MappingProxyType({})) -> None:
        self.folder, self._port, self._properties = folder.absolute(), port, dict(properties)
        self._daemons = Daemons(self.folder)

    @property
    def address(self) -> str:
        """Where clients find it, as `localhost:PORT`."""
        return f"localhost:{self._port}"

    @property
    def pid(self) -> int | None:
        """Its process id; None where it does not run."""
        running = self._daemons.running()
        return running[0].pid if running else None

    @property
    def log(self) -> Path:
        """Its log, begun anew at every start."""
        return self.folder / "broker.log"

    def start(self) -> None:
        """Start it unless it runs, and wait until clients can work with it (some seconds).

        Raises:
            EnvironmentProblem: where jars or Java are missing, the port is taken, the broker of this folder
                runs at another port, or it does not come up.
        """
        for daemon in self._daemons.running():
            expect_same_address(daemon, self.address)
            self._daemons.await_answer(self._answers, [daemon], _START_S)
            return
        class_path, environment = broker_class_path(BROKER_JARS), java_environment()
        expect_free(self._port, "broker")
        configuration = self._write_configuration()
        self.log.unlink(missing_ok=True)
        java = [f"{environment['JAVA_HOME']}/bin/java", f"-Xmx{_HEAP}", f"-Dlog.file={self.log}"]
        java += [f"-Dlog4j2.configurationFile={LOG4J_PROPERTIES}", "-cp", class_path]
        if not (self.folder / "data" / "meta.properties").is_file():
            self._format([*java, "kafka.tools.StorageTool"], environment, configuration)
        daemon = self._daemons.launch(
            _NAME, [*java, "kafka.Kafka", configuration], environment, self.address, self.log
        )
        try:
            self._daemons.await_answer(self._answers, [daemon], _START_S)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> list[Daemon]:
        """End it so that its data are whole; its folder stays. Returns what was ended."""
        return self._daemons.end()

    def kill(self) -> None:
        """End it at once, as `kill -9` or a power cut does."""
        self._daemons.end(grace_s=0)

    def _write_configuration(self) -> Path:
        properties = server_properties(self.folder / "data", self._port, free_port(), self._properties)
        self.folder.mkdir(parents=True, exist_ok=True)
        file = self.folder / "server.properties"
        # It may have passwords of test users.
        file.touch(mode=0o600)
        file.write_text("".join(f"{key}={value}\n" for key, value in properties.items()), encoding="utf-8")
        return file

    def _format(self, tool: list[str], environment: Mapping[str, str], configuration: Path) -> None:
        # Kafka's own form of an id; the letter keeps it from being read as an option.
        cluster = "s" + base64.urlsafe_b64encode(uuid.uuid4().bytes).decode()[1:22]
        command = [*tool, "format", "--cluster-id", cluster, "--config", str(configuration)]
        ran = subprocess.run(command, cwd=self.folder, env=environment, capture_output=True, text=True)
        if ran.returncode:
            raise EnvironmentProblem(
                f"Kafka could not prepare {self.folder / 'data'}: {(ran.stderr or ran.stdout).strip()}",
                f"Put right what it says there, or what was added to {configuration}.",
            )

    def _answers(self) -> bool:
        # The client would log a refused connection as an error, time and again.
        try:
            socket.create_connection(("localhost", self._port), timeout=1).close()
        except OSError:
            return False
        from kafka import KafkaAdminClient
        from kafka.errors import KafkaError

        try:
            client = KafkaAdminClient(
                bootstrap_servers=self.address,
                bootstrap_timeout_ms=_PROBE_MS,
                request_timeout_ms=_PROBE_MS,
            )
        except KafkaError:
            return False
        try:
            # Listed only once it has joined its own cluster: before that, topics cannot be made.
            return bool(client.describe_cluster()["brokers"])
        except KafkaError:
            return False
        finally:
            client.close()
