"""Rules on results in Flink: gives their runner its state, timers and clock."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.datastream import KeyedBroadcastProcessFunction, RuntimeContext, TimeDomain

from operators.plan import Plan
from operators.records import decode_final_results, decode_rule_change
from operators.rules.result_gauges import ResultRuleGauges
from operators.rules.result_rules import ResultRules
from operators.rules.result_runner import ResultRunner
from operators.rules.rule_functions import RuleWorker
from state import descriptors
from state.alarm_state import AlarmState
from state.rule_state import read_held_rule, write_held_rule


class ResultWorker(RuleWorker):
    """Looks at results, by metric and shard of the key. Alerts come out as JSON text."""

    def build(self, plan: Plan, runtime_context: RuntimeContext) -> None:
        """Build the runner."""
        metrics = plan.resolved_metrics()
        self._rules = ResultRules(metrics, plan.rules)
        state = AlarmState(runtime_context.get_map_state(descriptors.ALARMS))
        self._runner = ResultRunner(
            plan.name, metrics, self._rules, state, self.timers, plan.event.idle_timeout
        )
        self._gauges = ResultRuleGauges(runtime_context.get_metrics_group(), self._runner)

    def take(self, value: bytes, ctx: Any) -> Iterator:
        """Take results of one shard."""
        shard = ctx.get_current_key()
        clock = self.timers.turn_to(shard, ctx.timer_service())
        yield from self._emit(self._runner.on_results(shard, decode_final_results(value).lines, clock))

    def do_what_is_due(self, timestamp: int, ctx: Any) -> Iterator:
        """Do what is due at a timer."""
        shard = ctx.get_current_key()
        clock = self.timers.turn_to(shard, ctx.timer_service())
        by_event_time = ctx.time_domain() == TimeDomain.EVENT_TIME
        due = self._runner.on_event_time if by_event_time else self._runner.on_processing_time
        yield from self._emit(due(shard, timestamp, clock))

    def change(self, value: bytes, ctx: KeyedBroadcastProcessFunction.Context) -> None:
        """Take one change of a rule."""
        change = decode_rule_change(value)
        held = self._rules.change(change)
        if held is not None:
            rules = ctx.get_broadcast_state(descriptors.RESULT_RULES)
            rules.put(change.name.encode(), write_held_rule(held))

    def restore(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Take over the rules that were known before."""
        known = ctx.get_broadcast_state(descriptors.RESULT_RULES).items()
        self._rules.restore({name.decode(): read_held_rule(held) for name, held in known})

    def _emit(self, alerts: Iterator[bytes]) -> Iterator[str]:
        for alert in alerts:
            yield alert.decode()
        self._gauges.update()
