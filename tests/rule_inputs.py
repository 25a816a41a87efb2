"""Plans, results and rules for tests of rules, and a runner of rules on results with a clock of its own."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from engine import ShardedMap

from operators.ingest.partials import shard_of
from operators.metric import Metric
from operators.plan import Plan
from operators.records import RuleChange
from operators.rules.result_rules import ResultRules
from operators.rules.result_runner import ResultRunner
from operators.rules.rule_messages import rule_text
from operators.rules.rule_spec import Rule
from operators.shard_keys import shard_key
from operators.windows.results import result_id
from operators.windows.runner import Clock
from state.alarm_state import AlarmState

MINUTE = 60_000
FIELDS = {"user": "string", "item": "string", "amount": "double", "n": "long", "ok": "bool", "t": "long"}


def plan(*metrics: dict[str, Any], **options: Any) -> Plan:
    """A plan with these metrics; by default one, `visits`, that counts users by the minute."""
    counting = {"name": "visits", "kind": "count", "by": ["user"], "windows": [{"tumbling": "1m"}]}
    event = {"fields": FIELDS, "time": {"field": "t", "unit": "ms"}, "idle_timeout": "10s"}
    told = {"name": "shop", "event": event, "metrics": list(metrics) or [counting]}
    return Plan.model_validate(told | {"features": {"of": "user"}} | options)


def rule(**options: Any) -> Rule:
    """A rule on `visits` that speaks of more than ten."""
    return Rule.model_validate({"name": "many", "metric": "visits", "when": "value > 10"} | options)


def result(
    end: float, value: Any, revision: int = 0, user: str | None = "a", metric: str = "visits", **more: Any
) -> dict[str, Any]:
    """A result of the minute that ends then."""
    end_ms = int(end * MINUTE)
    window = {"type": "tumbling", "start_ms": end_ms - MINUTE, "end_ms": end_ms, "size_ms": MINUTE}
    key = {} if user is None else {"user": user}
    told = {
        "id": result_id("shop", metric, json.dumps(list(key.values())).encode(), window),
        "pipeline": "shop",
        "metric": metric,
        "kind": "count",
        "key": key,
        "window": window,
        "events": 1,
        "value": value,
        "lower": value,
        "upper": value,
        "confidence": 1.0,
        "revision": revision,
        "final": True,
    }
    return told | more


def retraction(end: float, revision: int, user: str = "a") -> dict[str, Any]:
    """The last word on the result of a minute."""
    told = result(end, None, revision, user)
    for name in ("value", "lower", "upper", "confidence"):
        del told[name]
    return told | {"events": 0, "retracted": True}


def shard_of_result(metrics: Mapping[str, Metric], one: Mapping[str, Any]) -> str:
    """The shard of a result's metric and key."""
    metric = metrics[one["metric"]]
    key = json.dumps([one["key"][name] for name in metric.by], separators=(",", ":"), ensure_ascii=False)
    return shard_key(metric.name, shard_of(key.encode(), metric.shards))


class Running:
    """Runs rules on the results of a plan, with Flink's part played by this class.

    Args:
        plan: the plan.
        rules: those of the pipeline file.
        before: a run to go on from, as after a restart; its rules are told again.
    """

    def __init__(self, plan: Plan, rules: Iterable[Rule] = (), before: Running | None = None) -> None:
        self.plan, self.file = plan, list(rules)
        metrics = plan.resolved_metrics()
        self.metrics = {metric.name: metric for metric in metrics}
        self.rules = ResultRules(metrics, self.file)
        self.map = ShardedMap()
        self.held: dict[str, Any] = {}
        self.timers: dict[bool, set[tuple[int, str]]] = {True: set(), False: set()}
        self.watermark_ms, self.now_ms, self.shard = -(2**63), 0, ""
        if before is not None:
            self.map.shards.update({shard: dict(own) for shard, own in before.map.shards.items()})
            self.held = dict(before.held)
            self.rules.restore(self.held)
            self.timers = {domain: set(own) for domain, own in before.timers.items()}
            self.now_ms = before.now_ms
        self.runner = ResultRunner(
            plan.name, metrics, self.rules, AlarmState(self.map), self, plan.event.idle_timeout
        )

    def restarted(self) -> Running:
        """The same after a restart."""
        return Running(self.plan, self.file, self)

    def change(self, name: str, version: int, to: Rule | None) -> None:
        """Let a change of a rule take effect."""
        held = self.rules.change(RuleChange(name, version, None if to is None else rule_text(to)))
        if held is not None:
            self.held[name] = held

    def send(self, *results: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Send results, each by itself; return the alerts that come of it at once."""
        return [alert for one in results for alert in self.send_together(one)]

    def send_together(self, *results: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Send results, all those of a shard at once; return the alerts that come of it at once."""
        by_shard: dict[str, list[bytes]] = {}
        for one in results:
            by_shard.setdefault(shard_of_result(self.metrics, one), []).append(json.dumps(one).encode())
        alerts = []
        for shard, lines in by_shard.items():
            self._turn_to(shard)
            alerts += list(self.runner.on_results(shard, lines, self._clock()))
        return [json.loads(alert) for alert in alerts]

    def move_watermark(self, to_ms: float) -> list[dict[str, Any]]:
        """Let the watermark rise; return the alerts of the timers that this fires."""
        self.watermark_ms = max(self.watermark_ms, int(to_ms))
        return self._fire(True, self.watermark_ms)

    def pass_time(self, to_ms: float) -> list[dict[str, Any]]:
        """Let the wall clock go on; return the alerts of the timers that this fires."""
        alerts = self._fire(False, int(to_ms))
        self.now_ms = max(self.now_ms, int(to_ms))
        return alerts

    def at_event_time(self, time_ms: int) -> None:
        self.timers[True].add((time_ms, self.shard))

    def at_processing_time(self, time_ms: int) -> None:
        self.timers[False].add((time_ms, self.shard))

    def _fire(self, event_time: bool, up_to_ms: int) -> list[dict[str, Any]]:
        alerts: list[bytes] = []
        timers = self.timers[event_time]
        while due := sorted(timer for timer in timers if timer[0] <= up_to_ms):
            time_ms, shard = due[0]
            timers.discard(due[0])
            self._turn_to(shard)
            if event_time:
                alerts += list(self.runner.on_event_time(shard, time_ms, self._clock()))
            else:
                self.now_ms = max(self.now_ms, time_ms)
                alerts += list(self.runner.on_processing_time(shard, time_ms, self._clock()))
        return [json.loads(alert) for alert in alerts]

    def _turn_to(self, shard: str) -> None:
        self.shard = self.map.shard = shard

    def _clock(self) -> Clock:
        return Clock(self.watermark_ms, self.now_ms)


def said(alerts: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, float]]:
    """Status, rule and time in minutes of each alert."""
    return [(alert["status"], alert["rule"], alert["event_time_ms"] / MINUTE) for alert in alerts]
