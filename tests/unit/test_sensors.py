"""`pipelines/sensors.yaml`: what its rules say of simulated sensors, and of real, labelled series."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from engine import Engine
from numenta import DAY_MS, HOUR_MS, Series, drifts, in_one_stream, read_part, read_series, window_means
from rule_inputs import Running
from sensor_readings import BEGIN, LEAK, OPEN_DOOR, RACING_HEART, SILENCE, lines

from flink_job.pipeline.reading import load_pipeline
from operators.rules.rule_spec import Rule

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ROOT / "pipelines" / "sensors.yaml"
READINGS = ROOT / "pipelines" / "sensors.csv.gz"
PART = ROOT / "tests" / "data"

# Found, labelled, false. The rule's parameters were chosen on the first two series.
DRIFT = {
    "machine": (4, 4, 2),
    "taxi": (5, 5, 17),
    "ambient": (2, 2, 18),
    "cpu": (1, 1, 2),
    "twitter": (3, 4, 1),
}
SIGMAS = {
    "machine": (3, 4, 0),
    "taxi": (2, 5, 5),
    "ambient": (2, 2, 2),
    "cpu": (1, 1, 0),
    "twitter": (2, 4, 1),
}
HOURLY_SIGMAS = {
    "machine": (4, 4, 5),
    "taxi": (0, 5, 0),
    "ambient": (2, 2, 15),
    "cpu": (1, 1, 13),
    "twitter": (3, 4, 6),
}


def shipped() -> dict[str, Any]:
    return yaml.safe_load(SHIPPED.read_text(encoding="utf-8"))


def drift_rule() -> dict[str, Any]:
    """The shipped rule, for sensors that send less often than the shipped ones."""
    (rule,) = (rule for rule in shipped()["rules"] if rule["name"] == "drift")
    return rule | {"parameters": rule["parameters"] | {"least": {"value": 1}}}


def three_sigma(rule: Mapping[str, Any]) -> dict[str, Any]:
    """The same rule with three deviations, at once, and over as soon as it does not hold."""
    kept = {key: rule[key] for key in ("metric", "before", "when")}
    return kept | {"name": "three_sigma", "parameters": {"away": {"value": 3}, "least": {"value": 1}}}


def run(
    events: Iterable[Mapping[str, Any]], rules: Iterable[Mapping[str, Any]]
) -> tuple[list[dict[str, Any]], Engine]:
    """The alerts of these rules on the results of the metrics that they are on."""
    pipeline, rules = shipped(), list(rules)
    wanted = {rule["metric"] for rule in rules}
    plan = {key: pipeline[key] for key in ("name", "event", "allowed_lateness")}
    plan["metrics"] = [metric for metric in pipeline["metrics"] if metric["name"] in wanted]
    engine = Engine(plan, follow=True)
    engine.send(*events)
    engine.end()
    running = Running(engine.plan, [Rule.model_validate(rule) for rule in rules])
    return running.send(*engine.results), engine


def began(alerts: Iterable[Mapping[str, Any]], rule: str, sensor: str) -> list[int]:
    return [
        alert["event_time_ms"]
        for alert in alerts
        if (alert["status"], alert["rule"], alert["key"]["sensor"]) == ("firing", rule, sensor)
    ]


def expected_drifts(one: Series, away: float, held_for: int, clear: float) -> list[int]:
    return drifts(*window_means(one, DAY_MS, HOUR_MS), 840, away, held_for, clear)


def reading(row: Mapping[str, str]) -> dict[str, Any]:
    try:
        return {**row, "value": float(row["value"])}
    except ValueError:
        return dict(row)


def test_the_shipped_pipeline_has_rules_on_all_of_its_metrics() -> None:
    pipeline = load_pipeline(SHIPPED, environment={})
    assert {rule.metric for rule in pipeline.rules} == {metric.name for metric in pipeline.metrics}
    conditions = " ".join(rule.when for rule in pipeline.rules if rule.when)
    assert set(conditions.split("'")[1::2]) == {"temperature", "humidity", "pressure", "heart_rate"}


def test_the_shipped_readings_are_what_the_script_writes() -> None:
    with gzip.open(READINGS, "rt", encoding="utf-8") as file:
        assert file.read().splitlines() == list(lines())


@pytest.mark.slow
def test_rules_find_what_is_wrong_with_the_simulated_sensors_and_nothing_else() -> None:
    with gzip.open(READINGS, "rt", encoding="utf-8") as file:
        events = [reading(row) for row in csv.DictReader(file)]

    alerts, engine = run(events, shipped()["rules"])

    begin_ms, minute = int(BEGIN.timestamp() * 1000), 60_000
    reasons = Counter(reject["reason"] for reject in engine.rejects)
    wrong = [line.rpartition(",")[2] for line in lines()]
    assert reasons["wrong_type"] == wrong.count("#ERR") > 0
    assert reasons["failed_check"] == sum(value in ("-999.0", "131", "-1.00", "512") for value in wrong) > 0
    assert set(reasons) == {"wrong_type", "failed_check"}

    def days(name: str, sensor: str, status: str = "firing") -> list[float]:
        return [
            (alert["event_time_ms"] - begin_ms) / DAY_MS
            for alert in alerts
            if (alert["rule"], alert["key"]["sensor"], alert["status"]) == (name, sensor, status)
        ]

    fired = {(alert["rule"], alert["key"]["sensor"]) for alert in alerts}
    assert fired == {
        ("temperature_out_of_range", "cold_room"),
        ("heart_rate_out_of_range", "wearer"),
        ("pressure_out_of_range", "line"),
        ("silent", "store"),
        ("drift", "line"),
    }
    tolerance = 11 * minute / DAY_MS  # two windows in a row, and the end of the second
    for name, sensor, span in (
        ("temperature_out_of_range", "cold_room", OPEN_DOOR),
        ("heart_rate_out_of_range", "wearer", RACING_HEART),
    ):
        assert days(name, sensor) == [pytest.approx(span[0], abs=tolerance)]
        assert days(name, sensor, "resolved") == [pytest.approx(span[1], abs=tolerance)]
    assert days("silent", "store") == [pytest.approx(SILENCE[0] + 15 * minute / DAY_MS, abs=tolerance)]
    assert days("silent", "store", "resolved") == [pytest.approx(SILENCE[1], abs=tolerance)]
    (drift,), (out_of_range,) = days("drift", "line"), days("pressure_out_of_range", "line")
    assert LEAK < drift < out_of_range - 0.25, "drift is told hours before the pressure is out of range"


def test_drift_finds_both_labelled_anomalies_of_three_weeks_of_a_real_machine() -> None:
    part = read_part(PART)

    alerts, _ = run(part.events(), [drift_rule()])

    told = began(alerts, "drift", "machine")
    assert told == expected_drifts(part, 1.75, 3, 0.875)
    assert part.score(told).told() == (2, 2, 1)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_drift_finds_more_labelled_anomalies_than_three_sigma_with_less_than_one_false_alert_a_week(
    data_folder: Path,
) -> None:
    series = read_series(data_folder)
    rule = drift_rule()

    alerts, engine = run(in_one_stream(series.values()), [rule, three_sigma(rule)])

    assert not engine.late and not engine.rejects
    for name, one in series.items():
        drift, sigmas = (began(alerts, rule, name) for rule in ("drift", "three_sigma"))
        assert drift == expected_drifts(one, 1.75, 3, 0.875), name
        assert sigmas == expected_drifts(one, 3, 1, 3), name
        assert one.score(drift).told() == DRIFT[name]
        assert one.score(drift).is_good(), name
        assert one.score(sigmas).told() == SIGMAS[name]


def test_three_sigma_over_hours_misses_all_of_one_series_and_is_false_too_often_in_another(
    data_folder: Path,
) -> None:
    scores = {}
    for name, one in read_series(data_folder).items():
        scores[name] = one.score(drifts(*window_means(one, HOUR_MS, HOUR_MS), 840, 3, 1, 3))
    assert {name: score.told() for name, score in scores.items()} == HOURLY_SIGMAS
    assert [name for name, score in scores.items() if not score.is_good()] == ["taxi", "cpu"]


def test_a_score_counts_each_window_once_and_every_alert_outside_of_all(tmp_path: Path) -> None:
    one = read_part(PART)
    (first, last), (later, _) = one.labelled
    score = one.score([first - 1, first, last, last + 1, later])
    assert score.told() == (2, 2, 2)
    assert score.weeks == pytest.approx(21.1 / 7, abs=0.01)
    assert one.score([]).told() == (0, 2, 0)
    events = in_one_stream([one])
    assert json.dumps(events[0]) == (
        '{"time": "2013-12-02T21:15:00Z", "sensor": "machine", "kind": "other", "value": 73.96732207}'
    )
