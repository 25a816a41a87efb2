"""Rules on results in Flink: how results are spread, and the operator that looks at them."""

from __future__ import annotations

from collections.abc import Iterator

from pyflink.common import Row, Types
from pyflink.datastream import (
    KeyedBroadcastProcessFunction,
    ProcessFunction,
    RuntimeContext,
    TimeDomain,
    TimerService,
)

from operators.plan import Plan
from operators.records import decode_rule_change
from operators.rules.result_columns import ResultShards
from operators.rules.result_gauges import ResultRuleGauges
from operators.rules.result_rules import ResultRules
from operators.rules.result_runner import ResultRunner
from operators.windows.flink_timers import FlinkTimers
from operators.windows.runner import Clock
from state import descriptors
from state.alarm_state import AlarmState
from state.rule_state import read_held_rule, write_held_rule

RESULT_TYPE = Types.ROW([Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])


class SpreadResults(ProcessFunction):
    """Makes, of each final result, a row with the shard of its metric and key; others are left out.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json = plan_json

    def open(self, runtime_context: RuntimeContext) -> None:
        """Read what the keys of metrics are."""
        self._shards = ResultShards(Plan.model_validate_json(self._plan_json).resolved_metrics())

    def process_element(self, value: str, ctx: ProcessFunction.Context) -> Iterator:
        """Find the shard of one result."""
        line = value.encode()
        shard = self._shards.of(line)
        if shard is not None:
            yield Row(shard, line)


class ResultFunction(KeyedBroadcastProcessFunction):
    """Runs the rules on results; keyed by metric and shard of the key, with the keeper's changes broadcast.

    Alerts come out as JSON text.

    Args:
        plan_json: the plan, as JSON.
        kept: whether rules can change while the job runs; without, they are as the plan has them, whatever
            they were in a former life of the job.
    """

    def __init__(self, plan_json: str, kept: bool) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json, self._kept, self._restored = plan_json, kept, False

    def open(self, runtime_context: RuntimeContext) -> None:
        """Build the runner over this operator's state."""
        plan = Plan.model_validate_json(self._plan_json)
        metrics = plan.resolved_metrics()
        self._rules = ResultRules(metrics, plan.rules)
        self._timers, self._restored = FlinkTimers(), False
        state = AlarmState(runtime_context.get_map_state(descriptors.ALARMS))
        self._runner = ResultRunner(
            plan.name, metrics, self._rules, state, self._timers, plan.event.idle_timeout
        )
        self._gauges = ResultRuleGauges(runtime_context.get_metrics_group(), self._runner)

    def process_element(self, value: Row, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> Iterator:
        """Take one result."""
        self._restore(ctx)
        shard = ctx.get_current_key()
        clock = self._turn_to(shard, ctx.timer_service())
        yield from self._emit(self._runner.on_result(shard, value[1], clock))

    def process_broadcast_element(self, value: bytes, ctx: KeyedBroadcastProcessFunction.Context) -> Iterator:
        """Take one change of a rule."""
        self._restore(ctx)
        change = decode_rule_change(value)
        held = self._rules.change(change)
        if held is not None:
            rules = ctx.get_broadcast_state(descriptors.RESULT_RULES)
            rules.put(change.name.encode(), write_held_rule(held))
        return iter(())

    def on_timer(self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        self._restore(ctx)
        shard = ctx.get_current_key()
        clock = self._turn_to(shard, ctx.timer_service())
        by_event_time = ctx.time_domain() == TimeDomain.EVENT_TIME
        due = self._runner.on_event_time if by_event_time else self._runner.on_processing_time
        yield from self._emit(due(shard, timestamp, clock))

    def _turn_to(self, shard: str, service: TimerService) -> Clock:
        self._timers.turn_to(shard, service)
        return Clock(service.current_watermark(), service.current_processing_time())

    def _emit(self, alerts: Iterator[bytes]) -> Iterator[str]:
        for alert in alerts:
            yield alert.decode()
        self._gauges.update()

    def _restore(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Take over the rules that were known before, at the first call: earlier there is no access."""
        if self._kept and not self._restored:
            known = ctx.get_broadcast_state(descriptors.RESULT_RULES).items()
            self._rules.restore({name.decode(): read_held_rule(held) for name, held in known})
            self._restored = True
