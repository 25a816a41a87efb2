"""Rules on results in Flink: the operator that looks at them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyflink.datastream import (
    KeyedBroadcastProcessFunction,
    KeyedProcessFunction,
    RuntimeContext,
    TimeDomain,
    TimerService,
)

from operators.plan import Plan
from operators.records import decode_final_results, decode_rule_change
from operators.rules.result_gauges import ResultRuleGauges
from operators.rules.result_rules import ResultRules
from operators.rules.result_runner import ResultRunner
from operators.windows.flink_timers import FlinkTimers
from operators.windows.runner import Clock
from state import descriptors
from state.alarm_state import AlarmState
from state.rule_state import read_held_rule, write_held_rule


class ResultWorker:
    """What both functions are made of: the runner, with Flink's state, timers and clock.

    Args:
        plan_json: the plan, as JSON.

    Attributes:
        rules: the rules there are.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json = plan_json

    def open(self, runtime_context: RuntimeContext) -> None:
        """Build the runner over the operator's state."""
        plan = Plan.model_validate_json(self._plan_json)
        metrics = plan.resolved_metrics()
        self.rules = ResultRules(metrics, plan.rules)
        self._timers = FlinkTimers()
        state = AlarmState(runtime_context.get_map_state(descriptors.ALARMS))
        self._runner = ResultRunner(
            plan.name, metrics, self.rules, state, self._timers, plan.event.idle_timeout
        )
        self._gauges = ResultRuleGauges(runtime_context.get_metrics_group(), self._runner)

    def take(self, value: bytes, ctx: Any) -> Iterator:
        """Take results of one shard."""
        shard = ctx.get_current_key()
        clock = self._turn_to(shard, ctx.timer_service())
        yield from self._emit(self._runner.on_results(shard, decode_final_results(value).lines, clock))

    def do_what_is_due(self, timestamp: int, ctx: Any) -> Iterator:
        """Do what is due at a timer."""
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


class ResultFunction(KeyedProcessFunction):
    """Runs the rules of the pipeline file on results; keyed by metric and shard of the key.

    Alerts come out as JSON text.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._worker = ResultWorker(plan_json)

    def open(self, runtime_context: RuntimeContext) -> None:
        """Begin."""
        self._worker.open(runtime_context)

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take results of one shard."""
        yield from self._worker.take(value, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        yield from self._worker.do_what_is_due(timestamp, ctx)


class ChangingResultFunction(KeyedBroadcastProcessFunction):
    """Does the same where rules change while the job runs; the keeper's changes are broadcast.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._worker = ResultWorker(plan_json)

    def open(self, runtime_context: RuntimeContext) -> None:
        """Begin with the rules of the pipeline file."""
        self._worker.open(runtime_context)
        self._restored = False

    def process_element(self, value: bytes, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> Iterator:
        """Take results of one shard."""
        self._restore(ctx)
        yield from self._worker.take(value, ctx)

    def process_broadcast_element(self, value: bytes, ctx: KeyedBroadcastProcessFunction.Context) -> Iterator:
        """Take one change of a rule."""
        self._restore(ctx)
        change = decode_rule_change(value)
        held = self._worker.rules.change(change)
        if held is not None:
            rules = ctx.get_broadcast_state(descriptors.RESULT_RULES)
            rules.put(change.name.encode(), write_held_rule(held))
        return iter(())

    def on_timer(self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        self._restore(ctx)
        yield from self._worker.do_what_is_due(timestamp, ctx)

    def _restore(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Take over the rules that were known before, at the first call: earlier there is no access."""
        if not self._restored:
            known = ctx.get_broadcast_state(descriptors.RESULT_RULES).items()
            self._worker.rules.restore({name.decode(): read_held_rule(held) for name, held in known})
            self._restored = True
