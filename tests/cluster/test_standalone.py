"""A real broker and a real cluster start, lose processes, get them back, and leave nothing behind."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import linux
import pytest
from clusters import start, workers
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic
from kafka.errors import MessageSizeTooLargeError
from processes import Run, write_pipeline
from waiting import wait_for

from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.ports import free_port
from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster
from flink_job.standalone.daemons import Daemons

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


@pytest.fixture
def own_broker(broker_jars: Path, tmp_path: Path) -> Iterator[Broker]:
    """A broker with a second listener that takes small messages only; it is not started."""
    properties = {
        "listeners": f"SECOND://localhost:{free_port()}",
        "listener.security.protocol.map": "SECOND:PLAINTEXT",
        "message.max.bytes": "2000",
    }
    made = Broker(tmp_path, free_port(), properties)
    yield made
    made.stop()


def read(address: str, topic: str, count: int) -> list[bytes]:
    """All messages of a topic, of which there should be so many."""
    consumer = KafkaConsumer(
        topic, bootstrap_servers=address, auto_offset_reset="earliest", consumer_timeout_ms=20_000
    )
    try:
        found = [record.value for record in islice(consumer, count)]
        more = consumer.poll(timeout_ms=500)
        return [*found, *(record.value for records in more.values() for record in records)]
    finally:
        consumer.close()


def processes_of(folder: Path) -> list[int]:
    """The processes whose command line names a folder."""
    return [pid for pid in linux.processes() if str(folder) in linux.command_line(pid)]


def ask(cluster: FlinkCluster, path: str) -> Any:
    with urllib.request.urlopen(f"http://{cluster.address}{path}", timeout=10) as answer:
        return json.load(answer)


def test_messages_outlive_a_broker_that_is_killed(own_broker: Broker) -> None:
    own_broker.start()
    first = own_broker.pid
    admin = KafkaAdminClient(bootstrap_servers=own_broker.address)
    admin.create_topics([NewTopic("clicks", num_partitions=2, replication_factor=1)])
    admin.close()
    producer = KafkaProducer(bootstrap_servers=own_broker.address)
    for number in range(20):
        producer.send("clicks", str(number).encode(), partition=number % 2).get(20)
    with pytest.raises(MessageSizeTooLargeError):
        producer.send("clicks", b"x" * 3000).get(20)
    producer.close()

    own_broker.kill()
    assert own_broker.pid is None
    own_broker.start()

    assert own_broker.pid not in (None, first)
    expected = sorted(str(number).encode() for number in range(20))
    assert sorted(read(own_broker.address, "clicks", 20)) == expected
    assert sorted(read(second_listener(own_broker), "clicks", 20)) == expected
    assert set(linux.ports([own_broker.pid]).values()) == {True}
    running = processes_of(own_broker.folder)
    assert running == [own_broker.pid]
    own_broker.start()
    assert processes_of(own_broker.folder) == running
    own_broker.stop()
    assert processes_of(own_broker.folder) == []


def second_listener(broker: Broker) -> str:
    """The address of the second listener, as the broker was told it."""
    text = (broker.folder / "server.properties").read_text()
    return re.search(r"^listeners=.*SECOND://(\S+)$", text, re.MULTILINE)[1]


def test_a_task_manager_that_is_killed_is_replaced(flink_cluster: FlinkCluster) -> None:
    first, second = flink_cluster.task_managers
    known = ask(flink_cluster, "/taskmanagers")["taskmanagers"]
    assert [(entry["slotsNumber"], entry["freeSlots"]) for entry in known] == [(2, 2), (2, 2)]
    logs = set(flink_cluster.log_folder.glob("flink-taskmanager-*.log"))

    os.kill(first, signal.SIGKILL)
    wait_for(lambda: flink_cluster.task_managers == [second], "the end of the process", timeout_s=10)
    third = flink_cluster.start_task_manager()

    assert third not in (first, second)
    assert flink_cluster.task_managers == [second, third]
    wait_for(lambda: ask(flink_cluster, "/overview")["taskmanagers"] == 2, "the loss noticed", timeout_s=30)
    assert ask(flink_cluster, "/overview")["slots-total"] == 4
    assert len(set(flink_cluster.log_folder.glob("flink-taskmanager-*.log")) - logs) == 1
    assert all(log.exists() for log in logs)
    assert all(daemon.is_running() for daemon in Daemons(flink_cluster.folder).all())


def test_every_task_manager_serves_its_metrics_and_all_else_is_on_localhost(
    flink_cluster: FlinkCluster,
) -> None:
    ids = {entry["id"] for entry in ask(flink_cluster, "/taskmanagers")["taskmanagers"]}

    told = set()
    for port in flink_cluster.metrics_ports:
        with urllib.request.urlopen(f"http://localhost:{port}/metrics", timeout=10) as answer:
            told |= set(re.findall(r'_Memory_Heap_Used\{.*tm_id="([\w-]+)"', answer.read().decode()))
    assert len(flink_cluster.metrics_ports) == 2
    assert told == ids
    processes = [flink_cluster.job_manager, *flink_cluster.task_managers]
    open_to_all = {port for port, local in linux.ports(processes).items() if not local}
    assert open_to_all == set(flink_cluster.metrics_ports)


def test_while_a_job_runs_six_ports_of_each_python_worker_are_open_to_all_besides(
    runs: list[Run], flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    pipeline = {
        "name": "ports",
        "source": {"type": "simulator", "events": 1_000_000, "rate": 100},
        "event": {"fields": {"ts": "long"}, "time": {"field": "ts", "unit": "ms"}},
        "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1s"}]}],
        "sinks": {
            name: {"type": "file", "path": str(tmp_path / name)} for name in ("results", "late", "rejects")
        },
    }
    write_pipeline(tmp_path, pipeline)
    start(runs, tmp_path, flink_cluster, "--detach")
    servers = [flink_cluster.job_manager, *flink_cluster.task_managers]

    def at_work() -> bool:
        open_to_all = [port for port, local in linux.ports(servers).items() if not local]
        of_workers = sum(len(workers(pid)) for pid in flink_cluster.task_managers)
        return len(open_to_all) == len(flink_cluster.metrics_ports) + 6 * of_workers > 2

    wait_for(at_work, "as many open ports as the documentation says")
    ours = [pid for manager in flink_cluster.task_managers for pid in workers(manager)]
    assert set(linux.ports(ours).values()) <= {True}


def test_a_broker_that_cannot_start_says_why_and_leaves_no_process(broker_jars: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match=r"num\.network\.threads") as caught:
        Broker(tmp_path, free_port(), {"num.network.threads": "0"}).start()
    assert "Value must be at least 1" in caught.value.message

    taken = f"PLAINTEXT2://localhost:{free_port()}"
    added = {"listeners": taken, "listener.security.protocol.map": "PLAINTEXT2:PLAINTEXT"}
    added["authorizer.class.name"] = "no.such.Authorizer"
    with pytest.raises(EnvironmentProblem, match=r"The broker ended while it started; (?s:.*)no\.such"):
        Broker(tmp_path, free_port(), added).start()
    assert processes_of(tmp_path) == []


def test_a_cluster_that_cannot_start_says_why_and_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(EnvironmentProblem, match="The taskmanager-1 ended while it started") as caught:
        FlinkCluster(tmp_path, free_port(), settings={"taskmanager.memory.process.size": "10m"}).start()

    assert "IllegalConfigurationException" in caught.value.message
    assert processes_of(tmp_path) == []


def test_the_commands_start_and_end_everything(broker_jars: Path, tmp_path: Path) -> None:
    def command(*arguments: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "flink_job.standalone", *arguments, "--folder", str(tmp_path)]
        return subprocess.run(words, capture_output=True, text=True, timeout=200)

    ports = ["--port", str(free_port()), "--broker-port", str(free_port()), "--no-prometheus"]
    try:
        begun = command("up", *ports)
        assert begun.returncode == 0, begun.stderr
        running = processes_of(tmp_path)
        assert len(running) == 3
        assert all(str(pid) in begun.stdout for pid in running)
        assert set(linux.ports(running).values()) == {True}
        made = [
            path for part in tmp_path.iterdir() for path in (part, *part.rglob("*")) if not path.is_symlink()
        ]
        assert len(made) > 20 and [path for path in made if path.stat().st_mode & 0o077] == []

        again = command("up", *ports)
        assert (again.returncode, again.stdout) == (0, f"They run already.\n{begun.stdout}")
        elsewhere = command("up", "--broker-port", "1")
        assert (elsewhere.returncode, "runs already" in elsewhere.stderr) == (1, True)
        assert command("status").stdout == begun.stdout
        assert processes_of(tmp_path) == running
    finally:
        ended = command("down")
    assert ended.stdout == "Ended: jobmanager, taskmanager-1, broker.\n"
    assert processes_of(tmp_path) == []
