"""What the README and CONTRIBUTING say is held against the code: examples are run, tables compared."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from engine import Engine

from flink_job.cli import main
from flink_job.pipeline.reading import load_pipeline
from flink_job.pipeline.spec import Pipeline
from flink_job.simulation.simulation import Simulation
from operators.durations import parse_duration
from operators.expressions import ExpressionError, compile_expression
from operators.metrics import all_kinds
from operators.similar.similar_runner import EMPTY_TEXT, NO_ITEMS_YET, NO_PROFILE, UNKNOWN_ITEM

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
README = (ROOT / "README.md").read_text(encoding="utf-8")
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")
POSITION = {"file", "line", "topic", "partition", "offset"}
SCHEMA = Pipeline.model_json_schema()

# The first heading of a table of keys, and the part of the schema that it describes.
SECTIONS = {
    "pipeline": "",
    "checkpoints": "Checkpoints",
    "file": "FileSourceSpec",
    "csv": "CsvFormat",
    "simulator": "SimulatorSpec",
    "event": "EventSpec",
    "fields": "FieldSpec",
    "derive": "DeriveSpec",
    "time": "TimeSpec",
    "tumbling": "Tumbling",
    "sliding": "Sliding",
    "session": "Session",
    "enrich": "EnrichSpec",
    "history": "History",
    "step": "Step",
    "similar": "SimilarEntry",
    "query": "QuerySpec",
    "profile": "ProfileSpec",
    "touch history": "TouchHistory",
    "items file": "FileItems",
    "items kafka": "KafkaItems",
    "sinks": "Sinks",
    "sink file": "ResultFileSinkSpec",
    "kafka": "KafkaSourceSpec",
    "sink kafka": "ResultKafkaSinkSpec",
    "features": "FeaturesSpec",
    "rule": "Rule",
    "parameter": "Parameter",
    "decide": "DecideSpec",
    "topic": "SideTopic",
    "alerts": "AlertsSpec",
}
CHANNELS = {"webhook": "WebhookSpec", "alertmanager": "AlertmanagerSpec", "email": "EmailSpec"}

Table = list[list[str]]


def blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(heading: str) -> str:
    found = re.search(rf"^## {heading}\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL)
    assert found is not None, f"README has no section {heading}"
    return found[1]


def tables(text: str) -> Iterator[tuple[list[str], Table]]:
    for lines in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines.splitlines()]
        head, _, *body = [[cell.strip("| ") for cell in row] for row in rows]
        yield head, body


def table(*head: str) -> Table:
    (found,) = [body for given, body in tables(README) if given == list(head)]
    return found


def codes(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def properties(name: str) -> tuple[dict[str, Any], set[str]]:
    """The keys of a part of the schema with what it says of each, and which are required."""
    part = SCHEMA if not name else SCHEMA["$defs"][name]
    for branch in part.get("anyOf", ()):
        part = branch if "properties" in branch else part
    return part["properties"], set(part.get("required", ()))


def kind_models() -> dict[str, str]:
    """Metric kind to the name of its model in the schema."""
    mapping = SCHEMA["properties"]["metrics"]["items"]["discriminator"]["mapping"]
    return {kind: reference.rpartition("/")[2] for kind, reference in mapping.items()}


def common_keys() -> set[str]:
    return set.intersection(*(set(properties(model)[0]) for model in kind_models().values()))


def described() -> Iterator[tuple[str, str, set[str]]]:
    """Heading of a table of keys, the part of the schema it describes, and the keys that are its business."""
    for heading, name in SECTIONS.items():
        yield heading, name, set(properties(name)[0])
    of_channels = set.intersection(*(set(properties(model)[0]) for model in CHANNELS.values()))
    yield "channel", CHANNELS["webhook"], of_channels
    for heading, name in CHANNELS.items():
        yield heading, name, set(properties(name)[0]) - of_channels
    models = kind_models()
    yield "metric", models["distinct"], common_keys()
    for kind, model in models.items():
        own = set(properties(model)[0]) - common_keys()
        if own:
            yield kind, model, own


def key_table(heading: str) -> Table:
    found = [
        body
        for head, body in tables(README)
        if head[1:] == ["type", "default", "meaning"] and heading in head[0].split(", ")
    ]
    assert len(found) == 1, f"README has {len(found)} tables of the keys of {heading}"
    return found[0]


def command_lines() -> list[str]:
    """Every command line, in a block or within a sentence."""
    lines = [line for block in blocks(README, "sh") for line in block.splitlines()]
    prose = re.sub(r"^ *```.*?^ *```$", "", README, flags=re.MULTILINE | re.DOTALL)
    return [line for line in lines + codes(prose) if re.match(r"sketchstream [a-z]", line)]


def parse(line: str) -> None:
    """Parse a command line as the command itself would, without running it."""
    _, name, *arguments = shlex.split(line)
    assert name in main.commands, f"no command {name!r}"
    if arguments:  # `sketchstream run` within a sentence only names the command
        main.commands[name].make_context(name, arguments)


def pipelines() -> dict[str, str]:
    whole = (block for block in blocks(README, "yaml") if re.search(r"^metrics:", block, re.MULTILINE))
    return {yaml.safe_load(block)["name"]: block for block in whole}


def loaded(name: str, folder: Path) -> Pipeline:
    path = folder / f"{name}.yaml"
    path.write_text(pipelines()[name], encoding="utf-8")
    return load_pipeline(path, environment={})


@pytest.fixture(scope="module")
def shop_results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What the README's pipeline of all kinds answers to the events of its own source."""
    pipeline = loaded("shop", tmp_path_factory.mktemp("shop"))
    engine = Engine(json.loads(pipeline.plan_json()), follow=True)
    engine.send_raw(*Simulation(pipeline.source).chunk(0, pipeline.source.events).splitlines())
    engine.end()
    assert not engine.rejects
    return engine.results


