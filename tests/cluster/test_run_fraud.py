"""Payments through a real job: each planted fraud is told once, by its rule, and each payment is answered."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from cluster_runs import Finished, run_pipeline, shipped_pipeline
from processes import Run, read_output, write_pipeline
from waiting import wait_for

from flink_job.simulation.simulation import Simulation, SimulatorSpec
from flink_job.sinks.file_sink import read_lines

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

EVENTS = 30_000
OPTIONS = {"events": EVENTS, "users": 1_500, "event_rate": 1.0, "fraud_share": 0.03, "disorder": "5s"}


@pytest.fixture(scope="module")
def fraud(
    tmp_path_factory: pytest.TempPathFactory, project_root: Path
) -> tuple[Finished, dict[str, list[dict[str, Any]]]]:
    """A run over simulated payments, and its outputs that are not of windows."""
    folder = tmp_path_factory.mktemp("fraud")
    run = run_pipeline(folder, shipped_pipeline(project_root, "fraud.yaml", **OPTIONS))
    decisions = read_lines(folder / ".sketchstream" / "fraud" / "decisions")
    told = {"alerts": run.alerts, "decisions": [json.loads(line) for line in decisions]}
    return run, told


def payments() -> list[dict[str, Any]]:
    lines = Simulation(SimulatorSpec(scenario="payments", **OPTIONS)).chunk(0, EVENTS).splitlines()
    return [json.loads(line) for line in lines]


def test_each_planted_fraud_is_told_once_by_its_rule_and_nothing_else_is(
    fraud: tuple[Finished, dict[str, list[dict[str, Any]]]], project_root: Path
) -> None:
    _, told = fraud
    rules = {rule["name"]: rule for rule in shipped_pipeline(project_root, "fraud.yaml")["rules"]}
    planted = {event["payment_id"]: event["planted"] for event in payments() if "planted" in event}
    assert set(planted.values()) == set(rules)
    raised = Counter((alert["event_id"], alert["rule"]) for alert in told["alerts"])
    assert raised == Counter(planted.items())
    assert len({alert["id"] for alert in told["alerts"]}) == len(planted)
    by_id = {event["payment_id"]: event for event in payments()}
    for alert in told["alerts"]:
        event = by_id[alert["event_id"]]
        assert (alert["status"], alert["severity"]) == ("firing", rules[alert["rule"]]["severity"])
        assert (alert["key"], alert["event_time_ms"]) == ({"user_id": event["user_id"]}, event["ts"])
        assert "{" not in alert["text"]


def test_each_payment_is_answered_once_as_the_rule_that_spoke_asks_for(
    fraud: tuple[Finished, dict[str, list[dict[str, Any]]]], project_root: Path
) -> None:
    _, told = fraud
    asked = {rule["name"]: rule["decide"] for rule in shipped_pipeline(project_root, "fraud.yaml")["rules"]}
    expected = {event["payment_id"]: asked.get(event.get("planted"), "approve") for event in payments()}
    assert Counter((answer["event_id"], answer["decision"]) for answer in told["decisions"]) == Counter(
        expected.items()
    )
    for answer in told["decisions"]:
        assert bool(answer["rules"]) == (answer["decision"] != "approve")


def test_the_numbers_over_hours_add_up(fraud: tuple[Finished, dict[str, list[dict[str, Any]]]]) -> None:
    run, _ = fraud
    events = payments()
    assert (run.outcome["events"], run.rejects, run.late) == (EVENTS, [], [])
    assert sum(answer["value"] for answer in run.of("payments")) == EVENTS
    turnover = sum(answer["value"] for answer in run.of("turnover"))
    assert turnover == pytest.approx(sum(event["amount"] for event in events))
    new = sum(answer["new"] for answer in run.of("new_payers"))
    assert new == pytest.approx(len({event["user_id"] for event in events}), rel=0.02)


def test_rules_need_no_metrics(
    fraud: tuple[Finished, dict[str, list[dict[str, Any]]]], project_root: Path, tmp_path: Path
) -> None:
    _, told = fraud
    alone = shipped_pipeline(project_root, "fraud.yaml", **OPTIONS)
    del alone["metrics"]
    run = run_pipeline(tmp_path, alone)
    assert (run.outcome["events"], run.outcome["results"]) == (EVENTS, 0)
    assert set(run.outcome["folders"]) == {"rejects", "alerts", "decisions"}
    assert {alert["id"] for alert in run.alerts} == {alert["id"] for alert in told["alerts"]}


def test_rules_can_have_a_worker_of_their_own(
    fraud: tuple[Finished, dict[str, list[dict[str, Any]]]],
    project_root: Path,
    tmp_path: Path,
    runs: list[Run],
) -> None:
    _, told = fraud
    apart = shipped_pipeline(project_root, "fraud.yaml", **OPTIONS) | {
        "parallelism": 1,
        "rules_own_slots": True,
    }
    apart["sinks"] = {"alerts": {"type": "file", "path": "alerts"}}
    write_pipeline(tmp_path, apart)
    runs.append(Run(tmp_path, "run", "pipeline.yaml", "--json", "--port", "0"))
    wait_for(lambda: len(runs[0].worker_ids()) == 2, "two workers", lambda: runs[0].process.poll() is None)
    assert runs[0].outcome()["events"] == EVENTS
    raised = {alert["id"] for alert in read_output(tmp_path / "alerts")}
    assert raised == {alert["id"] for alert in told["alerts"]}
