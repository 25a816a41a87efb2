"""What `doctor` says of a pipeline's brokers and topics, of a cluster, and of jars that must go together."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from flink_job.cli import main
from flink_job.commands.examination import jars, kafka
from flink_job.commands.examination.cluster import check_cluster
from flink_job.commands.examination.finding import Finding
from flink_job.commands.examination.kafka import check_kafka
from flink_job.kafka_clients.problem import BrokerProblem, KafkaProblem, TopicProblem
from flink_job.machine.ports import free_port
from flink_job.pipeline.spec import Pipeline

OURS = version("apache-flink")
PYFLINK_JAR = f"flink-python-{OURS}.jar"
FREE = {"flink-version": OURS, "taskmanagers": 2, "slots-total": 4, "slots-available": 3}
LOGIN = {"security.protocol": "SASL_SSL", "client.id": "shop"}
PLAN = {
    "name": "shop",
    "event": {"fields": {"user": "string", "ts": "long"}, "time": {"field": "ts", "unit": "ms"}},
    "metrics": [{"name": "users", "kind": "distinct", "of": "user", "windows": [{"tumbling": "1m"}]}],
}
SOURCE = {"type": "kafka", "brokers": "a:1", "topic": "events", "properties": LOGIN}


def pipeline(**keys: Any) -> Pipeline:
    return Pipeline.model_validate(PLAN | {"source": {"type": "simulator"}} | keys)


def statuses(findings: list[Finding]) -> dict[str, str]:
    assert all(finding.remedy for finding in findings if finding.status != "ok")
    return {finding.name: finding.status for finding in findings}


@contextmanager
def rest(answers: dict[str, Any]) -> Iterator[str]:
    """A cluster's REST interface with these answers, by path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(answers.get(self.path)).encode()
            self.send_response(200 if self.path in answers else 404)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("localhost", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def cluster_findings(
    overview: dict[str, Any],
    settings: dict[str, str],
    asked: Pipeline | None,
    jars: tuple[str, ...] = (f"/opt/flink/lib/{PYFLINK_JAR}",),
) -> dict[str, Finding]:
    answers = {
        "/overview": overview,
        "/jobmanager/config": [{"key": key, "value": value} for key, value in settings.items()],
        "/jobmanager/environment": {"classpath": list(jars)},
    }
    with rest(answers) as address:
        findings = check_cluster(address, asked)
    statuses(findings)
    return {finding.name: finding for finding in findings}


@pytest.mark.parametrize(
    ("slots", "settings", "parallelism", "status", "told"),
    [
        ((3, 4), {}, 3, "ok", "3 of 4 free, TaskManagers: 2; shop needs 3"),
        ((3, 4), {}, 4, "warn", "shop needs 4"),
        ((3, 4), {}, 5, "fail", "shop needs 5"),
        ((0, 4), {}, None, "warn", "0 of 4 free, TaskManagers: 2; shop needs 1"),
        ((1, 4), {"parallelism.default": "2"}, None, "warn", "shop needs 2"),
        ((0, 0), {"kubernetes.cluster-id": "shop"}, 8, "ok", "more are started on demand"),
    ],
)
def test_free_slots_are_held_against_the_pipelines_parallelism(
    slots: tuple[int, int], settings: dict[str, str], parallelism: int | None, status: str, told: str
) -> None:
    overview = FREE | {"slots-available": slots[0], "slots-total": slots[1]}

    findings = cluster_findings(overview, settings, pipeline(parallelism=parallelism))

    assert findings["slots"].status == status
    assert told in findings["slots"].detail


def test_a_cluster_of_another_version_is_a_failure_that_names_both() -> None:
    found = cluster_findings(FREE | {"flink-version": "1.20.1"}, {}, None)["cluster"]

    assert found.status == "fail"
    assert f"Flink 1.20.1, but jobs of this project are of Flink {OURS}" in found.detail
    assert cluster_findings(FREE, {}, None)["cluster"].detail.endswith(f"Flink {OURS}")


def test_a_cluster_that_loads_pyflink_anew_for_each_job_is_warned_of() -> None:
    others = ("/opt/flink/lib/flink-dist-2.3.0.jar", "/opt/flink/opt/flink-python-1.20.1.jar")

    found = cluster_findings(FREE, {}, None, others)["shared jars"]

    assert found.status == "warn"
    assert f"{PYFLINK_JAR} is not in the cluster's lib" in found.detail
    assert cluster_findings(FREE, {}, None)["shared jars"].status == "ok"


def test_where_checkpoints_go_is_the_pipelines_word_then_the_clusters() -> None:
    settings = {"execution.checkpointing.dir": "s3://b/all"}
    own = pipeline(checkpoints={"dir": "file:///mnt/own"})

    assert cluster_findings(FREE, settings, own)["checkpoints"] == Finding(
        "checkpoints", "ok", "file:///mnt/own (the pipeline's); every TaskManager must see this folder"
    )
    assert cluster_findings(FREE, settings, pipeline())["checkpoints"].detail == (
        "s3://b/all (the cluster's); each of its machines needs flink-s3-fs-hadoop"
    )
    assert cluster_findings(FREE, {}, pipeline())["checkpoints"].status == "ok"  # this very machine


def test_a_cluster_elsewhere_without_a_folder_for_checkpoints_is_a_failure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flink_job.commands.examination import cluster

    monkeypatch.setattr(cluster, "_LOCAL", ("nowhere:",))
    found = cluster_findings(FREE, {}, pipeline())["checkpoints"]

    assert found.status == "fail"
    assert "execution.checkpointing.dir" in found.remedy and "checkpoints.dir" in found.remedy


def test_what_does_not_answer_as_a_cluster_is_one_failure() -> None:
    free = f"localhost:{free_port()}"
    (closed,) = check_cluster(free, pipeline())
    with rest({}) as address:
        (other,) = check_cluster(address, None)
    with rest({"/overview": {}, "/jobmanager/config": []}) as address:
        (foreign,) = check_cluster(address, None)

    assert closed.detail == f"no Flink cluster answers at {free}: Connection refused"
    assert other.detail.endswith(": Not Found")
    assert foreign.detail.endswith(": what answers is not Flink")
    assert {found.status for found in (closed, other, foreign)} == {"fail"}
    assert "make cluster-up" in closed.remedy


def test_every_topic_of_a_pipeline_is_looked_at_with_the_brokers_of_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = []

    def of_sink(spec: Any, brokers: str, compacted: bool) -> int | None:
        asked.append((spec.topic, brokers, compacted, spec.properties))
        return None if spec.create else 1

    monkeypatch.setattr(kafka, "partitions_of_source", lambda spec: {"events": 3, "more": 1})
    monkeypatch.setattr(kafka, "partitions_of_sink", of_sink)
    sinks = {
        "results": {"type": "kafka", "topic": "answers", "create": True},
        "late": {"type": "kafka", "topic": "late", "brokers": "b:2"},
        "rejects": {"type": "print"},
    }

    found = check_kafka(pipeline(source=SOURCE, sinks=sinks))

    assert found == [
        Finding("broker", "ok", "a:1 answers"),
        Finding("source", "ok", "events: 3 partitions, more: 1 partition"),
        Finding("sink of results", "ok", "answers: is not there, will be created"),
        Finding("broker", "ok", "b:2 answers"),
        Finding("sink of late", "ok", "late: 1 partition"),
    ]
    assert asked == [("answers", "a:1", True, {"security.protocol": "SASL_SSL"}), ("late", "b:2", False, {})]


def test_of_brokers_that_do_not_answer_there_is_one_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: Any) -> None:
        raise BrokerProblem("No broker.", "Start it.")

    monkeypatch.setattr(kafka, "partitions_of_source", unreachable)
    monkeypatch.setattr(kafka, "partitions_of_sink", unreachable)
    source = SOURCE | {"properties": {}}
    sinks = {output: {"type": "kafka", "topic": output} for output in ("results", "late", "rejects")}

    assert check_kafka(pipeline(source=source, sinks=sinks)) == [
        Finding("broker", "fail", "No broker.", "Start it.")
    ]