def test_every_yaml_block_is_a_whole_pipeline_and_right(tmp_path: Path) -> None:
    assert len(pipelines()) == len(blocks(README, "yaml")) > 0
    for name in pipelines():
        assert loaded(name, tmp_path).name == name


def test_the_pipeline_of_all_kinds_has_all_kinds_and_windows(tmp_path: Path) -> None:
    metrics = loaded("shop", tmp_path).metrics
    assert {metric.kind for metric in metrics} == set(all_kinds())
    kinds = {type(window).__name__ for metric in metrics for window in metric.windows}
    assert kinds == {"Tumbling", "Sliding", "Session"}


def test_every_command_line_is_one_that_the_commands_take() -> None:
    assert len(command_lines()) > 10
    for line in command_lines():
        parse(line)


@pytest.mark.parametrize("line", ["sketchstream walk", "sketchstream run a.yaml --fro latest"])
def test_a_wrong_command_line_would_be_noticed(line: str) -> None:
    with pytest.raises((AssertionError, click.UsageError)):
        parse(line)


def test_every_command_is_in_the_table_of_commands() -> None:
    assert {codes(row[0])[0].split()[1] for row in table("command", "does")} == set(main.commands)


def test_the_table_of_options_has_every_option_of_every_command_and_no_other() -> None:
    told = {
        (command, code.split()[0])
        for row in table("option", "of", "meaning")
        for command in row[1].split(", ")
        for code in codes(row[0])
        if command != "all"
    }
    real = {
        (name, option.opts[0])
        for name, command in main.commands.items()
        for option in command.params
        if isinstance(option, click.Option)
    }
    assert told == real


@pytest.mark.parametrize(
    ("heading", "name", "keys"),
    list(described()),
    ids=lambda value: value if isinstance(value, str) else "keys",
)
def test_a_table_has_the_keys_of_the_schema_with_their_defaults(
    heading: str, name: str, keys: set[str]
) -> None:
    known, required = properties(name)
    rows = {codes(row[0])[0]: row for row in key_table(heading)}
    assert set(rows) == keys
    for key, row in rows.items():
        cell, default = row[2], known[key].get("default")
        assert (cell == "required") == (key in required), f"{heading}.{key}: {cell}"
        if re.fullmatch("`[^`]+`", cell):
            if default is not None:
                assert default in readings(cell.strip("`")), f"{heading}.{key}: {cell}, not {default!r}"
        elif key not in required:
            assert default is None or isinstance(default, dict), (
                f"{heading}.{key}: the default is {default!r}"
            )


def readings(text: str) -> list[Any]:
    """What a default in the README can mean: the text, as YAML, as a duration."""
    found = [text, yaml.safe_load(text)]
    return [*found, parse_duration(text)] if re.fullmatch(r"\d+(ms|[smhd])", text) else found


