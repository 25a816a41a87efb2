"""Rules in Flink: the two functions that run them, where they stay as they are and where they change."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

from pyflink.datastream import (
    KeyedBroadcastProcessFunction,
    KeyedProcessFunction,
    RuntimeContext,
)

from operators.plan import Plan
from operators.windows.flink_timers import FlinkTimers
from operators.worker import settle


class RuleWorker(ABC):
    """What both functions run: a runner of rules, with Flink's state, timers and clock.

    Args:
        plan_json: the plan, as JSON.
    """

    def __init__(self, plan_json: str) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json = plan_json

    def open(self, runtime_context: RuntimeContext) -> None:
        """Build the runner over the operator's state, with the rules of the pipeline file."""
        self.timers = FlinkTimers()
        self.build(Plan.model_validate_json(self._plan_json), runtime_context)
        settle()

    @abstractmethod
    def build(self, plan: Plan, runtime_context: RuntimeContext) -> None:
        """Build the runner."""

    @abstractmethod
    def take(self, value: bytes, ctx: Any) -> Iterator:
        """Take one record of the shard at hand."""

    @abstractmethod
    def do_what_is_due(self, timestamp: int, ctx: Any) -> Iterator:
        """Do what is due at a timer."""

    @abstractmethod
    def change(self, value: bytes, ctx: KeyedBroadcastProcessFunction.Context) -> None:
        """Take one change of a rule, and keep in broadcast state what has to be in force after a restart."""

    @abstractmethod
    def restore(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Put in force what broadcast state has."""


class FixedRules(KeyedProcessFunction):
    """Runs the rules of the pipeline file; keyed by the shard.

    Args:
        worker: what runs them.
    """

    def __init__(self, worker: RuleWorker) -> None:
        """Keep what is shipped to the workers."""
        self._worker = worker

    def open(self, runtime_context: RuntimeContext) -> None:
        """Begin."""
        self._worker.open(runtime_context)

    def process_element(self, value: bytes, ctx: KeyedProcessFunction.Context) -> Iterator:
        """Take one record."""
        yield from self._worker.take(value, ctx)

    def on_timer(self, timestamp: int, ctx: KeyedProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        yield from self._worker.do_what_is_due(timestamp, ctx)


class ChangingRules(KeyedBroadcastProcessFunction):
    """Does the same where rules change while the job runs; the keeper's changes are broadcast.

    Args:
        worker: what runs them.
    """

    def __init__(self, worker: RuleWorker) -> None:
        """Keep what is shipped to the workers."""
        self._worker = worker

    def open(self, runtime_context: RuntimeContext) -> None:
        """Begin with the rules of the pipeline file."""
        self._worker.open(runtime_context)
        self._restored = False

    def process_element(self, value: bytes, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> Iterator:
        """Take one record."""
        self._restore(ctx)
        yield from self._worker.take(value, ctx)

    def process_broadcast_element(self, value: bytes, ctx: KeyedBroadcastProcessFunction.Context) -> Iterator:
        """Take one change of a rule."""
        self._restore(ctx)
        self._worker.change(value, ctx)
        return iter(())

    def on_timer(self, timestamp: int, ctx: KeyedBroadcastProcessFunction.OnTimerContext) -> Iterator:
        """Do what is due."""
        self._restore(ctx)
        yield from self._worker.do_what_is_due(timestamp, ctx)

    def _restore(self, ctx: KeyedBroadcastProcessFunction.ReadOnlyContext) -> None:
        """Take over what was in force before, at the first call: earlier there is no access."""
        if not self._restored:
            self._worker.restore(ctx)
            self._restored = True
