"""Sequences: an event that is followed within some time by another one of the same entity, or by none.

All times are those of the entity's clock. An event that a rule's `when` holds for begins a sequence. With
`then`, the next event that it holds for, within the time, is what is told, and the sequence is over; of
several events that begin one the latest counts. With `unless`, such an event ends it and nothing is told;
when the time is over without one, it is told at once where the entity's clock or the watermark is past it. An
event that would begin a sequence while one waits is part of that one. An event never ends what it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush

from operators.rules.compiled_rule import CompiledRule
from operators.rules.event_alerts import EventAlerts, RecordEvents
from state.clock_state import END_OF_TIME_MS
from state.history import History
from state.history_state import HistoryState

Told = Iterator[tuple[CompiledRule, bytes]]


class SequenceRunner:
    """Follows what entities' histories wait for.

    Args:
        alerts: writes alerts.
        in_force: gives the rules on sequences that are in force, by name.
    """

    def __init__(self, alerts: EventAlerts, in_force: Callable[[], Mapping[str, CompiledRule]]) -> None:
        """Keep the parts."""
        self._alerts, self._in_force = alerts, in_force

    def step(
        self,
        entity: bytes,
        history: History,
        clock_ms: int,
        ends: Sequence[CompiledRule],
        begins: Sequence[CompiledRule],
        events: RecordEvents,
        row: int,
        now_ms: int,
    ) -> Told:
        """Take one event into the history of its entity.

        Args:
            entity: the entity.
            history: its history.
            clock_ms: the entity's time at the event.
            ends: the rules whose `unless` or `then` holds for it.
            begins: those whose `when` does.
            events: tells of the event.
            row: its number there.
            now_ms: the wall clock.

        Yields:
            Rules that speak, with their alerts.
        """
        yield from self.settle(entity, history, clock_ms - 1, now_ms)
        for rule in ends:
            began = history.pending.pop(rule.rule.name, None)
            if began is not None and rule.rule.then is not None:
                yield rule, self._alerts.of_followed(rule, events, row, now_ms, began)
        for rule in begins:
            if rule.rule.then is not None or rule.rule.name not in history.pending:
                history.pending[rule.rule.name] = events.pending(row, clock_ms, rule.rule.within)

    def settle(self, entity: bytes, history: History, up_to_ms: int, now_ms: int) -> Told:
        """End what waits no longer than to this time, and what no rule in force waits for."""
        for name in list(history.pending):
            rule = self._in_force().get(name)
            began = history.pending[name]
            if rule is None:
                del history.pending[name]
                continue
            began.due_ms = began.began_ms + rule.rule.within  # which may have changed since
            if began.due_ms <= up_to_ms:
                del history.pending[name]
                if rule.rule.unless is not None:
                    yield rule, self._alerts.of_missing(rule, entity, began, now_ms)


class Deadlines:
    """When the entities of each shard are to be looked at for what they wait for.

    Args:
        state: the histories.
        waits: gives how long the sequences in force wait, by the name of the rule.
    """

    def __init__(self, state: HistoryState, waits: Callable[[], Mapping[str, int]]) -> None:
        """Know of no shard."""
        self._state, self._waits = state, waits
        self._queues: dict[str, list[tuple[int, bytes]]] = {}
        self._queued: dict[str, dict[bytes, int]] = {}
        self._followed: dict[str, Mapping[str, int]] = {}

    def turn_to(self, shard: str) -> None:
        """Find the deadlines of the shard at hand where they are not known or rules wait otherwise."""
        waits = self._waits()
        followed = self._followed.get(shard)
        if followed is waits:
            return
        self._followed[shard] = waits
        if followed == waits:
            return
        queued = self._queued[shard] = {}
        for entity, _, due_ms in self._state.times(shard):
            if due_ms != END_OF_TIME_MS:
                queued[entity] = self._due_ms(self._state.read(shard, entity), waits, due_ms)
        self._queues[shard] = [(due_ms, entity) for entity, due_ms in queued.items()]
        heapify(self._queues[shard])

    def put(self, shard: str, entity: bytes, due_ms: int) -> None:
        """Note when an entity of the shard at hand is to be looked at; the greatest int64 for never."""
        if due_ms < self._queued[shard].get(entity, END_OF_TIME_MS):
            self._queued[shard][entity] = due_ms
            heappush(self._queues[shard], (due_ms, entity))

    def first_ms(self, shard: str) -> int | None:
        """Return the next deadline of the shard at hand; None where there is none."""
        queue = self._queues[shard]
        return queue[0][0] if queue else None

    def take_due(self, shard: str, up_to_ms: int) -> Iterator[bytes]:
        """Yield the entities of the shard at hand that are to be looked at by now, and forget when."""
        queue, queued = self._queues[shard], self._queued[shard]
        while queue and queue[0][0] <= up_to_ms:
            due_ms, entity = heappop(queue)
            if queued.get(entity) == due_ms:
                del queued[entity]
                yield entity

    @staticmethod
    def _due_ms(history: History, waits: Mapping[str, int], otherwise_ms: int) -> int:
        dues = [one.began_ms + waits[name] for name, one in history.pending.items() if name in waits]
        return min(dues, default=otherwise_ms)
