"""Drives ingest and the runner of rules as Flink does: state, timers and time are up to the test."""

from __future__ import annotations

import json
from typing import Any

from engine import ShardedMap

from operators.ingest.ingest import Ingest
from operators.ingest.source_batch import SourceBatch
from operators.parsing.payloads import Payloads
from operators.plan import Plan
from operators.records import RuleChange, decode_rule_record
from operators.rules.rule_records import is_rules_stream
from operators.rules.rules_runner import Alert, Outputs, RulesRunner
from operators.shard_keys import stream_of
from operators.windows.runner import Clock
from operators.windows.silence import Silence
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ClockState
from state.history_part import read_part
from state.history_state import EVERYONE, HistoryState

FIELDS = {"card": "string", "amount": "double", "n": "long", "shop": "string", "ok": "bool", "t": "long",
          "lat": "double", "lon": "double", "id": "string"}  # fmt: skip
ALWAYS = {"name": "always", "when": "true"}


def plan(
    columns: dict[str, Any] | None = None, *rules: dict[str, Any], decide: Any = None, **more: Any
) -> Plan:
    """Return a plan over cards with these features and rules; `event` and options of features in `more`."""
    event = {"fields": FIELDS, "time": {"field": "t", "unit": "ms"}, **more.pop("event", {})}
    return Plan.model_validate(
        {
            "name": "shop",
            "event": event,
            "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1m"}]}],
            "features": {"of": "card", "columns": columns or {}, "shards": 3, **more},
            "rules": list(rules),
            **({} if decide is None else {"decide": decide}),
        }
    )


class RuleJob:
    """A job of rules alone.

    Args:
        plan: what to run.
        after: the job whose state this one goes on from.
    """

    def __init__(self, plan: Plan, after: RuleJob | None = None) -> None:
        self.plan, self.watermark_ms, self.now_ms = plan, MIN_TIME_MS, 0
        self.histories = ShardedMap() if after is None else after.histories
        self.clock = ShardedMap() if after is None else after.clock
        self.timers: dict[bool, set[tuple[int, str]]] = {True: set(), False: set()}
        self._asked: set[tuple[int, str]] = set()
        if after is not None:
            self.timers = {kind: set(timers) for kind, timers in after.timers.items()}
        self.sent = 0 if after is None else after.sent
        self.alerts: list[dict[str, Any]] = []
        self.decisions: list[dict[str, Any]] = []
        event = plan.event
        self.ingest = Ingest(plan, "json", False, True, False)
        self.runner = RulesRunner(
            plan.name,
            plan.resolved_features(),
            plan.decide is not None,
            plan.resolved_rules(),
            HistoryState(self.histories),
            ClockState(self.clock),
            self,
            Silence(event.idle_timeout if event.on_idle == "advance" else None, event.out_of_orderness),
        )

    def send(self, *events: dict[str, Any]) -> list[dict[str, Any]]:
        """Send a batch, and return the alerts that it raises."""
        payloads = Payloads.from_messages([json.dumps(event).encode() for event in events])
        first, before = self.sent, len(self.alerts)
        self.sent += len(events)
        source = SourceBatch(payloads, lambda i: {"offset": first + i}, ("p",))
        _, envelope = self.ingest.take(source, self.now_ms)
        assert not envelope.rejects, envelope.rejects
        for shard, data in envelope.records:
            if is_rules_stream(stream_of(shard)):
                self._turn_to(shard)
                self._emit(self.runner.on_record(shard, decode_rule_record(data), self._clock()))
        return self.alerts[before:]

    def change(self, name: str, version: int, rule: dict[str, Any] | None, restored: bool = False) -> bool:
        """Send a change of a rule."""
        data = None if rule is None else json.dumps({"name": name, **rule}).encode()
        return self.runner.change(RuleChange(name, version, data), restored)

    def move_watermark(self, to_ms: int) -> list[dict[str, Any]]:
        """Let the watermark rise, and return the alerts that timers raise."""
        before = len(self.alerts)
        self.watermark_ms = max(self.watermark_ms, to_ms)
        self._fire(True, self.watermark_ms)
        return self.alerts[before:]

    def end(self) -> list[dict[str, Any]]:
        """End the input."""
        return self.move_watermark(END_OF_TIME_MS)

    def pass_time(self, to_ms: int) -> list[dict[str, Any]]:
        """Let the wall clock go on, and return the alerts that timers raise."""
        before = len(self.alerts)
        self.now_ms = to_ms
        self._fire(False, to_ms)
        return self.alerts[before:]

    def entities(self) -> set[str]:
        """Return the entities that state has."""
        return {json.loads(entity) for _, entity in self.held() if entity != EVERYONE}

    def held(self) -> dict[tuple[str, bytes], bytes]:
        """Return the histories that state has, by shard and entity, from its log alone."""
        found = {}
        for shard, parts in self.histories.shards.items():
            for _, part in sorted(parts.items()):
                found.update(((shard, entity), data) for entity, data in read_part(part))
        return {name: data for name, data in found.items() if data}

    def at_event_time(self, time_ms: int) -> None:
        if (time_ms, self._shard) not in self._asked:  # as Flink's timers are asked for, once
            self._asked.add((time_ms, self._shard))
            self.timers[True].add((time_ms, self._shard))

    def at_processing_time(self, time_ms: int) -> None:
        self.timers[False].add((time_ms, self._shard))

    def _fire(self, event_time: bool, up_to_ms: int) -> None:
        call = self.runner.on_event_time if event_time else self.runner.on_processing_time
        while due := sorted(timer for timer in self.timers[event_time] if timer[0] <= up_to_ms):
            self.timers[event_time].difference_update(due)
            for time_ms, shard in due:
                self._turn_to(shard)
                self._emit(call(shard, time_ms, self._clock()))

    def _turn_to(self, shard: str) -> None:
        self._shard = self.histories.shard = self.clock.shard = shard

    def _clock(self) -> Clock:
        return Clock(self.watermark_ms, self.now_ms)

    def _emit(self, outputs: Outputs) -> None:
        for output in list(outputs):
            told = self.alerts if isinstance(output, Alert) else self.decisions
            told.append(json.loads(output.text))


def features_of(alerts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the features that alerts of a rule that always speaks tell, in the order of the events."""
    return [alert["features"] for alert in sorted(alerts, key=lambda alert: alert["source"]["offset"])]
