"""The pipeline file: what is right is read, and what is wrong is told with its key and what is allowed."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from schema_places import NUMBERS, key_of, standing_at

from flink_job.cli import main
from flink_job.pipeline.reading import PipelineProblem, load_pipeline
from flink_job.pipeline.spec import Pipeline

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
FREQUENCY = {"name": "counts", "kind": "frequency", "of": "user", "ask": ["ann"],
             "windows": [{"tumbling": "5m"}]}  # fmt: skip
GONE = object()
WRONG: list[tuple[str, Any, list[str]]] = [
    ("name", GONE, ["name: is missing"]),
    ("name", "my shop", ["name: expected text that matches", "'my shop'"]),
    ("metrics", [], ["metrics: is missing, and so are rules, decide, enrich and similar"]),
    ("metrics", GONE, ["metrics: is missing, and so are rules, decide, enrich and similar"]),
    ("paralelism", 2, ["paralelism: unknown key", "did you mean parallelism?"]),
    ("source.glob", "*", ["source.glob: unknown key", "chunk_bytes"]),
    ("source.type", "ftp", ["source: ", "file, simulator", "'ftp'"]),
    ("source.type", GONE, ["source: type is missing", "file, kafka, simulator"]),
    ("source.path", GONE, ["source.path: is missing"]),
    ("source.format", "xml", ["source.format", "json", "csv", "'xml'"]),
    ("source.chunk_bytes", "big", ["source.chunk_bytes: ", "integer", "'big'"]),
    ("source.chunk_bytes", True, ["source.chunk_bytes: expected a valid integer, got true"]),
    ("source.chunk_bytes", [1], ["source.chunk_bytes: expected a valid integer, got [1]"]),
    ("source.path", 5, ["source.path: expected text, got 5"]),
    ("sinks", {"results": {"type": ["file"]}}, ["sinks.results: expected one of file", "got ['file']"]),
    ("metrics", "n", ["metrics: expected a list, got 'n'"]),
    ("event.fields", [], ["event.fields: expected a mapping, got []"]),
    ("profile", "fast", ["profile: expected 'throughput' or 'latency', got 'fast'"]),
    ("rules_own_slots", True, ["rules_own_slots: needs features, for rules on events"]),
    ("parallelism", 0, ["parallelism: ", "greater than or equal to 1", "got 0"]),
    ("parallelism", 200, ["parallelism: expected at most", "128", "200"]),
    ("event.fields.user", "text", ["event.fields.user", "string", "'text'"]),
    ("event.time.field", "tz", ["time.field", "user, value, text, ts", "'tz'"]),
    ("event.time.unit", "min", ["event.time", "unit", "iso8601", "'min'"]),
    ("event.time", {"kafka_timestamp": True}, ["event.time: kafka_timestamp needs a source of type kafka"]),
    ("event.out_of_orderness", 5, ["event.out_of_orderness: ", "5s", "5"]),
    ("event.on_idle", "stop", ["event.on_idle: expected 'wait' or 'advance'", "'stop'"]),
    ("event.require", ["usr"], ["require", "user, value, text, ts", "'usr'"]),
    ("event.checks", ["value + 1"], ["checks[0]", "bool"]),
    ("event.checks", ["value >"], ["checks[0]", "value >"]),
    ("event.derive.tags.extract", "(", ["event.derive.tags", "extract", "'('"]),
    ("allowed_lateness", "5 min", ["allowed_lateness: ", "500ms", "'5 min'"]),
    ("metrics.0.kind", "median", ["metrics.users: expected one of ", "distinct", "'median'"]),
    ("metrics.0.kind", GONE, ["metrics.users: kind is missing", "quantiles"]),
    ("metrics.0.k", 3, ["metrics.users.k: unknown key", "lg_k"]),
    ("metrics.0.lg_k", 30, ["metrics.users.lg_k: ", "21", "got 30"]),
    ("metrics.0.of", "usr", ["metrics.users.of: ", "'usr'", "text", "user"]),
    ("metrics.0.by", ["usr"], ["metrics.users.by: ", "'usr'", "ts"]),
    ("metrics.0.by", "user", ["metrics.users.by: ", "'user'"]),
    ("metrics.0.where", "value = 'x'", ["metrics.users.where: ", "value"]),
    ("metrics.0.windows", [], ["metrics.users.windows: ", "at least 1"]),
    ("metrics.0.windows.0", "5m", ["metrics.users.windows.0: expected a window: {tumbling: 5m}"]),
    ("metrics.0.windows.0", {"hopping": "5m"}, ["metrics.users.windows.0: expected a window", "session"]),
    ("metrics.0.windows.0", {"tumbling": "0s"}, ["metrics.users.windows.0.tumbling: ", "greater than 0"]),
    ("metrics.0.windows.0", {"sliding": "1m", "every": "5m"}, ["metrics.users.windows.0: every "]),
    ("metrics.0.windows.0", {"sliding": "1m"}, ["metrics.users.windows.0.every: is missing"]),
    ("metrics.0.windows", [{"tumbling": "1d"}, {"tumbling": "7ms"}], ["metrics.users.windows: ", "10000"]),
    ("metrics.0.windows", [{"tumbling": "60s"}, {"tumbling": "1m"}], ["metrics.users.windows: ", "twice"]),
    ("metrics", RIGHT["metrics"] * 2, ["metrics: expected different names, got 'users' twice"]),
    *(
        ("metrics.0", FREQUENCY | {option: value}, [f"metrics.counts.{option}: ", *told])
        for option, value, told in [
            (
                "epsilon",
                1e-12,
                ["1e-12 with delta 0.01 means a table of 1.04e+08 MiB; at most 64 MiB", "1.6e-06"],
            ),
            ("epsilon", 5e-324, ["at most 64 MiB"]),
            ("epsilon", 1e-320, ["at most 64 MiB"]),
            ("delta", 1e-320, ["means 737 rows of counters; at most 32 are allowed, so at least 1.3e-14"]),
            ("delta", 5e-324, ["at most 32"]),
            *(
                (option, value, [])
                for option in ("epsilon", "delta")
                for value in (float("nan"), float("inf"), -0.0, 1e308, 10**399)
            ),
        ]
    ),
    (
        "metrics.0",
        {
            "name": "new",
            "kind": "first_seen",
            "of": "user",
            "windows": [{"tumbling": "5m"}],
            "capacity": 2**28,
            "rate": 0.00001,
            "value_shards": 1,
        },
        [
            "metrics.new: capacity: 268435456 at rate 1e-05 in 1 value_shards means ",
            " MiB each; at most 512 MiB",
            "at least 2 value_shards",
        ],
    ),
    (
        "enrich",
        {"user": "user", "capacity": 2**28, "rate": 0.00001, "value_shards": 1},
        ["enrich: capacity: 268435456 at rate 1e-05", "at least 2 value_shards"],
    ),
    ("sinks", {"results": {"type": "s3"}}, ["sinks.results: expected one of ", "file", "print", "'s3'"]),
    ("sinks", {"late": {"type": "file", "path": "a", "every": 1}}, ["sinks.late.every: unknown key"]),
    (
        "sinks",
        {"late": {"type": "kafka", "topic": "a", "brokers": "b:1", "key": 1}},
        ["sinks.late.key: unknown key", "create", "partitions"],
    ),
    ("sinks", {"late": {"type": "kafka", "topic": "a"}}, ["sinks.late.brokers: is missing"]),
    ("checkpoints", {"dir": "/tmp/c"}, ["checkpoints.dir: expected a URI that begins with", "no scheme"]),
    ("checkpoints", {"dir": "gopher://h/c"}, ["checkpoints.dir: ", "file://", "s3://", "got gopher"]),
    ("checkpoints", {"dir": "S3://bucket/c"}, ["checkpoints.dir: ", "s3://", "got S3"]),
    ("checkpoints", {"dir": "file://tmp/c"}, ["checkpoints.dir: ", "three slashes, as in file:///data"]),
    ("checkpoints", {"dir": "file:///"}, ["checkpoints.dir: expected a folder after three slashes"]),
    ("checkpoints", {"dir": "s3:///c"}, ["checkpoints.dir: expected a bucket or container first"]),
    ("checkpoints", {"dir": "gs:c"}, ["checkpoints.dir: expected a bucket or container first"]),
    ("checkpoints", {"dir": "s3://[c"}, ["checkpoints.dir: "]),
    ("checkpoints", {"dir": 5}, ["checkpoints.dir: ", "got 5"]),
    ("checkpoints", {"every": "1ms"}, ["checkpoints.every: ", "10"]),
]


def changed(key: str, value: Any) -> dict[str, Any]:
    """Return the right file with one value changed, added or, where it is GONE, taken away."""
    document = copy.deepcopy(RIGHT)
    *parents, last = (int(part) if part.isdigit() else part for part in key.split("."))
    place: Any = document
    for part in parents:
        place = place[part]
    if value is GONE:
        del place[last]
    else:
        place[last] = value
    return document


def written(folder: Path, document: Any) -> Path:
    path = folder / "pipeline.yaml"
    text = document if isinstance(document, str) else yaml.safe_dump(document, sort_keys=False)
    path.write_text(text, encoding="utf-8")
    return path


def wrong_name(wrong: tuple[str, Any, str]) -> str:
    return f"{wrong[0]}={'gone' if wrong[1] is GONE else format(repr(wrong[1]), '.30')}"


@pytest.mark.parametrize(("key", "value", "told"), WRONG, ids=map(wrong_name, WRONG))
def test_a_wrong_file_is_refused_with_the_key_and_what_is_allowed(
    key: str, value: Any, told: list[str], tmp_path: Path
) -> None:
    path = written(tmp_path, changed(key, value))
    ran = CliRunner().invoke(main, ["check", str(path)])
    assert ran.exit_code == 2, ran.output
    assert "Traceback" not in ran.output and "pydantic" not in ran.output and "\n  " not in ran.output
    assert all(line.startswith(f"{path}: ") for line in ran.output.splitlines())
    assert len(ran.output.splitlines()) == 1
    for part in told:
        assert part in ran.output


@pytest.mark.parametrize("pattern", ["((", "[a", "a{2}{3}**", "(?P<n>a)(?P<n>b)"])
def test_a_pattern_of_topics_that_cannot_be_read_is_refused(pattern: str, tmp_path: Path) -> None:
    source = {"type": "kafka", "brokers": "b:1", "pattern": pattern}
    ran = CliRunner().invoke(main, ["check", str(written(tmp_path, RIGHT | {"source": source}))])
    assert ran.exit_code == 2
    assert f"source.pattern: expected a regular expression, got {pattern!r}: " in ran.output


@pytest.mark.parametrize("value", [True, False, [True]])
def test_true_and_false_are_no_numbers_wherever_numbers_are(value: Any, tmp_path: Path) -> None:
    assert len(NUMBERS) > 80
    for place in NUMBERS:
        with pytest.raises(PipelineProblem) as problem:
            load_pipeline(written(tmp_path, RIGHT | standing_at(place, value)))
        told = (f"{key_of(place)}: expected a valid integer", f"{key_of(place)}: expected a number")
        assert any(line.startswith(told) for line in problem.value.problems), (place, problem.value.problems)


def test_numbers_may_come_from_variables(tmp_path: Path) -> None:
    source = {"type": "file", "path": "e", "chunk_bytes": "${BYTES}"}
    path = written(tmp_path, RIGHT | {"parallelism": "${N}", "source": source})
    pipeline = load_pipeline(path, environment={"N": "3", "BYTES": "65536"})
    assert (pipeline.parallelism, pipeline.source.chunk_bytes) == (3, 65536)


def test_a_right_file_is_read_with_its_defaults(tmp_path: Path) -> None:
    pipeline = load_pipeline(written(tmp_path, RIGHT))
    assert (pipeline.name, pipeline.timing(), pipeline.max_parallelism) == ("shop", "throughput", 128)
    assert (pipeline.checkpoints.every, pipeline.allowed_lateness, pipeline.emit_every) == (10_000, 0, None)
    assert (pipeline.event.out_of_orderness, pipeline.event.idle_timeout) == (5_000, 30_000)
    assert pipeline.event.column_types() == {
        "user": "string", "value": "double", "text": "string", "ts": "long", "tags": "list",
    }  # fmt: skip
    assert pipeline.metrics[0].lg_k == 14


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    document = copy.deepcopy(RIGHT) | {"profile": "fast", "parallelism": 0}
    document["metrics"][0]["lg_k"] = "many"
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
    allowed = problem.value.problems[0].partition("allowed here: ")[2].split(", ")
    assert allowed == sorted(Pipeline.model_fields)