def test_no_part_of_the_schema_is_without_a_table() -> None:
    documented = {name for _, name, _ in described()}
    kinds = kind_models()
    for name in SCHEMA["$defs"]:
        if name in documented:
            continue
        keys = set(properties(name)[0])
        if name.endswith("Operand"):
            (kind,) = (properties(name)[0]["kind"]["const"],)
            (extra,) = [codes(row[0])[0] for row in key_table("operand")]
            assert keys <= set(properties(kinds[kind])[0]) | {extra}, name
        else:  # no keys of its own
            sinks = ("ResultFileSinkSpec", "ResultKafkaSinkSpec")
            of_sinks = {key for sink in sinks for key in properties(sink)[0]}
            of_features = {codes(row[0])[0] for row in key_table("feature")}
            assert keys <= common_keys() | of_sinks | of_features, name


def test_the_table_of_kinds_has_every_kind_and_says_whether_it_is_exact() -> None:
    rows = {codes(row[0])[0]: row for row in table("kind", "answers", "how", "confidence")}
    assert set(rows) == set(all_kinds())
    for name, kind in all_kinds().items():
        assert ("exact" in rows[name][2]) == kind.always_exact, name
        assert not kind.always_exact or rows[name][3] == "1", name


def test_every_function_of_expressions_is_named_and_every_example_compiles() -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_expression("nothing_of_this_name(1)", {})
    functions = str(caught.value).partition("expected one of: ")[2].partition(" (at")[0].split(", ")
    assert len(functions) > 5
    found = [code for row in table("what", "how") for code in codes(row[1])]
    columns = dict.fromkeys(("s", "prefix", "action", "page"), "string") | dict.fromkeys("abn", "long")
    examples = [code for code in found if re.match(r"[a-z_]+\(|[a-z]+ (in|like) ", code)]
    for function in functions:
        assert any(example.startswith(f"{function}(") for example in examples), function
    for example in examples:
        compile_expression(example, columns)


def test_the_result_in_the_readme_is_what_the_pipeline_in_the_readme_answers(
    shop_results: list[dict[str, Any]],
) -> None:
    (example,) = [block for block in map(json.loads, blocks(README, "json")) if "revision" in block]
    assert example in shop_results


def test_the_parts_of_results_in_the_readme_are_real(shop_results: list[dict[str, Any]]) -> None:
    told = {codes(row[0])[0]: codes(row[1]) for row in table("field", "meaning")}
    rows = {name: json.loads(told[name][-1]) for name in ("items", "quantiles", "stats", "steps")}
    assert any(rows["stats"] == result.get("stats") for result in shop_results)
    assert any(rows["steps"] == step for result in shop_results for step in result.get("steps", ()))
    answered = [item for result in shop_results for item in result.get("items", ())]
    assert rows["items"] and all(item in answered for item in rows["items"])
    (real,) = [result["quantiles"] for result in shop_results if result["kind"] == "quantiles"]
    for rank, example in rows["quantiles"].items():  # the sketch is randomised
        assert set(example) == set(real[rank])
        assert real[rank]["lower"] <= example["value"] <= real[rank]["upper"]


def test_every_field_of_a_result_is_in_the_table_of_fields(shop_results: list[dict[str, Any]]) -> None:
    told = {code for row in table("field", "meaning") for code in codes(row[0])}
    assert told == {key for result in shop_results for key in result} | {"retracted", "sketch"}


def test_the_reject_in_the_readme_is_what_its_payload_becomes(tmp_path: Path) -> None:
    (example,) = [b for b in map(json.loads, blocks(README, "json")) if {"payload", "reason"} <= b.keys()]
    engine = Engine(json.loads(loaded("clicks", tmp_path).plan_json()))
    engine.send_raw(example["payload"].encode())
    (real,) = engine.rejects
    assert without_position(real) == without_position(example)


def test_the_late_event_in_the_readme_has_the_fields_of_one(tmp_path: Path) -> None:
    (example,) = [block for block in map(json.loads, blocks(README, "json")) if "watermark_ms" in block]
    engine = Engine(json.loads(loaded("clicks", tmp_path).plan_json()), follow=True)
    for minute in ("09", "00"):
        engine.send({"user_id": "ann", "page": "/", "ms": 1, "ts": f"2026-01-01T10:{minute}:00Z"})
    assert engine.late
    for late in engine.late:
        assert set(without_position(late)) == set(without_position(example))


