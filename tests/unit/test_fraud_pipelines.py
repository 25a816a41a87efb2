"""The pipelines for payments as they are shipped: what they say fits together, and fits the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from flink_job.pipeline.spec import Pipeline
from flink_job.simulation.payers import KINDS
from operators.rules.compiled_rule import CompiledRule, compile_rule
from operators.rules.feature_spec import FeaturesSpec
from operators.rules.rule_spec import DecideSpec, Rule

FOLDER = Path(__file__).resolve().parents[2] / "pipelines"
NAMES = ("fraud.yaml", "fraud_kafka.yaml")
OF_RULES = ("features", "rules", "decide")
OF_COLUMN = {
    "count": "long", "sum": "double", "distinct": "long", "first": "bool", "deviations": "double",
    "speed": "double",
}  # fmt: skip


def document(name: str) -> dict[str, Any]:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8").replace("${STOP:-never}", "never"))


def compiled(name: str) -> list[CompiledRule]:
    given = document(name)
    features = FeaturesSpec(**given["features"])
    columns = {**given["event"]["fields"]}
    columns |= {column: OF_COLUMN[feature.kind] for column, feature in features.columns.items()}
    return [compile_rule(Rule(**rule), 1, columns, {}) for rule in given["rules"]]


@pytest.mark.parametrize("name", NAMES)
def test_rules_read_columns_and_features_that_there_are(name: str) -> None:
    given = document(name)
    features = FeaturesSpec(**given["features"])
    assert {features.of, features.id} <= set(given["event"]["fields"]) - {"planted"}
    read = {column for rule in compiled(name) for column in rule.columns}
    assert set(features.columns) <= read
    DecideSpec(**given["decide"])


def test_there_is_one_rule_for_each_kind_of_fraud_and_limits_can_be_moved() -> None:
    rules = [rule.rule for rule in compiled("fraud.yaml")]
    assert sorted(rule.name for rule in rules) == sorted(KINDS)
    assert all(rule.decide and rule.text for rule in rules)
    (limit,) = next(rule.parameters for rule in rules if rule.name == "large").values()
    assert limit.min < limit.value < limit.max


def test_both_pipelines_have_the_same_events_features_and_rules() -> None:
    one, other = map(document, NAMES)
    for key in OF_RULES:
        assert one[key] == other[key]
    assert one["event"]["fields"] == other["event"]["fields"]
    assert one["event"]["checks"] == other["event"]["checks"]


@pytest.mark.parametrize("name", NAMES)
def test_all_other_keys_are_right(name: str) -> None:
    given = {key: value for key, value in document(name).items() if key not in OF_RULES}
    Pipeline.model_validate(given)
