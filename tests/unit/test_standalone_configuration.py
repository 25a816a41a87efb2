"""What the broker and the cluster are configured to, and what is said where their programs are missing."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.flink import flink_home
from flink_job.machine.ports import free_port
from flink_job.standalone import broker as broker_module
from flink_job.standalone.broker import Broker, server_properties
from flink_job.standalone.cluster import FlinkCluster
from flink_job.standalone.configuration import (
    cluster_settings,
    read_configuration,
    write_configuration,
)
from flink_job.standalone.distribution import broker_class_path, java_environment

JARS = ("kafka_2.13-4.1.0.jar", "kafka-clients-4.1.0.jar", "kafka-server-4.1.0.jar", "kafka-tools-4.1.0.jar")
DUMPS_ENVIRONMENT = "org.apache.beam.runners.fnexecution.control.DefaultJobBundleFactory"


def fake_jars(folder: Path, *names: str) -> Path:
    folder.mkdir()
    # Its name begins as that of a needed one, but it is another.
    for name in (*names, "kafka-server-common-4.1.0.jar", "kafka-tools-api-4.1.0.jar"):
        (folder / name).touch()
    return folder


def test_missing_jars_are_named_with_what_to_do(tmp_path: Path) -> None:
    jars = fake_jars(tmp_path / "jars", *JARS[:2])

    with pytest.raises(EnvironmentProblem) as caught:
        broker_class_path(jars)

    assert caught.value.message == f"The broker lacks kafka-server-*.jar, kafka-tools-*.jar in {jars}."
    assert caught.value.remedy == "Run `make jars`."


def test_jars_of_two_versions_are_refused(tmp_path: Path) -> None:
    jars = fake_jars(tmp_path / "jars", *JARS, "kafka-clients-3.9.1.jar")

    with pytest.raises(EnvironmentProblem, match=r"several versions: 3\.9\.1, 4\.1\.0\."):
        broker_class_path(jars)


def test_the_log_of_the_broker_is_written_by_one_version_of_log4j_that_comes_first(tmp_path: Path) -> None:
    *logging, rest = broker_class_path(fake_jars(tmp_path / "jars", *JARS)).split(os.pathsep)

    assert rest == f"{tmp_path}/jars/*"
    assert [Path(jar).name.rpartition("-")[0] for jar in logging] == [
        "log4j-api",
        "log4j-core",
        "log4j-slf4j-impl",
    ]
    assert len({Path(jar).stem.rpartition("-")[2] for jar in logging}) == 1
    assert all(Path(jar).is_file() for jar in logging)


def test_a_broker_without_jars_or_port_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "BROKER_JARS", tmp_path / "nowhere")
    with pytest.raises(EnvironmentProblem, match="make jars"):
        Broker(tmp_path / "broker", free_port()).start()

    monkeypatch.setattr(broker_module, "BROKER_JARS", fake_jars(tmp_path / "jars", *JARS))
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(EnvironmentProblem, match=rf"\(pid {os.getpid()}\)"):
            Broker(tmp_path / "broker", server.getsockname()[1]).start()
    assert not (tmp_path / "broker").exists()


def test_a_cluster_whose_port_is_taken_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with pytest.raises(EnvironmentProblem, match=rf"REST interface of Flink .*\(pid {os.getpid()}\)"):
            FlinkCluster(tmp_path / "flink", server.getsockname()[1]).start()
    assert not (tmp_path / "flink").exists()


def test_nothing_runs_in_a_folder_where_nothing_was_started(tmp_path: Path) -> None:
    cluster, broker = FlinkCluster(tmp_path, 8081), Broker(tmp_path, 9092)

    assert (cluster.task_managers, cluster.metrics_ports, cluster.job_manager) == ([], [], None)
    assert (broker.pid, broker.stop(), cluster.stop()) == (None, [], [])
    assert (cluster.address, broker.address) == ("localhost:8081", "localhost:9092")
    assert list(tmp_path.iterdir()) == []


def test_every_listener_of_the_broker_is_on_localhost() -> None:
    properties = server_properties(Path("/data"), 9092, 9093, {})

    assert properties["listeners"] == "PLAINTEXT://localhost:9092,CONTROLLER://localhost:9093"
    assert properties["controller.quorum.voters"] == "1@localhost:9093"
    assert properties["log.dirs"] == "/data"
    assert properties["auto.create.topics.enable"] == "false"


def test_listeners_are_added_and_other_properties_replace_the_defaults() -> None:
    added = {
        "listeners": "SASL://localhost:9094",
        "listener.security.protocol.map": "SASL:SASL_PLAINTEXT",
        "message.max.bytes": "2000",
        "num.partitions": "3",
    }

    properties = server_properties(Path("/data"), 9092, 9093, added)

    assert properties["listeners"].split(",") == [
        "PLAINTEXT://localhost:9092",
        "CONTROLLER://localhost:9093",
        "SASL://localhost:9094",
    ]
    assert set(properties["listener.security.protocol.map"].split(",")) == {
        "PLAINTEXT:PLAINTEXT",
        "CONTROLLER:PLAINTEXT",
        "SASL:SASL_PLAINTEXT",
    }
    assert (properties["message.max.bytes"], properties["num.partitions"]) == ("2000", "3")


def test_the_cluster_keeps_to_localhost_and_to_flinks_own_java_options(tmp_path: Path) -> None:
    settings = cluster_settings(tmp_path, 8081, 3)
    shipped = yaml.safe_load((flink_home() / "conf" / "config.yaml").read_text())

    hosts = {key: value for key, value in settings.items() if key.endswith(("host", "address"))}
    assert len(hosts) == 6 and set(hosts.values()) == {"localhost"}
    own = shipped["env"]["java"]["opts"]["all"]
    assert settings["env.java.opts.all"] == f"{own} -Djava.io.tmpdir={tmp_path}"
    assert cluster_settings(tmp_path / "a b", 8081, 3)["env.java.opts.all"] == own
    assert (settings["rest.port"], settings["rest.bind-port"]) == (8081, 8081)
    assert settings["taskmanager.numberOfTaskSlots"] == 3
    assert settings["python.executable"] == settings["python.client.executable"] == sys.executable
    assert settings["io.tmp.dirs"] == str(tmp_path)


def test_the_configuration_has_one_line_for_each_setting_and_is_for_its_owner_only(tmp_path: Path) -> None:
    settings = cluster_settings(tmp_path / "tmp", 8081, 2) | {"a.key": "a value: with signs # of YAML"}

    write_configuration(tmp_path / "conf", settings)

    file = tmp_path / "conf" / "config.yaml"
    assert read_configuration(tmp_path / "conf") == settings
    assert len(file.read_text().splitlines()) == len(settings)
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("program", ["console", "cli"])
def test_the_log_leaves_out_what_writes_the_environment_of_workers(tmp_path: Path, program: str) -> None:
    write_configuration(tmp_path, {})

    lines = (tmp_path / f"log4j-{program}.properties").read_text().replace(" ", "").splitlines()
    names = {line.partition("=")[0]: line.partition("=")[2] for line in lines if "=" in line}
    logger = next(key.removesuffix(".name") for key, value in names.items() if value == DUMPS_ENVIRONMENT)
    assert names[f"{logger}.level"] == "OFF"
    assert names["appender.file.fileName"] == "${sys:log.file}"


def test_servers_inherit_no_python_path_nor_another_flink(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "PYTHONPATH",
        "FLINK_CONF_DIR",
        "JVM_ARGS",
        "SKETCHSTREAM_RUN",
        "_python_worker_execution_mode",
    ):
        monkeypatch.setenv(name, "of the caller")
    monkeypatch.setenv("AWS_REGION", "eu-central-1")

    environment = java_environment()

    assert "of the caller" not in environment.values()
    assert environment["AWS_REGION"] == "eu-central-1"
    assert (Path(environment["JAVA_HOME"]) / "bin" / "java").is_file()


def test_pyflink_is_found_without_being_imported() -> None:
    code = (
        "import sys; import flink_job.standalone.__main__; "
        "from flink_job.machine.flink import flink_home; "
        "print((flink_home() / 'bin' / 'taskmanager.sh').is_file(), 'pyflink' in sys.modules)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert told.split() == ["True", "False"]
