"""The Flink function of rules: records in, alerts and decisions out, timers, broadcast changes, gauges."""

from __future__ import annotations

import json
from typing import Any

import pytest
from operator_chain import BroadcastMap, Context, Ingested, Messages
from pyflink.datastream import TimeDomain
from rule_job import plan

from operators.ingest.branches import RULES
from operators.plan import Plan
from operators.records import RuleChange, encode
from operators.rules.rule_functions import ChangingRules
from operators.rules.rules_worker import ALERTS, DECISIONS, RulesWorker

LARGE = {"name": "large", "when": "amount > 100", "decide": "review"}
UNPAID = {"name": "unpaid", "when": "shop = 'order'", "unless": "shop = 'pay'", "within": "1m"}


class Operator:
    """Ingest and the function of rules, with Flink's part played by this class."""

    def __init__(self, plan: Plan, after: Operator | None = None) -> None:
        text = plan.model_dump_json(by_alias=True)
        self.ingest_context, self.context = Context(), Context()
        self.changes = BroadcastMap() if after is None else after.changes
        self.timers: set[tuple[int, bool, str]] = set() if after is None else set(after.timers)
        if after is not None:
            self.context.maps = after.context.maps
        self.ingest = Ingested(text, '"json"', Messages(), False, None, False)
        self.rules = ChangingRules(RulesWorker(text))
        self.ingest.open(self.ingest_context)
        self.rules.open(self.context)
        self.watermark_ms, self.alerts, self.decisions = -(2**63), [], []

    def send(self, *events: dict[str, Any]) -> None:
        for branch, shard, record in self.ingest.sent(*(json.dumps(event).encode() for event in events)):
            if branch == RULES:
                self._turn_to(shard)
                self._take(self.rules.process_element(record, self))

    def change(self, name: str, version: int, rule: dict[str, Any] | None) -> None:
        data = None if rule is None else json.dumps({"name": name, **rule}).encode()
        change = encode(RuleChange(name, version, data))
        assert list(self.rules.process_broadcast_element(change, self)) == []

    def move_watermark(self, to_ms: int) -> None:
        self.watermark_ms = to_ms
        for time_ms, event_time, key in sorted(
            timer for timer in self.timers if timer[0] <= to_ms and timer[1]
        ):
            self.timers.remove((time_ms, event_time, key))
            self._turn_to(key)
            self._take(self.rules.on_timer(time_ms, self))

    def _turn_to(self, key: str) -> None:
        self.key = key
        for sharded in self.context.maps.values():
            sharded.shard = key

    def _take(self, outputs: Any) -> None:
        for kind, block in list(outputs):
            told = {ALERTS: self.alerts, DECISIONS: self.decisions}[kind]
            told += map(json.loads, block.splitlines())

    def get_broadcast_state(self, descriptor: Any) -> BroadcastMap:
        assert descriptor.get_name() == "rule-changes"
        return self.changes

    def get_current_key(self) -> str:
        return self.key

    def timer_service(self) -> Operator:
        return self

    def time_domain(self) -> TimeDomain:
        return TimeDomain.EVENT_TIME

    def current_watermark(self) -> int:
        return self.watermark_ms

    def current_processing_time(self) -> int:
        return 1

    def register_event_time_timer(self, time_ms: int) -> None:
        self.timers.add((time_ms, True, self.key))

    def register_processing_time_timer(self, time_ms: int) -> None:
        self.timers.add((time_ms, False, self.key))


def test_alerts_decisions_and_deadlines_come_out_and_gauges_tell_them() -> None:
    job = Operator(plan({"events": {"kind": "count", "within": "1m"}}, LARGE, UNPAID, decide={}))
    job.send({"card": "a", "amount": 500.0, "t": 0}, {"card": "b", "shop": "order", "t": 0})
    assert [alert["rule"] for alert in job.alerts] == ["large"]
    assert sorted(decision["decision"] for decision in job.decisions) == ["approve", "review"]
    job.move_watermark(60_000)
    assert [alert["rule"] for alert in job.alerts] == ["large", "unpaid"]
    job.send({"card": "c", "t": 60_001})
    told = job.context.group.read()
    assert told.pop("rules/history_state_bytes") > 100
    assert told == {
        "rules/events_seen": 3, "rules/decisions": 3, "rules/entities": 3, "rules/rules_in_force": 2,
        "rules/rules_unusable": 0, "rules/rule=large/alerts": 1, "rules/rule=unpaid/alerts": 1,
    }  # fmt: skip


def test_changes_are_in_force_again_after_a_restart_before_the_first_event() -> None:
    spec = plan({}, LARGE)
    job = Operator(spec)
    job.change("large", 2, {"when": "amount > 900"})
    job.change("small", 1, {"when": "amount < 3"})
    job.change("small", 1, {"when": "true"})
    job = Operator(spec, after=job)
    for amount in (500.0, 950.0, 1.0):
        job.send({"card": "a", "amount": amount, "t": 1})
    assert [(alert["rule"], alert["version"]) for alert in job.alerts] == [("large", 2), ("small", 1)]
    job.change("large", 3, None)
    job.change("large", 2, {"when": "true"})
    job = Operator(spec, after=job)
    job.send({"card": "a", "amount": 950.0, "t": 2})
    assert job.alerts == []


def test_a_timer_that_is_first_after_a_restart_knows_the_changes_too() -> None:
    spec = plan({}, UNPAID)
    job = Operator(spec)
    job.send({"card": "a", "shop": "order", "t": 0})
    job.change("unpaid", 2, {**UNPAID, "severity": "info"})
    job = Operator(spec, after=job)
    job.move_watermark(60_000)
    assert [(alert["rule"], alert["severity"]) for alert in job.alerts] == [("unpaid", "info")]


def test_a_rule_that_cannot_be_used_is_told_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    job = Operator(plan({}, LARGE))
    job.change("large", 2, {"when": "gone > 1"})
    job.send({"card": "a", "amount": 500.0, "t": 1})
    assert job.alerts == [] and "rule large, version 2, is not in force: when: unknown column" in caplog.text
    assert job.context.group.read()["rules/rules_unusable"] == 1
