"""Rules on events and on sequences in Flink: gives the runner its state, timers and clock."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import (
    KeyedBroadcastProcessFunction,
    KeyedProcessFunction,
    RuntimeContext,
    TimeDomain,
    TimerService,
)

from operators.plan import Plan
from operators.records import RuleChange, decode_rule_change, decode_rule_record
from operators.rules.gauges import RulesGauges
from operators.rules.rules_runner import Alert, Outputs, RulesRunner
from operators.windows.flink_timers import FlinkTimers
from operators.windows.runner import Clock
from operators.windows.silence import Silence
from operators.worker import settle
from state import descriptors
from state.clock_state import ClockState
from state.history_state import HistoryState

ALERTS, DECISIONS = "alerts", "decisions"
SPOKEN_TYPE = Types.ROW([Types.STRING(), Types.STRING()])
"""What comes out: `ALERTS` or `DECISIONS`, and a block of lines of them."""

_log = logging.getLogger(__name__)


class RulesWorker:
    """What both functions are made of: the runner, with Flink's state, timers and clock.

    Args:
        plan_json: the plan, as JSON; it has `features`.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json = plan_json

    def open(self, runtime_context: RuntimeContext) -> None:
        """Compile the rules of the pipeline file and wrap the state."""
        plan = Plan.model_validate_json(self._plan_json)
        event = plan.event
        self._timers = FlinkTimers()
        self._runner = RulesRunner(
            plan.name,
            plan.resolved_features(),
            plan.decide is not None,
            plan.resolved_rules(),
            HistoryState(runtime_context.get_map_state(descriptors.HISTORIES)),
            ClockState(runtime_context.get_map_state(descriptors.CLOCK)),
            self._timers,
            Silence(event.idle_timeout if event.on_idle == "advance" else None, event.out_of_orderness),
        )
        self._gauges = RulesGauges(runtime_context.get_metrics_group(), self._runner)
        settle()

    def take(self, value: bytes, ctx: Any) -> Iterator:
        """Take the events of one record."""
        shard = ctx.get_current_key()
        clock = self._turn_to(shard, ctx.timer_service())
        yield from _emit(self._runner.on_record(shard, decode_rule_record(value), clock))
        self._gauges.update()

    def do_what_is_due(self, timestamp: int, ctx: Any) -> Iterator:
        """Do what is due at a timer."""
        shard = ctx.get_current_key()
        clock = self._turn_to(shard, ctx.timer_service())
        if ctx.time_domain() == TimeDomain.EVENT_TIME:
            yield from _emit(self._runner.on_event_time(shard, timestamp, clock))
        else:
            yield from _emit(self._runner.on_processing_time(shard, timestamp, clock))

    def change(self, change: RuleChange, restored: bool) -> bool:
        """Change a rule; return whether that is news."""
        is_news = self._runner.change(change, restored)
        problem = self._runner.rules.unusable.get(change.name)
        if is_news and problem is not None:
            _log.warning("rule %s, version %d, is not in force: %s", change.name, change.version, problem)
        return is_news

    def _turn_to(self, key: str, service: TimerService) -> Clock:
        self._timers.turn_to(key, service)
        return Clock(service.current_watermark(), service.current_processing_time())


class RulesFunction(KeyedProcessFunction):
    """Evaluates the rules of the pipeline file on the events of each shard of entities; keyed by the shard.

    What comes out is of `SPOKEN_TYPE`, in JSON lines.

    Args:
        plan_json: the plan, as JSON; it has `features`.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._worker = RulesWorker(plan_json)

    def open(self, runtime_context: RuntimeContext) -> None:
        """Begin."""
        self._worker.open(runtime_context)

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take the events of one record."""
        yield from self._worker.take(value, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        yield from self._worker.do_what_is_due(timestamp, ctx)


class ChangingRulesFunction(KeyedBroadcastProcessFunction):
    """Does the same where rules change while the job runs.

    Changes of rules are broadcast and kept in broadcast state, so that they are in force again after a
    restart.

    Args:
        plan_json: the plan, as JSON; it has `features`.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._worker = RulesWorker(plan_json)

    def open(self, runtime_context: RuntimeContext) -> None:
        """Begin with the rules of the pipeline file."""
        self._worker.open(runtime_context)
        self._restored = False

    def process_element(self, value: bytes, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> Iterator:
        """Take the events of one record."""
        self._restore(ctx)
        yield from self._worker.take(value, ctx)

    def process_broadcast_element(self, value: bytes, ctx: KeyedBroadcastProcessFunction.Context) -> Iterator:
        """Take one change of a rule."""
        self._restore(ctx)
        change = decode_rule_change(value)
        if self._worker.change(change, restored=False):
            # What was taken away stays there too, or an older version could come back.
            ctx.get_broadcast_state(descriptors.RULE_CHANGES).put(change.name.encode(), bytes(value))
        return iter(())

    def on_timer(self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        self._restore(ctx)
        yield from self._worker.do_what_is_due(timestamp, ctx)

    def _restore(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Put the rules of broadcast state in force, before the first element: earlier there is no access."""
        if not self._restored:
            for _, change in ctx.get_broadcast_state(descriptors.RULE_CHANGES).items():
                self._worker.change(decode_rule_change(change), restored=True)
            self._restored = True


def _emit(outputs: Outputs) -> Iterator[Row]:
    """Yield blocks of lines: what leaves a worker by itself costs more than what it tells."""
    lines: dict[str, list[bytes]] = {ALERTS: [], DECISIONS: []}
    for output in outputs:
        lines[ALERTS if isinstance(output, Alert) else DECISIONS].append(output.text)
    for name, texts in lines.items():
        if texts:
            yield Row(name, b"\n".join(texts).decode())
