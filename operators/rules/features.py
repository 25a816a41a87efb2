"""Features of the events of a record, from the histories of their entities."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np

from operators.records import RuleRecord
from operators.rules.past import DeviationsRun, FirstRun, PreviousRun, SinceRun, SpeedRun
from operators.rules.record_columns import Value
from operators.rules.resolved import FeatureColumn, Features
from operators.rules.windowed import CountRun, DistinctRun, SumRun
from state.clock_state import MIN_TIME_MS
from state.history import FeatureState, History
from state.history_state import EVERYONE, HistoryState

_RUNS = {
    "count": CountRun,
    "sum": SumRun,
    "distinct": DistinctRun,
    "first": FirstRun,
    "since": SinceRun,
    "previous": PreviousRun,
    "deviations": DeviationsRun,
    "speed": SpeedRun,
}
_encode_json = msgspec.json.encode


@dataclass
class Lives:
    """The histories of a record's entities, and which of them each event belongs to.

    An entity that comes back after it was forgotten begins another life, also within a record.

    Attributes:
        entities: the canonical JSON of the entity of each history.
        histories: the histories; of an entity with two of them the later one is the last.
        owners: the number of each event's history.
        clocks: the time that each event counts at: its own or, where it is out of order, the newest of its
            entity before it.
        everyone: the history of all entities together, where a feature asks for it.
    """

    entities: list[bytes]
    histories: list[History]
    owners: list[int]
    clocks: list[int]
    everyone: dict[bytes, History] = field(default_factory=dict)


class FeatureRunner:
    """Reads and writes histories, and makes the columns of features.

    Args:
        features: the features.
        state: the histories.
    """

    def __init__(self, features: Features, state: HistoryState) -> None:
        """Make what runs each feature; nothing is read yet."""
        self._remember_ms, self._state = features.spec.remember, state
        positions = {name: number for number, name in enumerate(features.events)}
        self._own: dict[int, _Running] = {}
        self._over_all: dict[int, _Running] = {}
        conditions = 0
        for column in features.columns:
            condition = None
            if column.condition is not None:
                condition, conditions = conditions, conditions + 1
            running = _Running(column, [positions[name] for name in column.reads], condition)
            (self._over_all if running.over_all else self._own)[column.number] = running

    def lives(self, shard: str, record: RuleRecord) -> Lives:
        """Read the histories of a record's entities, and take its events into them in order.

        Args:
            shard: names the shard at hand.
            record: the events.
        """
        state, remember_ms = self._state, self._remember_ms
        entities = [_encode_json(entity) for entity in record.entities]
        histories = [state.read(shard, entity) for entity in entities]
        current = list(range(len(entities)))
        owners, clocks = np.frombuffer(record.owners, "<i4").tolist(), []
        for number, (entity, time_ms) in enumerate(
            zip(owners, np.frombuffer(record.times, "<i8").tolist(), strict=True)
        ):
            owner = current[entity]
            history = histories[owner]
            if time_ms > history.time_ms:
                if time_ms - history.time_ms >= remember_ms and history.time_ms != MIN_TIME_MS:
                    history = History(time_ms, {}, history.pending)
                    owner = current[entity] = len(histories)
                    histories.append(history)
                    entities.append(entities[entity])
                history.time_ms = time_ms
            clocks.append(history.time_ms)
            owners[number] = owner
        return Lives(entities, histories, owners, clocks)

    def run(self, shard: str, record: RuleRecord, lives: Lives) -> dict[str, list[Value]]:
        """Return the columns of features, and let histories learn from the events.

        Args:
            shard: names the shard at hand.
            record: the events.
            lives: their histories.
        """
        known = zip(*(_known(history, self._own) for history in lives.histories), strict=True)
        made = self._made(self._own, known, record, lives.owners, lives.clocks)
        if self._over_all:
            everyone, owners = self._state.read(shard, EVERYONE), [0] * len(lives.owners)
            known = ([state] for state in _known(everyone, self._over_all))
            made |= self._made(self._over_all, known, record, owners, lives.clocks)
            everyone.time_ms = max(everyone.time_ms, *lives.clocks)
            lives.everyone = {EVERYONE: everyone}
        return made

    def write(self, shard: str, lives: Lives) -> None:
        """Keep the histories of the shard at hand."""
        own = dict(zip(lives.entities, lives.histories, strict=True))
        self._state.write(shard, own | lives.everyone)

    @staticmethod
    def _made(
        running: dict[int, _Running],
        known: Iterable[Sequence[FeatureState]],
        record: RuleRecord,
        owners: list[int],
        clocks: list[int],
    ) -> dict[str, list[Value]]:
        """Return the columns of some features; `known` has what each of them knows, by owner."""
        every, made = bytes([1]) * len(owners), {}
        for one, states in zip(running.values(), known, strict=True):
            counts = every if one.condition is None else record.counts[one.condition]
            reads = [record.columns[position] for position in one.positions]
            made[one.name] = one.run(states, owners, clocks, counts, reads)
        return made


class _Running:
    """What runs one feature, and where it finds what it needs."""

    def __init__(self, column: FeatureColumn, positions: list[int], condition: int | None) -> None:
        runs = _RUNS[column.feature.kind](column)
        self.name, self.positions, self.condition = column.name, positions, condition
        self.run, self.new = runs.run, runs.new
        self.over_all = getattr(column.feature, "over", "own") == "all"


def _known(history: History, running: dict[int, _Running]) -> Collection[FeatureState]:
    """Return what features know, in their order; what they knew that are no longer there is dropped."""
    known = history.features
    if list(known) != list(running):
        known = history.features = {key: known.get(key) or one.new() for key, one in running.items()}
    return known.values()
