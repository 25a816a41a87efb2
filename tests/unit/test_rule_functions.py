"""The Flink functions of the keeper of rules and of rules on results, without Flink."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

from operator_chain import BroadcastMap, Context
from pyflink.common import Row
from pyflink.datastream import TimeDomain
from rule_inputs import MINUTE, plan, result, rule, said, shard_of_result

from operators.records import FinalResults, RuleChange, decode_rule_change, encode
from operators.rules.keeper_function import (
    AUDIT,
    FEEDBACK,
    RULES,
    KeeperFunction,
    KeeperMessages,
    KeeperStart,
)
from operators.rules.result_worker import ResultWorker
from operators.rules.rule_functions import ChangingRules
from operators.rules.rule_messages import rule_text
from operators.rules.rule_spec import Rule
from operators.side_outputs import REJECTS, TOTALS

METRICS = {metric.name: metric for metric in plan().resolved_metrics()}


def plan_json(*rules: Rule) -> str:
    """The plan with these rules, as workers get it."""
    texts = [json.loads(rule_text(own)) for own in rules]
    return plan(rules=texts).model_dump_json(by_alias=True, exclude_unset=True)


class Called:
    """What a function is called with: key, clocks, timers and broadcast state, which outlive a restart."""

    def __init__(self) -> None:
        self.key, self.now_ms, self.watermark_ms, self.event_time = "all", 12_345, -(2**63), True
        self.timers: dict[bool, set[tuple[int, str]]] = {True: set(), False: set()}
        self.broadcast = BroadcastMap()

    def get_current_key(self) -> str:
        return self.key

    def get_broadcast_state(self, descriptor: Any) -> BroadcastMap:
        return self.broadcast

    def timer_service(self) -> Called:
        return self

    def time_domain(self) -> TimeDomain:
        return TimeDomain.EVENT_TIME if self.event_time else TimeDomain.PROCESSING_TIME

    def current_watermark(self) -> int:
        return self.watermark_ms

    def current_processing_time(self) -> int:
        return self.now_ms

    def register_event_time_timer(self, time_ms: int) -> None:
        self.timers[True].add((time_ms, self.key))

    def register_processing_time_timer(self, time_ms: int) -> None:
        self.timers[False].add((time_ms, self.key))


class Keeper:
    """A keeper in Flink, and one that goes on from it."""

    def __init__(self, *rules: Any, before: Keeper | None = None) -> None:
        self.function = KeeperFunction(plan_json(*rules))
        self.context = Context()
        self.called = Called() if before is None else before.called
        if before is not None:
            self.context.maps = before.context.maps
        self.function.open(self.context)
        self.changes, self.sides = [], []

    def take(self, outputs: Iterable[Any]) -> None:
        for output in outputs:
            if isinstance(output, tuple):
                self.sides.append((output[0], json.loads(output[1])))
            else:
                self.changes.append(decode_rule_change(output))

    def send(self, message: Row) -> None:
        self.take(self.function.process_element(message, self.called))

    def fire(self) -> None:
        """Let the wall clock go on to the next timer."""
        timer = min(self.called.timers[False])
        self.called.timers[False].discard(timer)
        self.called.now_ms = max(self.called.now_ms, timer[0])
        self.take(self.function.on_timer(timer[0], self.called))


def test_the_keeper_begins_with_the_one_message_of_a_job_and_says_nothing_twice() -> None:
    keeper = Keeper(rule())
    keeper.send(KeeperStart().map(0))
    assert keeper.changes == [RuleChange("many", 1, rule_text(rule()))]
    ((tag, line),) = keeper.sides
    assert tag is AUDIT and (line["what"], line["at_ms"]) == ("from_file", 12_345)
    for _ in range(3):
        keeper.fire()
    assert len(keeper.changes) == 1 and len(keeper.called.timers[False]) == 1


def test_a_job_that_goes_on_tells_all_rules_at_a_timer_that_was_set_before() -> None:
    keeper = Keeper(rule())
    keeper.send(KeeperStart().map(0))
    messages = KeeperMessages(RULES, "my-rules")
    keeper.send(messages.map(Row(b"mine", b'{"name": "mine", "when": "ok"}', 3, 8)))
    after = Keeper(rule(when="value > 20"), before=keeper)
    after.fire()
    assert [(change.name, change.version) for change in after.changes] == [("many", 2), ("mine", 1)]
    assert after.changes[0].rule == rule_text(rule(when="value > 20"))
    assert len(after.called.timers[False]) == 1


def test_messages_are_told_with_the_topic_they_are_from() -> None:
    keeper = Keeper(rule())
    keeper.send(KeeperMessages(RULES, "my-rules").map(Row(None, b"{", 3, 8)))
    keeper.send(
        KeeperMessages(FEEDBACK, "said").map(
            Row(None, b'{"rule": "many", "alert": "a", "verdict": "fraud"}', 0, 1)
        )
    )
    tags = [tag for tag, _ in keeper.sides]
    assert tags == [AUDIT, REJECTS, TOTALS, AUDIT]
    assert (
        keeper.sides[1][1].items()
        >= {"reason": "bad_rule", "payload": "{", "topic": "my-rules", "partition": 3, "offset": 8}.items()
    )
    assert keeper.sides[2][1] == {"events": 0, "rejects": {"bad_rule": 1}}
    assert keeper.context.group.read() == {"rejected": 1, "reason=bad_rule/rejected_by_reason": 1}
    assert keeper.sides[3][1]["source"] == {"topic": "said", "partition": 0, "offset": 1}


class Results:
    """The operator of rules on results in Flink, and one that goes on from it."""

    def __init__(self, *rules: Any, before: Results | None = None) -> None:
        self.function = ChangingRules(ResultWorker(plan_json(*rules)))
        self.context = Context()
        self.called = Called() if before is None else before.called
        if before is not None:
            self.context.maps = before.context.maps
        self.function.open(self.context)
        self.read = self.context.group.read

    def send(self, *results: dict[str, Any]) -> list[dict[str, Any]]:
        by_shard: dict[str, list[bytes]] = {}
        for one in results:
            by_shard.setdefault(shard_of_result(METRICS, one), []).append(json.dumps(one).encode())
        alerts = []
        for shard, lines in by_shard.items():
            self._turn_to(shard)
            alerts += self.function.process_element(encode(FinalResults(lines)), self.called)
        return [json.loads(alert) for alert in alerts]

    def change(self, change: RuleChange) -> None:
        assert list(self.function.process_broadcast_element(encode(change), self.called)) == []

    def fire(self, event_time: bool, to_ms: int) -> list[dict[str, Any]]:
        alerts, timers = [], self.called.timers[event_time]
        self.called.event_time = event_time
        self.context.group.in_timer = True
        if event_time:
            self.called.watermark_ms = to_ms
        while due := sorted(timer for timer in timers if timer[0] <= to_ms):
            timers.discard(due[0])
            if not event_time:
                self.called.now_ms = due[0][0]
            self._turn_to(due[0][1])
            alerts += self.function.on_timer(due[0][0], self.called)
        self.context.group.in_timer = False
        return [json.loads(alert) for alert in alerts]

    def _turn_to(self, shard: str) -> None:
        self.called.key = shard
        for sharded in self.context.maps.values():
            sharded.shard = shard


def test_results_raise_alerts_and_metrics_tell_of_them() -> None:
    results = Results(rule())
    alerts = results.send(result(1, 11), result(1, 3, user="b"))
    assert said(alerts) == [("firing", "many", 1)]
    told = {
        "keys": 2,
        "metric=visits/results_seen": 2,
        "metric=visits/windows_too_old": 0,
        "rule=many/alerts": 1,
    }
    assert results.read() == told


def test_changes_of_rules_take_effect_and_are_there_after_a_restart() -> None:
    results = Results(rule())
    results.change(RuleChange("many", 2, rule_text(rule(when="value > 5"))))
    results.change(RuleChange("mine", 1, b'{"name": "mine", "when": "amount > 1"}'))
    results.change(RuleChange("gone", 1, rule_text(rule(name="gone"))))
    results.change(RuleChange("gone", 2, None))
    assert said(results.send(result(1, 6))) == [("firing", "many", 1)]
    after = Results(rule(), rule(name="gone"), before=results)
    assert said(after.send(result(2, 50))) == [], "neither is a rule gone back to the file's, nor one back"
    assert [(a["status"], a["version"]) for a in after.send(result(3, 4))] == [("resolved", 2)]
    assert sorted(results.called.broadcast) == [b"gone", b"many"]


def test_timers_of_both_clocks_tell_of_absent_keys_and_count() -> None:
    results = Results(rule(absent_for="5m"))
    results.send(result(1, 1), result(1, 1, user="b"))
    assert said(results.fire(True, 6 * MINUTE - 1)) == []
    assert said(results.fire(True, 6 * MINUTE)) == [("firing", "many", 6)] * 2
    assert said(results.send(result(7, 1))) == [("resolved", "many", 7)]
    assert said(results.fire(False, 12_345 + 7 * MINUTE)) == [("firing", "many", 12)]
    assert results.read()["rule=many/alerts"] == 4