def test_a_topic_in_the_way_is_a_failure_of_its_own_and_its_broker_answers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(*_: Any) -> None:
        raise TopicProblem("No topic.", "Create it.")

    def wrong(*_: Any) -> None:
        raise KafkaProblem("properties: x: no.", "Use y.")

    monkeypatch.setattr(kafka, "partitions_of_source", missing)
    monkeypatch.setattr(kafka, "partitions_of_sink", wrong)
    source, sinks = SOURCE | {"properties": {}}, {"late": {"type": "kafka", "topic": "late"}}

    assert check_kafka(pipeline(source=source, sinks=sinks)) == [
        Finding("broker", "ok", "a:1 answers"),
        Finding("source", "fail", "No topic.", "Create it."),
        Finding("Kafka properties", "fail", "properties: x: no.", "Use y."),
    ]


def test_a_pipeline_without_kafka_has_nothing_to_look_at_there() -> None:
    assert check_kafka(pipeline()) == []


def connector(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).touch()
    return folder


@pytest.mark.parametrize(
    ("name", "flink", "status"),
    [
        ("flink-sql-connector-kafka-5.0.0-2.2.jar", "2.3.0", "ok"),
        ("flink-sql-connector-kafka-5.0.0-2.2.jar", "2.3.1", "ok"),
        ("flink-sql-connector-kafka-5.0.0-2.2.jar", "2.4.0", "warn"),
        ("flink-sql-connector-kafka-3.3.0-1.20.jar", "2.3.0", "warn"),
        ("flink-sql-connector-kafka-new.jar", "2.3.0", "warn"),
    ],
)
def test_the_connectors_version_is_held_against_flinks(
    tmp_path: Path, name: str, flink: str, status: str
) -> None:
    found = jars.check_connector_version(connector(tmp_path, name), tmp_path / "none", flink)

    assert found.status == status
    assert flink in found.detail
    assert (status == "ok") == (found.remedy == "")


