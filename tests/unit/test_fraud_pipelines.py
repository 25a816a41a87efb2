"""The pipelines for payments as they are shipped: their rules find the planted frauds and nothing else."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml
from rule_job import RuleJob

from flink_job.pipeline.reading import load_pipeline
from flink_job.simulation.payers import KINDS
from flink_job.simulation.simulation import Simulation, SimulatorSpec
from operators.plan import Plan

FOLDER = Path(__file__).resolve().parents[2] / "pipelines"
NAMES = ("fraud.yaml", "fraud_kafka.yaml")


def document(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


def plan(name: str) -> Plan:
    return Plan.model_validate_json(load_pipeline(FOLDER / name, environment={}).plan_json())


@pytest.mark.parametrize("name", NAMES)
def test_the_files_are_right_and_do_not_know_the_label(name: str) -> None:
    features = plan(name).resolved_features()
    assert "planted" not in features.events
    read = {column for rule in plan(name).resolved_rules() for column in rule.columns}
    assert {column.name for column in features.columns} <= read


def test_there_is_one_rule_for_each_kind_of_fraud_and_limits_can_be_moved() -> None:
    rules = plan("fraud.yaml").rules
    assert sorted(rule.name for rule in rules) == sorted(KINDS)
    assert all(rule.decide and rule.text for rule in rules)
    (limit,) = next(rule.parameters for rule in rules if rule.name == "large").values()
    assert limit.min < limit.value < limit.max


def test_both_files_have_the_same_events_features_and_rules() -> None:
    one, other = map(document, NAMES)
    for key in ("features", "rules", "decide"):
        assert one[key] == other[key]
    for key in ("fields", "time", "require", "checks"):
        assert one["event"][key] == other["event"][key]


def test_the_source_that_comes_with_it_has_every_kind_of_fraud() -> None:
    spec = SimulatorSpec(**document("fraud.yaml")["source"])
    lines = Simulation(spec).chunk(0, spec.events).splitlines()
    found = Counter(event.get("planted") for event in map(json.loads, lines))
    assert set(found) == {None, *KINDS} and min(found.values()) >= 3


@pytest.mark.parametrize(
    "options",
    [
        {"seed": 1, "users": 300, "event_rate": 0.2, "events": 8_000},
        {"seed": 2, "users": 150, "event_rate": 0.1, "events": 6_000, "disorder": "10s"},
        pytest.param({"seed": 42, "events": 200_000, "fraud_share": 0.01}, marks=pytest.mark.slow),
    ],
)
def test_each_planted_fraud_raises_one_alert_of_the_rule_of_its_name_and_nothing_else_does(
    options: dict[str, Any],
) -> None:
    spec = SimulatorSpec(**{"scenario": "payments", "fraud_share": 0.05} | options)
    events = [json.loads(line) for line in Simulation(spec).chunk(0, spec.events).splitlines()]
    planted = {event["payment_id"]: event["planted"] for event in events if "planted" in event}
    assert set(planted.values()) == set(KINDS)

    job = RuleJob(plan("fraud.yaml"))
    for first in range(0, len(events), 1_500):
        job.send(*events[first : first + 1_500])
        job.move_watermark(events[min(first + 1_499, len(events) - 1)]["ts"] - 10_000)
    job.end()

    raised = Counter((alert["event_id"], alert["rule"]) for alert in job.alerts)
    assert raised == Counter(planted.items())
    asked = {rule.name: rule.decide for rule in job.plan.rules}
    assert Counter((answer["event_id"], answer["decision"]) for answer in job.decisions) == Counter(
        (event["payment_id"], asked.get(event.get("planted"), "approve")) for event in events
    )