def similar_answers(folder: Path) -> list[dict[str, Any]]:
    """What the README's items and pipeline of similar items answer."""
    (items,) = blocks(README, "jsonl")
    (folder / "items.jsonl").write_text(items, encoding="utf-8")
    pipeline = loaded("alike", folder)
    engine = Engine(json.loads(pipeline.plan_json()), follow=True)
    engine.send_raw(*Simulation(pipeline.source).chunk(0, pipeline.source.events).splitlines())
    return engine.similar


def test_the_answer_in_the_readme_is_what_its_pipeline_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (example,) = [block for block in map(json.loads, blocks(README, "json")) if "answer" in block]
    answers = [without_position(answer) for answer in similar_answers(tmp_path)]
    assert without_position(example) in answers


def test_every_field_and_reason_of_an_answer_is_in_the_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = table("answer", "meaning")
    told = {code for row in rows for code in codes(row[0])}
    answers = similar_answers(tmp_path)
    assert told == {key for answer in answers for key in answer} | POSITION
    (reasons,) = [codes(row[1]) for row in rows if codes(row[0]) == ["reason"]]
    known = (UNKNOWN_ITEM, NO_PROFILE, EMPTY_TEXT, NO_ITEMS_YET)
    assert sorted(reasons) == sorted(known)
    assert {answer.get("reason") for answer in answers} == {None, UNKNOWN_ITEM, NO_PROFILE}


def without_position(fields: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fields.items() if key not in POSITION}


def test_every_reason_for_a_reject_is_named() -> None:
    (sentence,) = re.findall(r"^Reasons: (.*?)\. An event", README, re.MULTILINE)
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "operators").rglob("*.py"))
    calls = r'(?:reject|Reject|BadEvent|refusals\.add)\(\s*(?:[^"()]|\([^()]*\))*?"([a-z]+_[a-z_]+)"'
    assert set(codes(sentence)) == set(re.findall(calls, source))


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_link_leads_somewhere(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif not target.startswith("https://"):
            assert (ROOT / target).exists(), target


def test_every_folder_of_code_is_in_contributing() -> None:
    for folder in ("flink_job", "operators", "state", "sketches"):
        assert f"| `{folder}/` |" in CONTRIBUTING


def test_the_example_kind_of_contributing_works_from_event_to_result(tmp_path: Path) -> None:
    """In a process of its own, since kinds are found once, when the pipeline's models are made."""
    (example,) = blocks(CONTRIBUTING, "python")
    (metric,) = re.findall(r"`(\{name: coldest, .*?\}\]\})`", CONTRIBUTING)
    kinds = tmp_path / "kinds"
    kinds.mkdir()
    (kinds / "min.py").write_text(example, encoding="utf-8")
    script = tmp_path / "run_it.py"
    script.write_text(RUN_IT, encoding="utf-8")
    plan = {
        "name": "rooms",
        "event": {
            "fields": {"room": "string", "celsius": "double", "ms": "long"},
            "time": {"field": "ms", "unit": "ms"},
        },
        "metrics": [yaml.safe_load(metric)],
    }
    done = subprocess.run(
        [sys.executable, str(script), str(ROOT), str(TESTS), str(kinds), json.dumps(plan)],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    answers = {result["key"]["room"]: result for result in json.loads(done.stdout)}
    expected = {"attic": (-3.5, 4), "cellar": (8.25, 2), "hall": (None, 1)}
    assert {room: (answer["value"], answer["events"]) for room, answer in answers.items()} == expected
    assert all(answer["kind"] == "min" and answer["confidence"] == 1.0 for answer in answers.values())


RUN_IT = """
import json, sys
root, tests, folder, plan = sys.argv[1:]
sys.path[:0] = [root, tests]
import operators.metrics
operators.metrics.__path__.append(folder)
from engine import Engine
from flink_job.pipeline.spec import Pipeline
assert Pipeline.model_json_schema()["properties"]["metrics"]["items"]["discriminator"]["mapping"]["min"]
engine = Engine(json.loads(plan), follow=True)
def event(room, celsius, ms):
    return {"room": room, "celsius": celsius, "ms": ms}
engine.send(event("attic", 1.5, 1), event("cellar", 9.0, 2), event("hall", None, 3), event("attic", None, 4))
engine.send(event("cellar", 8.25, 5), event("attic", -3.5, 6), event("attic", 7.0, 7))
engine.end()
print(json.dumps(engine.results))
"""