def test_the_pair_that_is_installed_is_a_known_one() -> None:
    name = jars.CONNECTOR.removeprefix("flink-sql-connector-kafka-").removesuffix(".jar")
    assert (name, ".".join(OURS.split(".")[:2])) in jars.KNOWN_GOOD


def test_a_second_connector_is_a_warning_that_names_both(tmp_path: Path) -> None:
    ours = connector(tmp_path / "jars", jars.CONNECTOR)
    theirs = connector(tmp_path / "lib", "flink-connector-kafka-3.3.0-1.20.jar")

    found = jars.check_connector_version(ours, theirs, "2.3.0")

    assert found.status == "warn"
    assert jars.CONNECTOR in found.detail and "flink-connector-kafka-3.3.0-1.20.jar" in found.detail
    assert jars.check_connector_version(tmp_path, tmp_path, "2.3.0").status == "ok"


def test_a_pipeline_with_kafka_cannot_do_without_the_connector(tmp_path: Path) -> None:
    assert jars.check_connector(tmp_path).status == "warn"
    assert jars.check_connector(tmp_path, needed=True).status == "fail"


def test_broker_jars_that_are_missing_or_mixed_are_warnings(tmp_path: Path) -> None:
    assert jars.check_broker_jars(tmp_path / "none").status == "warn"
    for name in ("kafka_2.13", "kafka-clients", "kafka-server"):
        (tmp_path / f"{name}-4.1.0.jar").touch()
    incomplete = jars.check_broker_jars(tmp_path)
    (tmp_path / "kafka-tools-4.0.0.jar").touch()
    mixed = jars.check_broker_jars(tmp_path)

    assert (incomplete.status, mixed.status) == ("warn", "warn")
    assert "kafka-tools" in incomplete.detail
    assert "4.0.0" in mixed.detail and "make jars" in mixed.remedy


