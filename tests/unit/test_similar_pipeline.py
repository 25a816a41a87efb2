"""The list `similar` of a pipeline file: what is refused and filled in, what workers and Kafka are told."""

from __future__ import annotations

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from rich.console import Console
from similar_entries import PROFILE, entry, plan, write_items

from flink_job.cli import main
from flink_job.commands.examination import kafka
from flink_job.pipeline.reading import PipelineProblem, load_pipeline
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.began import expect_same_shape, write_began
from flink_job.sources import side_topics as module
from flink_job.sources.opening import open_source
from flink_job.sources.side_topics import check_beside, with_brokers
from flink_job.sources.source import SourceProblem
from operators.plan import Plan

FROM_KAFKA = {"type": "kafka", "topic": "catalogue"}


def document(*entries: dict[str, Any], **options: Any) -> dict[str, Any]:
    return plan(*entries) | {"source": {"type": "simulator", "events": 10}} | options


def loaded(folder: Path, *entries: dict[str, Any], **options: Any) -> Pipeline:
    path = folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document(*entries, **options)), encoding="utf-8")
    return load_pipeline(path)


def kafka_source(**options: Any) -> dict[str, Any]:
    return {"type": "kafka", "brokers": "a:1", "topic": "events", **options}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"dimention": 3}, "similar.like.dimention: unknown key (did you mean dimension?)"),
        ({"kind": "nearest"}, "similar.like.kind: expected 'similar', got 'nearest'"),
        ({"items": {"type": "s3"}}, "similar.like.items: expected one of file, kafka, got 's3'"),
        ({"items": {"path": "x"}}, "similar.like.items: type is missing; expected one of file, kafka"),
        ({"items": {"type": "file"}}, "similar.like.items.path: is missing"),
        ({"items": FROM_KAFKA | {"group": "g"}}, "similar.like.items.group: unknown key; allowed here: brok"),
        ({"items": FROM_KAFKA}, "similar.like.items.brokers: is missing, and the source has none"),
        ({"items": FROM_KAFKA | {"brokers": "nowhere"}}, "similar.like.items.brokers: expected text that"),
        ({"query": {"items": "item"}}, "similar.like.query.items: unknown key (did you mean item?)"),
        ({"query": {}}, "similar.like.query: expected one of item, text and user, got none"),
        ({"query": {"item": "itm"}}, "similar.like.query.item: there is no column 'itm'"),
        ({"query": {"user": "user"}, "profile": {"of": "user"}}, "similar.like.profile.touched: is missing"),
        (
            {"query": {"user": "user"}, "profile": PROFILE | {"half_life": "7"}},
            "similar.like.profile.half_life: expected a duration such as 500ms",
        ),
        ({"dimension": "many"}, "similar.like.dimension: expected a valid integer"),
        ({"index": "exact"}, "similar.like.index: expected 'auto', 'flat', 'hnsw' or 'ivf', got 'exact'"),
        ({"k": 5000}, "similar.like.k: expected less than or equal to 1000, got 5000"),
        ({"where": "n >"}, "similar.like.where: "),
    ],
)
def test_a_wrong_entry_is_refused_with_the_key_and_what_is_allowed(
    options: dict[str, Any], told: str, tmp_path: Path
) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document(entry(**options))), encoding="utf-8")
    ran = CliRunner().invoke(main, ["check", str(path)])
    assert ran.exit_code == 2, ran.output
    lines = ran.output.splitlines()
    assert f"{path}: {told}" in lines[0] and "Traceback" not in ran.output, ran.output


def test_what_is_left_out_is_filled_in_and_there_is_an_output(tmp_path: Path) -> None:
    pipeline = loaded(tmp_path, entry())
    (like,) = pipeline.similar
    assert (like.kind, like.item, like.vector, like.text) == ("similar", "item_id", "vector", None)
    assert (like.index, like.k, like.shards, like.where) == ("auto", 10, 8, None)
    assert pipeline.outputs() == ("results", "late", "rejects", "similar")
    assert pipeline.output_folder("similar") == pipeline.run_folder() / "similar"
    assert not pipeline.uses_kafka()
    assert loaded(tmp_path).outputs() == ("results", "late", "rejects")


def test_a_sink_for_answers_needs_an_entry(tmp_path: Path) -> None:
    sinks = {"similar": {"type": "file", "path": "answers"}}
    assert loaded(tmp_path, entry(), sinks=sinks).output_folder("similar") == Path("answers")
    with pytest.raises(PipelineProblem, match=r"sinks\.similar: needs an entry in the list similar"):
        loaded(tmp_path, sinks=sinks)


