"""What the tests that start a cluster share: parts of recorded streams, a database, a broker, a cluster."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from clusters import cancel_all
from guarded_broker import GuardedBroker, prepare
from kafka import KafkaAdminClient
from processes import Run

from flink_job.machine.ports import free_port
from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster
from flink_job.standalone.distribution import BROKER_JARS

ROOT = Path(__file__).resolve().parents[2]

# What Java's second compiler makes faster comes too late for runs as short as those of tests.
QUICK_JAVA = "-XX:TieredStopAtLevel=1"
os.environ.setdefault("JVM_ARGS", QUICK_JAVA)


@pytest.fixture(scope="session")
def project_root() -> Path:
    """The folder that has pipelines/."""
    return ROOT


@pytest.fixture(scope="session")
def parts_folder() -> Path:
    """The small parts of recorded event streams that come with the project."""
    return ROOT / "tests" / "data"


@pytest.fixture
def database() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database in memory, for the exact answers."""
    with duckdb.connect() as connection:
        yield connection


@pytest.fixture(scope="session")
def broker_jars() -> Path:
    """The jars of the broker; a test that needs them is skipped without them."""
    if not BROKER_JARS.is_dir():
        pytest.skip(f"no broker in {BROKER_JARS}: run `make jars`")
    return BROKER_JARS


@pytest.fixture(scope="session")
def lasting_broker(broker_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    lasting = Broker(tmp_path_factory.mktemp("broker"), free_port())
    yield lasting
    lasting.stop()


@pytest.fixture(scope="module")
def broker(lasting_broker: Broker) -> Broker:
    """A running broker; other files of tests have their topics in it."""
    lasting_broker.start()
    return lasting_broker


@pytest.fixture(scope="module")
def guarded(broker_jars: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GuardedBroker]:
    """A running broker with logins, TLS and permissions."""
    started = GuardedBroker(tmp_path_factory.mktemp("guarded"))
    started.start()
    prepare(started)
    yield started
    started.stop()


@pytest.fixture
def admin(guarded: GuardedBroker) -> Iterator[KafkaAdminClient]:
    """A client that may do everything; a new one each time, as a broker may have restarted in between."""
    client = KafkaAdminClient(bootstrap_servers=guarded.address)
    yield client
    client.close()


@pytest.fixture(scope="session")
def lasting_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FlinkCluster]:
    options = {
        "env.java.opts.jobmanager": QUICK_JAVA,
        "env.java.opts.taskmanager": f"-XX:+UseParallelGC {QUICK_JAVA}",
    }
    lasting = FlinkCluster(
        tmp_path_factory.mktemp("flink"), free_port(), 2, slots=2, settings=options, prometheus=True
    )
    yield lasting
    lasting.stop()


@pytest.fixture(scope="module")
def flink_cluster(lasting_cluster: FlinkCluster) -> Iterator[FlinkCluster]:
    """A running cluster of two TaskManagers with two slots each, which serve their metrics; without jobs."""
    lasting_cluster.start()
    yield lasting_cluster
    cancel_all(lasting_cluster)


@pytest.fixture
def runs() -> Iterator[list[Run]]:
    """The commands that a test starts; what is left of them at its end is killed."""
    started: list[Run] = []
    yield started
    for run in started:
        run.clean_up()