def test_the_command_looks_at_pipeline_and_cluster_and_fails_where_one_does(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(yaml.safe_dump(PLAN | {"source": SOURCE}))
    closed = f"localhost:{free_port()}"
    arguments = ["doctor", str(path), "--set", f"source.brokers={closed}", "--set", "source.properties={}"]

    ran = CliRunner().invoke(main, [*arguments, "--cluster", closed, "--json"])

    found = {finding["name"]: finding for finding in json.loads(ran.stdout)}
    assert ran.exit_code == 1
    assert (found["broker"]["status"], found["cluster"]["status"]) == ("fail", "fail")
    assert "Python" in found and "web UI port" not in found


@pytest.mark.parametrize(
    ("arguments", "told"),
    [(["nowhere.yaml"], "nowhere.yaml: cannot be read"), (["--set", "a=b"], "--set goes with a PIPELINE")],
)
def test_what_the_command_cannot_take_is_told(arguments: list[str], told: str) -> None:
    ran = CliRunner().invoke(main, ["doctor", *arguments])

    assert (ran.exit_code, ran.stdout) == (2, "")
    assert told in ran.stderr


@pytest.mark.parametrize(
    ("uri", "jar"),
    [
        ("s3://b/c", "flink-s3-fs-hadoop"),
        ("s3a://b/c", "flink-s3-fs-hadoop"),
        ("s3p://b/c", "flink-s3-fs-presto"),
        ("gs://b/c", "flink-gs-fs-hadoop"),
        ("abfss://c@a.example/c", "flink-azure-fs-hadoop"),
        ("oss://b/c", "flink-oss-fs-hadoop"),
    ],
)
def test_a_file_system_without_its_plugin_is_known_before_anything_starts(
    uri: str, jar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLINK_PLUGINS_DIR", str(tmp_path / "plugins"))
    monkeypatch.chdir(tmp_path)
    Path("p.yaml").write_text(yaml.safe_dump(PLAN | {"source": {"type": "simulator"}}))
    folder, scheme = tmp_path / "plugins", uri.partition(":")[0]
    told = f"Flink cannot use {scheme}:// here: {folder} has no folder with {jar}-*.jar."
    given = ["p.yaml", f"--set=checkpoints.dir={uri}"]

    ran = CliRunner().invoke(main, ["run", *given, "--port=0"])
    finding = jars.check_file_system(pipeline(checkpoints={"dir": uri}))

    assert (ran.exit_code, ran.output.splitlines()[0]) == (1, told)
    assert f"Put {jar}-{OURS}.jar, from Maven Central, into {tmp_path}/plugins/" in ran.output
    assert (finding.status, finding.detail) == ("fail", told)
    assert not Path(".sketchstream/shop/began.json").exists()
    (tmp_path / "plugins" / "any").mkdir(parents=True)
    (tmp_path / "plugins" / "any" / f"{jar}-{OURS}.jar").touch()
    assert jars.check_file_system(pipeline(checkpoints={"dir": uri})) == Finding("checkpoints", "ok", uri)


def test_hadoop_is_looked_for_where_checkpoints_are_in_hdfs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HADOOP_CLASSPATH", raising=False)
    hdfs = pipeline(checkpoints={"dir": "hdfs://namenode:8020/c"})
    assert jars.check_file_system(hdfs).detail == "Flink cannot use hdfs:// here: it has no Hadoop."
    monkeypatch.setenv("HADOOP_CLASSPATH", "/opt/hadoop/*")
    assert jars.check_file_system(hdfs).status == "ok"
