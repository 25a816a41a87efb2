"""The keeper of rules in Flink: what it reads, how it begins, and where its changes and audit go."""

from __future__ import annotations

from collections.abc import Iterator

from pyflink.common import Row, Types
from pyflink.datastream import KeyedProcessFunction, MapFunction, OutputTag, RuntimeContext

from operators.plan import Plan
from operators.records import RuleChange, encode
from operators.rules.rule_keeper import Audited, Outputs, RuleKeeper
from operators.side_outputs import SideRejects
from state import descriptors
from state.rule_state import RuleState

_BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())
MESSAGE_TYPE = Types.ROW([Types.STRING(), _BYTES, _BYTES, Types.STRING(), Types.INT(), Types.LONG()])
"""What the keeper reads: what kind of message, its key and value, and topic, partition and offset."""

CHANGE_TYPE = _BYTES
AUDIT = OutputTag("rule-audit", Types.STRING())
RULES, FEEDBACK, START = "rules", "feedback", "start"
_LOOK_EVERY_MS = 5000


class KeeperMessages(MapFunction):
    """Makes messages for the keeper of the rows of a topic: key, value, partition, offset.

    Args:
        kind: `RULES` or `FEEDBACK`.
        topic: the topic's name.
    """

    def __init__(self, kind: str, topic: str) -> None:
        """Keep what is shipped to the workers."""
        self._kind, self._topic = kind, topic

    def map(self, value: Row) -> Row:
        """Add where it is from."""
        key, payload, partition, offset = value
        return Row(self._kind, key, payload, self._topic, partition, offset)


class KeeperStart(MapFunction):
    """Makes the message that begins a job: of the one number of a source that has no more.

    A source that has ended does not begin again in a job that goes on from a checkpoint; there a timer that
    the keeper had set is what lets it begin.
    """

    def map(self, value: int) -> Row:
        """Say nothing but that it is time."""
        return Row(START, None, None, "", 0, 0)


class KeeperFunction(KeyedProcessFunction):
    """Keeps the rules; all messages have one key.

    Encoded `RuleChange`s come out, in `AUDIT` JSON lines, in `REJECTS` messages that cannot be used.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json = plan_json

    def open(self, runtime_context: RuntimeContext) -> None:
        """Build the keeper over this operator's state."""
        plan = Plan.model_validate_json(self._plan_json)
        state = RuleState(runtime_context.get_map_state(descriptors.KEPT_RULES))
        self._keeper = RuleKeeper(plan.rules, plan.readable(), state)
        self._rejects = SideRejects(runtime_context.get_metrics_group())

    def process_element(self, value: Row, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take one message."""
        kind, key, payload, topic, partition, offset = value
        now_ms = ctx.timer_service().current_processing_time()
        if kind == START:
            outputs = self._keeper.begin(now_ms)
            self._come_again(ctx, now_ms)
        else:
            position = {"topic": topic, "partition": partition, "offset": offset}
            if kind == RULES:
                outputs = self._keeper.on_rule(key, payload, position, now_ms)
            else:
                outputs = self._keeper.on_verdict(payload, position, now_ms)
        yield from self._emit(outputs)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator:
        """Begin, where this is the first that is heard since the job went on; else do nothing."""
        now_ms = ctx.timer_service().current_processing_time()
        self._come_again(ctx, now_ms)
        yield from self._emit(self._keeper.begin(now_ms))

    def _come_again(self, ctx: KeyedProcessFunction.Context, now_ms: int) -> None:
        again_ms = (now_ms // _LOOK_EVERY_MS + 1) * _LOOK_EVERY_MS
        ctx.timer_service().register_processing_time_timer(again_ms)

    def _emit(self, outputs: Outputs) -> Iterator:
        for output in outputs:
            if isinstance(output, RuleChange):
                yield encode(output)
            elif isinstance(output, Audited):
                yield AUDIT, output.text.decode()
            else:
                yield from self._rejects.outputs(output.reason, output.text.decode())
