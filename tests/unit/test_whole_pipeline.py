"""A pipeline file with every key there is: all are taken, and what cannot be run yet is refused by name."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from flink_job.cli import main
from flink_job.pipeline.reading import PipelineProblem, load_pipeline

WHOLE = r"""
name: ecommerce
profile: latency
parallelism: 2
max_parallelism: 128
checkpoints: {every: 10s, dir: "file:///tmp/checkpoints", keep: 3}
source:
  type: kafka
  brokers: "localhost:9092"
  topic: events
  group: shop
  start: 2026-01-01T00:00:00Z
  stop: latest
  properties: {fetch.min.bytes: "1"}
  format: ndjson
event:
  fields:
    user_id: string
    action: string
    item_id: string
    value: double
    quantity: long
    text: string
    url: {path: request.url, type: string}
    ts: long
  derive:
    amount: {expr: "value * quantity"}
    tags: {from: text, extract: '#(\w+)', all: true}
    product: {from: url, extract: '^/product/(\d+)'}
  time: {field: ts, unit: ms}
  out_of_orderness: 5s
  idle_timeout: 30s
  on_idle: advance
  min_time: 1970-01-01
  max_future: 1h
  require: [user_id, action]
  checks: ["value >= 0"]
allowed_lateness: 1m
emit_every: 10s
metrics:
  - {name: unique_users, kind: distinct, of: user_id, by: [action], lg_k: 14, windows: [{tumbling: 5m}, {sliding: 5m, every: 1m}]}
  - {name: visits, kind: count, by: [user_id], windows: [{session: 30m}]}
  - {name: revenue, kind: sum, of: amount, where: "action = 'purchase'", windows: [{tumbling: 1d, offset: 8h}]}
  - {name: top_items, kind: top_k, of: item_id, k: 10, weight: quantity, windows: [{sliding: 5m, every: 1m}]}
  - {name: item_frequency, kind: frequency, of: item_id, epsilon: 0.005, delta: 0.01, ask: [item_1, item_2], windows: [{tumbling: 1m}]}
  - {name: basket_value, kind: quantiles, of: value, at: [0.5, 0.95, 0.99], windows: [{tumbling: 1h}]}
  - {name: temperature, kind: stats, of: value, by: [item_id], windows: [{tumbling: 1m}], allowed_lateness: 2m, emit_every: 1s}
  - {name: current, kind: last, of: value, by: [item_id], windows: [{tumbling: 1m}]}
  - name: conversion
    kind: ratio
    numerator: {kind: distinct, of: user_id, where: "action = 'purchase'"}
    denominator: {kind: distinct, of: user_id}
    windows: [{tumbling: 1h}]
sinks:
  results: {type: kafka, topic: results, with_sketch: true}
  late: {type: file, path: late}
  rejects: {type: print}
"""  # noqa: E501 - lines as a user writes them


def written(folder: Path, **sections: Any) -> Path:
    document = yaml.safe_load(WHOLE)
    for name, keys in sections.items():
        document[name] = {**document[name], **keys}
        document[name] = {key: value for key, value in document[name].items() if value is not None}
    path = folder / "whole.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def test_every_key_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "whole.yaml"
    path.write_text(WHOLE)
    pipeline = load_pipeline(path)
    assert [metric.name for metric in pipeline.resolved_metrics()] == [
        "unique_users", "visits", "revenue", "top_items", "item_frequency", "basket_value", "temperature",
        "current", "conversion",
    ]  # fmt: skip
    assert (pipeline.source.topic, pipeline.source.stop, pipeline.source.format) == (
        "events",
        "latest",
        "ndjson",
    )
    lateness = {metric.name: metric.allowed_lateness_ms for metric in pipeline.resolved_metrics()}
    assert (lateness["temperature"], lateness["visits"]) == (120_000, 60_000)


def test_the_record_s_time_goes_with_kafka(tmp_path: Path) -> None:
    times = {"time": {"kafka_timestamp": True}}
    assert load_pipeline(written(tmp_path, event=times)).event.time.kafka_timestamp


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"topic": None}, "source: expected one of topic, topics and pattern, got none"),
        ({"topics": ["a"]}, "source: expected one of topic, topics and pattern, got topic and topics"),
        ({"brokers": "localhost"}, "source.brokers: expected text that matches"),
        ({"start": "newest"}, "source.start: expected earliest, latest, committed or an ISO time"),
        ({"stop": "now"}, "source.stop: expected 'never' or 'latest', got 'now'"),
        ({"topik": "a"}, "source.topik: unknown key (did you mean topic?)"),
    ],
)
def test_wrong_kafka_options_are_told_by_key(tmp_path: Path, source: dict[str, Any], told: str) -> None:
    with pytest.raises(PipelineProblem) as problem:
        load_pipeline(written(tmp_path, source=source))
    assert told in str(problem.value)


def test_a_kafka_sink_without_brokers_needs_a_kafka_source(tmp_path: Path) -> None:
    path = written(tmp_path)
    document = yaml.safe_load(path.read_text())
    files = copy.deepcopy(document) | {"source": {"type": "file", "path": "x"}}
    path.write_text(yaml.safe_dump(files))
    with pytest.raises(PipelineProblem, match=r"sinks.results.brokers: is missing"):
        load_pipeline(path)


@pytest.mark.parametrize("options", [["--port", "0"], ["--cluster", "localhost:1"]])
def test_a_broker_or_a_cluster_that_is_not_there_is_told_in_one_message(
    options: list[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path)
    assert CliRunner().invoke(main, ["check", str(path)]).exit_code == 0
    ran = CliRunner().invoke(main, ["run", str(path), "--set=source.brokers=localhost:1", *options])
    assert ran.exit_code == 1
    missing = "no Flink cluster answers at" if "--cluster" in options else "No Kafka broker can be reached:"
    assert ran.output.startswith(f"{missing} localhost:1") and "Traceback" not in ran.output


def test_checkpoints_must_be_done_before_a_transaction_ends(tmp_path: Path) -> None:
    path = written(tmp_path)
    ran = CliRunner().invoke(main, ["check", str(path), "--set=checkpoints.every=6m"])
    assert ran.exit_code == 2 and "checkpoints.every: expected at most 5m" in ran.output
    own = "--set=sinks.results.properties={transaction.timeout.ms: '3600000'}"
    assert CliRunner().invoke(main, ["check", str(path), "--set=checkpoints.every=6m", own]).exit_code == 0


BARE = """
name: bare
source: {type: simulator, scenario: payments, events: 10}
event: {fields: {user_id: string, amount: double, ts: long}, time: {field: ts, unit: ms}}
"""


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (
            "rule_changes: {topic: rules, brokers: 'a:1'}",
            "rule_changes: needs features or metrics, that rules could be on",
        ),
        (
            "features: {of: user_id}\ndecide: {}\nrules: [{name: r, metric: m, when: value > 1}]",
            "rules.r.metric: there are no metrics, got 'm'",
        ),
        (
            "features: {of: user_id}\ndecide: {}\nsinks: {late: {type: file, path: late}}",
            "sinks.late: needs metrics",
        ),
    ],
)
def test_what_needs_metrics_is_refused_without_any(tmp_path: Path, more: str, told: str) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(BARE + more)
    with pytest.raises(PipelineProblem, match=told):
        load_pipeline(file)


def test_without_metrics_there_are_no_results_and_nothing_is_late(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_text(BARE + "features: {of: user_id}\ndecide: {}")
    assert load_pipeline(file).outputs() == ("rejects", "alerts", "decisions")
