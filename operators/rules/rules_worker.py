"""Rules on events and on sequences in Flink: gives their runner its state, timers and clock."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

from pyflink.common import Row, Types
from pyflink.datastream import KeyedBroadcastProcessFunction, RuntimeContext, TimeDomain

from operators.plan import Plan
from operators.records import RuleChange, decode_rule_change, decode_rule_record
from operators.rules.gauges import RulesGauges
from operators.rules.rule_functions import RuleWorker
from operators.rules.rules_runner import Alert, Outputs, RulesRunner
from operators.windows.silence import Silence
from state import descriptors
from state.clock_state import ClockState
from state.history_state import HistoryState

ALERTS, DECISIONS = "alerts", "decisions"
SPOKEN_TYPE = Types.ROW([Types.STRING(), Types.STRING()])
"""What comes out: `ALERTS` or `DECISIONS`, and a block of lines of them."""

_log = logging.getLogger(__name__)


class RulesWorker(RuleWorker):
    """Looks at the events of each shard of entities. What comes out is of `SPOKEN_TYPE`, in JSON lines."""

    def build(self, plan: Plan, runtime_context: RuntimeContext) -> None:
        """Build the runner; the plan has `features`."""
        event = plan.event
        self._runner = RulesRunner(
            plan.name,
            plan.resolved_features(),
            plan.decide is not None,
            plan.resolved_rules(),
            HistoryState(runtime_context.get_map_state(descriptors.HISTORIES)),
            ClockState(runtime_context.get_map_state(descriptors.CLOCK)),
            self.timers,
            Silence(event.idle_timeout if event.on_idle == "advance" else None, event.out_of_orderness),
        )
        self._gauges = RulesGauges(runtime_context.get_metrics_group(), self._runner)

    def take(self, value: bytes, ctx: Any) -> Iterator:
        """Take the events of one record."""
        shard = ctx.get_current_key()
        clock = self.timers.turn_to(shard, ctx.timer_service())
        yield from _emit(self._runner.on_record(shard, decode_rule_record(value), clock))
        self._gauges.update()

    def do_what_is_due(self, timestamp: int, ctx: Any) -> Iterator:
        """Do what is due at a timer."""
        shard = ctx.get_current_key()
        clock = self.timers.turn_to(shard, ctx.timer_service())
        by_event_time = ctx.time_domain() == TimeDomain.EVENT_TIME
        due = self._runner.on_event_time if by_event_time else self._runner.on_processing_time
        yield from _emit(due(shard, timestamp, clock))

    def change(self, value: bytes, ctx: KeyedBroadcastProcessFunction.Context) -> None:
        """Take one change of a rule."""
        change = decode_rule_change(value)
        if self._change(change, restored=False):
            # What was taken away stays there too, or an older version could come back.
            ctx.get_broadcast_state(descriptors.RULE_CHANGES).put(change.name.encode(), bytes(value))

    def restore(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Put the rules of broadcast state in force."""
        for _, change in ctx.get_broadcast_state(descriptors.RULE_CHANGES).items():
            self._change(decode_rule_change(change), restored=True)

    def _change(self, change: RuleChange, restored: bool) -> bool:
        """Change a rule; return whether that is news."""
        is_news = self._runner.change(change, restored)
        problem = self._runner.rules.unusable.get(change.name)
        if is_news and problem is not None:
            _log.warning("rule %s, version %d, is not in force: %s", change.name, change.version, problem)
        return is_news


def _emit(outputs: Outputs) -> Iterator[Row]:
    """Yield blocks of lines: what leaves a worker by itself costs more than what it tells."""
    lines: dict[str, list[bytes]] = {ALERTS: [], DECISIONS: []}
    for output in outputs:
        lines[ALERTS if isinstance(output, Alert) else DECISIONS].append(output.text)
    for name, texts in lines.items():
        if texts:
            yield Row(name, b"\n".join(texts).decode())