def test_the_schema_of_the_file_has_every_key_of_an_entry(tmp_path: Path) -> None:
    with pytest.raises(PipelineProblem) as problem:
        loaded(tmp_path, entry(zzz=1))
    allowed = problem.value.problems[0].partition("allowed here: ")[2].split(", ")
    known = Pipeline.model_json_schema()["$defs"]["SimilarEntry"]["properties"]
    assert allowed == sorted(known) and "items" in allowed


def test_workers_are_told_where_files_are_and_nothing_of_kafka(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    secret = {"brokers": "b:1", "properties": {"sasl.jaas.config": "password=hunter2"}}
    pipeline = loaded(tmp_path, entry(), entry(name="other", items=FROM_KAFKA | secret))
    text = pipeline.plan_json()
    assert "hunter2" not in text and "catalogue" not in text
    of_file, streamed = Plan.model_validate_json(text).similar
    assert (of_file.items.path, streamed.items.type) == (str(tmp_path / "items.jsonl"), "kafka")
    assert pipeline.uses_kafka()


def test_files_that_are_not_there_are_told_before_the_job_starts(tmp_path: Path) -> None:
    pipeline = loaded(tmp_path, entry(items={"type": "file", "path": str(tmp_path / "*.jsonl")}))
    console = Console(file=io.StringIO())
    with pytest.raises(SourceProblem, match=r"similar\.like\.items\.path: no file matches '.*\*\.jsonl'"):
        open_source(pipeline, False, console)
    write_items(tmp_path / "items.jsonl", {"a": [1, 0]})
    open_source(pipeline, False, console)


def test_a_topic_of_items_is_looked_at_before_the_job_starts_with_the_login_of_the_source(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    properties = {"security.protocol": "SSL", "fetch.min.bytes": "9"}
    pipeline = loaded(tmp_path, entry(items=FROM_KAFKA), source=kafka_source(properties=properties))
    looked: list[Any] = []
    monkeypatch.setattr(module, "partitions_of_source", looked.append)
    check_beside(pipeline, Console(file=io.StringIO()))
    assert [(spec.brokers, spec.topic, spec.properties) for spec in looked] == [
        ("a:1", "catalogue", {"security.protocol": "SSL"})
    ]
    ends = [(end, brokers) for end, brokers, _, _ in kafka._ends(pipeline)]
    assert ends == [("source", "a:1"), ("topic of similar.like.items", "a:1")]


@pytest.mark.parametrize("bounded", [False, True])
def test_a_topic_of_items_is_read_from_its_beginning_and_ends_only_where_the_events_do(
    bounded: bool, tmp_path: Path
) -> None:
    pipeline = loaded(tmp_path, entry(items=FROM_KAFKA), source=kafka_source())
    options = module._options(with_brokers(pipeline.similar[0].items, pipeline), "g", bounded)
    assert options["scan.startup.mode"] == "earliest-offset" and options["topic"] == "catalogue"
    assert options["properties.bootstrap.servers"] == "a:1"
    assert options["properties.isolation.level"] == "read_committed"
    assert options.get("scan.bounded.mode") == ("latest-offset" if bounded else None)


@pytest.mark.parametrize(
    ("options", "key"),
    [
        ({"dimension": 3}, "similar.like.dimension: was 2"),
        ({"shards": 4}, "similar.like.shards: was 8"),
        ({"profile": PROFILE | {"touched": "text"}}, "similar.like.profile: was"),
        ({"items": FROM_KAFKA | {"topic": "x", "brokers": "a:1"}}, "similar.like.items: was"),
    ],
)
def test_going_on_with_an_entry_that_means_something_else_is_refused(
    options: dict[str, Any], key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = entry(query={"user": "user"}, profile=PROFILE, items=FROM_KAFKA | {"brokers": "a:1"})
    pipeline = loaded(tmp_path, own)
    pipeline.run_folder().mkdir(parents=True)
    write_began(pipeline)
    free = {"where": "n = 1", "k": 3, "index": "flat", "items": own["items"] | {"brokers": "b:1"}}
    expect_same_shape(loaded(tmp_path, own | free))
    expect_same_shape(loaded(tmp_path, entry(name="other")))
    with pytest.raises(PipelineProblem) as problem:
        expect_same_shape(loaded(tmp_path, own | options))
    assert key in str(problem.value)


def test_an_entry_can_be_overridden_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(json.dumps(copy.deepcopy(document(entry()))), encoding="utf-8")
    assert load_pipeline(path, ["similar.like.k=3"]).similar[0].k == 3
