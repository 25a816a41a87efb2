"""The pipeline file: what is right is read, and what is wrong is told with its key and what is allowed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from flink_job.cli import main
from flink_job.pipeline import Pipeline
from flink_job.pipeline_file import PipelineProblem, load_pipeline

RIGHT: dict[str, Any] = {
    "name": "shop",
    "source": {"type": "file", "path": "events.json"},
    "event": {
        "fields": {"user": "string", "value": "double", "text": "string", "ts": "long"},
        "derive": {"tags": {"from": "text", "extract": r"#(\w+)", "all": True}},
        "time": {"field": "ts", "unit": "ms"},
    },
    "metrics": [{"name": "users", "kind": "distinct", "of": "user", "windows": [{"tumbling": "5m"}]}],
}
Change = Callable[[dict[str, Any]], object]
WRONG: list[tuple[str, Change, list[str]]] = [
    ("no name", lambda p: p.pop("name"), ["name: is missing"]),
    ("name with blanks", lambda p: p.update(name="my shop"), ["name: expected text that matches", "'my shop'"]),
    ("no metrics", lambda p: p.update(metrics=[]), ["metrics: ", "at least 1"]),
    ("unknown key", lambda p: p.update(paralelism=2), ["paralelism: unknown key", "did you mean parallelism?"]),
    ("unknown source key", lambda p: p["source"].update(glob="*"), ["source.glob: unknown key", "chunk_bytes"]),
    ("unknown source", lambda p: p["source"].update(type="ftp"), ["source: ", "file, simulator", "'ftp'"]),
    ("no source type", lambda p: p["source"].pop("type"), ["source: type is missing", "file, simulator"]),
    ("no path", lambda p: p["source"].pop("path"), ["source.path: is missing"]),
    ("unknown format", lambda p: p["source"].update(format="xml"), ["source.format", "json", "csv", "'xml'"]),
    ("chunk of text", lambda p: p["source"].update(chunk_bytes="big"), ["source.chunk_bytes: ", "integer", "'big'"]),
    ("profile", lambda p: p.update(profile="fast"), ["profile: expected 'throughput' or 'latency', got 'fast'"]),
    ("parallelism 0", lambda p: p.update(parallelism=0), ["parallelism: ", "greater than or equal to 1", "got 0"]),
    ("parallelism beyond", lambda p: p.update(parallelism=200), ["parallelism: expected at most", "128", "200"]),
    ("type of a field", lambda p: p["event"]["fields"].update(user="text"), ["event.fields.user", "string", "'text'"]),
    ("time over no field", lambda p: p["event"]["time"].update(field="tz"), ["time.field", "user, value, text, ts", "'tz'"]),
    ("time unit", lambda p: p["event"]["time"].update(unit="min"), ["event.time", "unit", "iso8601", "'min'"]),
    ("bare number as duration", lambda p: p["event"].update(out_of_orderness=5), ["event.out_of_orderness: ", "5s", "5"]),
    ("unit of a duration", lambda p: p.update(allowed_lateness="5 min"), ["allowed_lateness: ", "500ms", "'5 min'"]),
    ("on_idle", lambda p: p["event"].update(on_idle="stop"), ["event.on_idle: expected 'wait' or 'advance'", "'stop'"]),
    ("require", lambda p: p["event"].update(require=["usr"]), ["require", "user, value, text, ts", "'usr'"]),
    ("check of a number", lambda p: p["event"].update(checks=["value + 1"]), ["checks[0]", "bool"]),
    ("check that does not parse", lambda p: p["event"].update(checks=["value >"]), ["checks[0]", "value >"]),
    ("regular expression", lambda p: p["event"]["derive"]["tags"].update(extract="("), ["event.derive.tags", "extract", "'('"]),
    ("unknown kind", lambda p: metric(p).update(kind="median"), ["metrics.users: expected one of ", "distinct", "'median'"]),
    ("no kind", lambda p: metric(p).pop("kind"), ["metrics.users: kind is missing", "quantiles"]),
    ("option of another kind", lambda p: metric(p).update(k=3), ["metrics.users.k: unknown key", "lg_k"]),
    ("lg_k", lambda p: metric(p).update(lg_k=30), ["metrics.users.lg_k: ", "21", "got 30"]),
    ("of over no column", lambda p: metric(p).update(of="usr"), ["metrics.users.of: ", "'usr'", "text", "user"]),
    ("by over no column", lambda p: metric(p).update(by=["usr"]), ["metrics.users.by: ", "'usr'", "ts"]),
    ("by as text", lambda p: metric(p).update(by="user"), ["metrics.users.by: ", "'user'"]),
    ("where", lambda p: metric(p).update(where="value = 'x'"), ["metrics.users.where: ", "value"]),
    ("no windows", lambda p: metric(p).update(windows=[]), ["metrics.users.windows: ", "at least 1"]),
    ("a window of text", lambda p: metric(p).update(windows=["5m"]), ["metrics.users.windows.0: expected a window: {tumbling: 5m}"]),
    ("unknown window", lambda p: metric(p).update(windows=[{"hopping": "5m"}]), ["metrics.users.windows.0: expected a window", "session"]),
    ("window of no length", lambda p: metric(p).update(windows=[{"tumbling": "0s"}]), ["metrics.users.windows.0.tumbling: ", "greater than 0"]),
    ("sliding beyond itself", lambda p: metric(p).update(windows=[{"sliding": "1m", "every": "5m"}]), ["metrics.users.windows.0: every "]),
    ("no every", lambda p: metric(p).update(windows=[{"sliding": "1m"}]), ["metrics.users.windows.0.every: is missing"]),
    ("too many slices", lambda p: metric(p).update(windows=[{"tumbling": "1d"}, {"tumbling": "7ms"}]), ["metrics.users.windows: ", "10000"]),
    ("a window twice", lambda p: metric(p).update(windows=[{"tumbling": "60s"}, {"tumbling": "1m"}]), ["metrics.users.windows: ", "twice"]),
    ("a name twice", lambda p: p["metrics"].append(metric(p)), ["metrics: expected different names, got 'users' twice"]),
    ("unknown sink", lambda p: p.update(sinks={"results": {"type": "s3"}}), ["sinks.results: expected one of ", "file", "print", "'s3'"]),
    ("with_sketch of rejects", lambda p: p.update(sinks={"rejects": {"type": "file", "path": "r", "with_sketch": True}}), ["sinks.rejects.with_sketch: unknown key", "path"]),
    ("checkpoints as a path", lambda p: p.update(checkpoints={"dir": "/tmp/c"}), ["checkpoints.dir: expected text that matches", "'/tmp/c'"]),
    ("checkpoints too often", lambda p: p.update(checkpoints={"every": "1ms"}), ["checkpoints.every: ", "10"]),
    ("kafka time of a file", lambda p: p["event"].update(time={"kafka_timestamp": True}), ["event.time: kafka_timestamp needs a source of type kafka"]),
]  # fmt: skip


def metric(pipeline: dict[str, Any]) -> dict[str, Any]:
    return pipeline["metrics"][0]


def written(folder: Path, document: Any) -> Path:
    path = folder / "pipeline.yaml"
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    return path


@pytest.mark.parametrize(("change", "told"), [w[1:] for w in WRONG], ids=[w[0] for w in WRONG])
def test_a_wrong_file_is_refused_with_the_key_and_what_is_allowed(
    change: Change, told: list[str], tmp_path: Path
) -> None:
    document = copy.deepcopy(RIGHT)
    change(document)
    path = written(tmp_path, document)
    ran = CliRunner().invoke(main, ["check", str(path)])
    assert ran.exit_code == 2, ran.output
    assert "Traceback" not in ran.output and "pydantic" not in ran.output and "\n  " not in ran.output
    assert all(line.startswith(f"{path}: ") for line in ran.output.splitlines())
    assert len(ran.output.splitlines()) == 1
    for part in told:
        assert part in ran.output


def test_a_right_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    pipeline = load_pipeline(written(tmp_path, RIGHT))
    assert (pipeline.name, pipeline.profile, pipeline.max_parallelism) == ("shop", "throughput", 128)
    assert (pipeline.checkpoints.every, pipeline.allowed_lateness, pipeline.emit_every) == (10_000, 0, None)
    assert (pipeline.event.out_of_orderness, pipeline.event.idle_timeout) == (5_000, 30_000)
    assert pipeline.event.column_types() == {
        "user": "string", "value": "double", "text": "string", "ts": "long", "tags": "list",
    }  # fmt: skip
    assert pipeline.metrics[0].lg_k == 14


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    document = copy.deepcopy(RIGHT) | {"profile": "fast", "parallelism": 0}
    metric(document)["lg_k"] = "many"
    with pytest.raises(PipelineProblem) as problem:
        load_pipeline(written(tmp_path, document))
    assert {line.partition(":")[0] for line in problem.value.problems} == {
        "profile", "parallelism", "metrics.users.lg_k",
    }  # fmt: skip


def test_the_plan_that_is_shipped_says_the_same_as_the_file(tmp_path: Path) -> None:
    from operators.plan import Plan

    pipeline = load_pipeline(written(tmp_path, RIGHT | {"allowed_lateness": "1m", "emit_every": "10s"}))
    plan = Plan.model_validate_json(pipeline.plan_json())
    assert plan.resolved_metrics()[0].grid == pipeline.resolved_metrics()[0].grid
    assert plan.event == pipeline.event


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name: [", "not YAML: line 1, column"),
        ("name: a\nname: b\n", "not YAML: line 2, column 1: key 'name' is there twice"),
        ("event: {fields: {a: long, a: string}}", "key 'a' is there twice"),
        ("- a\n- b\n", "expected a mapping of keys such as name, source, event, metrics"),
        ("", "expected a mapping of keys"),
        ("name: !!python/object/apply:os.system [ls]", "not YAML"),
        ("? [a, b]\n: 1\n", "not YAML: line 1, column 3: expected a word as key"),
        ("{name: shop, 5: x}", "5"),
    ],
)
def test_a_file_that_is_no_mapping_is_refused(text: str, told: str, tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["check", str(written(tmp_path, text))])
    assert ran.exit_code == 2 and told in ran.output and "Traceback" not in ran.output, ran.output


def test_a_file_that_is_not_there_or_no_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PipelineProblem, match=r"nowhere\.yaml: cannot be read"):
        load_pipeline(tmp_path / "nowhere.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"name: caf\xe9")
    with pytest.raises(PipelineProblem, match="cannot be read"):
        load_pipeline(tmp_path / "latin.yaml")
    with pytest.raises(PipelineProblem, match="cannot be read"):
        load_pipeline(tmp_path)


def test_set_overrides_values_at_any_depth(tmp_path: Path) -> None:
    overrides = [
        "source.path=other.json", "parallelism=3", "metrics.users.lg_k=12", "metrics.0.windows.0.tumbling=1h",
        "checkpoints.every=1s", "event.require=[user]",
    ]  # fmt: skip
    pipeline = load_pipeline(written(tmp_path, RIGHT), overrides)
    assert (pipeline.source.path, pipeline.parallelism, pipeline.checkpoints.every) == ("other.json", 3, 1000)
    assert (pipeline.metrics[0].lg_k, pipeline.metrics[0].windows[0].tumbling) == (12, 3_600_000)
    assert pipeline.event.require == ("user",)


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("source.path", "expected KEY=VALUE"),
        ("=x", "expected KEY=VALUE"),
        ("metrics.nobody.lg_k=12", "expected a number below 1 or a name, got 'nobody'"),
        ("metrics.7.lg_k=12", "expected a number below 1 or a name, got '7'"),
        ("name.x=1", "name is a value"),
        ("source.path.x=1", "path is a value"),
        ("event.require=[", "not YAML"),
        ("nme=x", "nme: unknown key (did you mean name?)"),
    ],
)
def test_a_wrong_override_is_told(override: str, told: str, tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["check", str(written(tmp_path, RIGHT)), "--set", override])
    assert ran.exit_code == 2 and told in ran.output and "Traceback" not in ran.output, ran.output


def test_environment_variables_are_replaced_and_may_have_defaults(tmp_path: Path) -> None:
    document = RIGHT | {"name": "${NAME}", "source": {"type": "file", "path": "${FOLDER:-here}/e.json"}}
    pipeline = load_pipeline(written(tmp_path, document), environment={"NAME": "shop2"})
    assert (pipeline.name, pipeline.source.path) == ("shop2", "here/e.json")
    with pytest.raises(PipelineProblem, match="the environment variable NAME is not set"):
        load_pipeline(written(tmp_path, document), environment={})


def test_what_an_environment_variable_holds_is_text_and_no_yaml(tmp_path: Path) -> None:
    document = RIGHT | {"source": {"type": "file", "path": "${FILE}"}}
    pipeline = load_pipeline(written(tmp_path, document), environment={"FILE": "{a: 1}, ${NAME}"})
    assert pipeline.source.path == "{a: 1}, ${NAME}"


def test_every_key_of_the_model_is_described_to_the_one_who_mistypes_it(tmp_path: Path) -> None:
    with pytest.raises(PipelineProblem) as problem:
        load_pipeline(written(tmp_path, RIGHT | {"zzz": 1}))
    assert set(Pipeline.model_fields) <= set(problem.value.problems[0].partition("allowed here: ")[2].split(", "))
