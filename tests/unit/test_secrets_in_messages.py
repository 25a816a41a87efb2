"""What comes from outside a pipeline file, and secrets in it, are in no message: a canary at every key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from schema_places import PLACES, key_of, standing_at

from flink_job.cli import main
from flink_job.cluster.rest import Checkpoints
from flink_job.commands.progress import describe_checkpoints
from flink_job.kafka_clients.problem import KafkaProblem
from flink_job.pipeline.reading import PipelineProblem, load_pipeline
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.began import began_file, expect_same_shape, write_began

CANARY = "s3cr3t-Canary \"q'9\\ö\nz/Zx8Kw7Jv6Hq5/Zx8Kw7Jv6Hq5/Zx8Kw7Jv6Hq5/Zx8Kw7Jv6Hq5"
NUMBER = "987654321987"
BASE: dict[str, Any] = {
    "name": "shop",
    "source": {"type": "file", "path": "events.json"},
    "event": {
        "fields": {"user": "string", "value": "double", "ts": "long"},
        "time": {"field": "ts", "unit": "ms"},
    },
    "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1m"}]}],
}
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required username='u' password='${CANARY}'"
KAFKA = {
    "type": "kafka", "brokers": "localhost:1", "topic": "t",
    "properties": {
        "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": "PLAIN", "sasl.jaas.config": LOGIN,
    },
}  # fmt: skip


def pieces(secret: str) -> set[str]:
    """Return all runs of six characters of a secret, as it is and as Python writes it."""
    return {form[at : at + 6] for form in (secret, repr(secret)[1:-1]) for at in range(len(form) - 5)}


def refused(folder: Path, document: dict[str, Any], *overrides: str) -> str:
    """Return what is said of a pipeline file; nothing where it is right."""
    path = folder / "pipeline.yaml"
    path.write_text(json.dumps(document))
    try:
        load_pipeline(path, overrides, {"CANARY": CANARY})
    except PipelineProblem as problem:
        return str(problem)
    return ""


def test_every_key_of_the_schema_is_a_place_for_the_canary() -> None:
    keys = {key_of(place) for place in PLACES}
    assert {"alerts.deliver.0.headers.some", "source.properties.some", "metrics.0.steps.0.where"} <= keys
    assert {place[0][1] for place in PLACES} == set(Pipeline.model_fields)


@pytest.mark.parametrize(
    "value",
    ["${CANARY}", [{"name": "${CANARY}", "some": ["-${CANARY}-"]}]],
    ids=["text", "list of mappings"],
)
def test_no_message_shows_what_a_variable_holds_wherever_it_stands(value: Any, tmp_path: Path) -> None:
    told = 0
    for place in PLACES:
        message = refused(tmp_path, BASE | standing_at(place, value))
        told += bool(message)
        assert not [piece for piece in pieces(CANARY) if piece in message], (place, message)
        assert "pydantic" not in message and "Traceback" not in message
    assert told > 0.9 * len(PLACES)


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        (json.dumps({CANARY: [{CANARY: CANARY}]}), CANARY),
        (NUMBER, NUMBER),
    ],
    ids=["mapping", "number"],
)
def test_no_message_shows_what_set_gives_wherever_it_is_put(value: str, secret: str, tmp_path: Path) -> None:
    for place in PLACES:
        message = refused(tmp_path, BASE | standing_at(place, None), f"{key_of(place)}={value}")
        assert not [piece for piece in pieces(secret) if piece in message], (place, message)


@pytest.mark.parametrize(
    "override",
    [
        "metrics.zz.secret.x=s3cr3t-Canary", "name.secret.x=s3cr3t-Canary", "source.path=[s3cr3t-Canary",
        "source.path={s3cr3t-Canary: 1, s3cr3t-Canary: 2}", "source.path=*s3cr3t-Canary", "s3cr3t-Canary",
        "source.path=!s3cr3t-Canary x", "=s3cr3t-Canary", "metrics={s3cr3t-Canary: x}",
        "event.time.unit=s3cr3t-Canary",
    ],
)  # fmt: skip
@pytest.mark.parametrize("command", ["check", "check --json", "run", "run --json", "doctor"])
def test_no_command_repeats_what_set_gives(command: str, override: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(json.dumps(BASE))
    ran = CliRunner().invoke(main, [*command.split(), str(path), "--set", override])
    assert ran.exit_code == 2 and "Canary" not in ran.output and "Traceback" not in ran.output, ran.output


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"name": "a b ${CANARY}"}, "name: expected text that matches"),
        ({"parallelism": "${SHORT}"}, "parallelism: expected a valid integer, got '${SHORT}'"),
        ({"source": {**KAFKA, "brokers": "https://u:${CANARY}@host"}}, "source.brokers: expected text"),
        ({"source": {**KAFKA, "properties": "${CANARY}"}}, "source.properties: expected a mapping"),
        ({"source": {**KAFKA, "properties": {"sasl.jaas.config": ["literal-Canary"]}}}, "expected text"),
        ({"source": {**KAFKA, "properties": {"my.password": 1234567}}}, "expected text, got something else"),
        ({"alerts": "https://hooks/literal-Canary"}, "alerts: expected a mapping, got something else"),
        ({"metrics": [BASE["metrics"][0] | {"where": "value > 'c' and ${CANARY}"}]}, "metrics.n.where: "),
        ({"metrics": [BASE["metrics"][0] | {"by": ["${SHORT}"]}]}, "metrics.n.by: there is no column"),
    ],
)  # fmt: skip
def test_a_message_says_what_the_file_says(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(json.dumps(BASE | change))
    with pytest.raises(PipelineProblem) as raised:
        load_pipeline(path, (), {"CANARY": "s3cr3t-Canary", "SHORT": "zq"})
    message = str(raised.value)
    assert told in message
    assert not [secret for secret in ("s3cr", "Canary", "1234567", "zq'") if secret in message], message


def test_a_short_value_hides_no_other_words(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(json.dumps(BASE | {"max_parallelism": "${N}", "parallelism": 9}))
    with pytest.raises(PipelineProblem, match="parallelism: expected at most 1, got 9"):
        load_pipeline(path, (), {"N": "1"})


def test_words_of_pipeline_files_are_no_secrets(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(json.dumps(BASE))
    metrics = "metrics=[{name: n, kind: distinct, of: nobody, windows: [{tumbling: 1m}]}]"
    with pytest.raises(PipelineProblem) as raised:
        load_pipeline(path, [metrics], {})
    told = f"{path}: metrics.***.of: there is no column '***'; columns are ts, user, value"
    assert str(raised.value) == told


def test_a_default_of_the_file_is_shown(tmp_path: Path) -> None:
    with pytest.raises(
        PipelineProblem, match=r"name: expected text that matches .*, got '\$\{NOT_SET:-a b\}'"
    ):
        path = tmp_path / "pipeline.yaml"
        path.write_text(json.dumps(BASE | {"name": "${NOT_SET:-a b}"}))
        load_pipeline(path, (), {})


def test_what_is_told_of_kafka_once_the_file_is_right_has_addresses_and_no_secrets(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(json.dumps(BASE | {"source": KAFKA}))
    load_pipeline(path, ("source.brokers=localhost:2",), {"CANARY": "s3cr3t-Canary"})
    problem = KafkaProblem("localhost:2 refuses password='s3cr3t-Canary' of topic t", "Mend s3cr3t-Canary.")
    assert str(problem) == "localhost:2 refuses password='${CANARY}' of topic t\nMend ${CANARY}."


@pytest.mark.parametrize("command", [["run", "--port", "0"], ["doctor"], ["doctor", "--json"]])
def test_a_property_that_cannot_be_used_is_told_without_what_it_holds(
    command: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        json.dumps(BASE | {"source": {**KAFKA, "properties": {"security.protocol": "${CANARY}"}}})
    )
    ran = CliRunner().invoke(main, [command[0], str(path), *command[1:]], env={"CANARY": "s3cr3t-Canary"})
    assert ran.exit_code == 1 and "security.protocol" in ran.output, ran.output
    assert "canary" not in ran.output.lower().replace("${canary}", "")


def test_a_run_that_goes_on_is_not_told_what_a_variable_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pipeline.yaml"
    path.write_text(json.dumps(BASE | {"metrics": [BASE["metrics"][0] | {"where": "user = '${CANARY}'"}]}))
    began = load_pipeline(path, (), {"CANARY": "s3cr3t-Canary"})
    began_file(began).parent.mkdir(parents=True)
    write_began(began)
    assert "Canary" not in began_file(began).read_text()
    expect_same_shape(load_pipeline(path, (), {"CANARY": "s3cr3t-Canary"}))
    with pytest.raises(PipelineProblem) as raised:
        expect_same_shape(load_pipeline(path, (), {"CANARY": "another-Canary"}))
    assert "metrics.n.where: is not what it was when the run began" in str(raised.value)
    assert "-Canary" not in str(raised.value)


def test_why_checkpoints_fail_is_told_without_what_a_variable_holds_and_without_escapes(
    tmp_path: Path,
) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(json.dumps(BASE | {"metrics": [BASE["metrics"][0] | {"where": "user = '${CANARY}'"}]}))
    load_pipeline(path, (), {"CANARY": "s3cr3t-Canary"})
    told = describe_checkpoints(Checkpoints(0, 1, "java.io.IOException: of s3cr3t-Canary\x1b[2J"))
    assert "failed: " in told and "Canary" not in told and "\x1b" not in told
