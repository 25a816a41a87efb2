"""Features of the events of a record, from the histories of their entities."""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import blake2b

import msgspec
import numpy as np

from operators.records import RuleRecord
from operators.rules.past import DeviationsRun, FirstRun, PreviousRun, SinceRun, SpeedRun
from operators.rules.record_columns import Value
from operators.rules.resolved import FeatureColumn, Features
from operators.rules.windowed import CountRun, DistinctRun, SumRun
from state.clock_state import MIN_TIME_MS
from state.history_state import EVERYONE, FeatureState, History, HistoryState

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
    """

    entities: list[bytes]
    histories: list[History]
    owners: list[int]
    clocks: list[int]


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
        self._running = []
        conditions = 0
        for column in features.columns:
            condition = None
            if column.condition is not None:
                condition, conditions = conditions, conditions + 1
            self._running.append(_Running(column, [positions[name] for name in column.reads], condition))
        self._own_keys = {one.key for one in self._running if not one.over_all}
        self._all_keys = {one.key for one in self._running if one.over_all}

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
        everyone = self._state.read(shard, EVERYONE) if self._all_keys else None
        every, found = bytes([1]) * len(lives.owners), {}
        for one in self._running:
            counts = every if one.condition is None else record.counts[one.condition]
            reads = [record.columns[position] for position in one.positions]
            if one.over_all:
                states, owners = [_known(everyone, one)], [0] * len(lives.owners)
            else:
                states, owners = [_known(history, one) for history in lives.histories], lives.owners
            found[one.name] = one.run(states, owners, lives.clocks, counts, reads)
        if everyone is not None:
            everyone.time_ms = max(everyone.time_ms, *lives.clocks)
            _drop_others(everyone, self._all_keys)
            self._state.write(shard, EVERYONE, everyone)
        return found

    def write(self, shard: str, lives: Lives) -> None:
        """Keep the histories of the shard at hand."""
        for entity, history in dict(zip(lives.entities, lives.histories, strict=True)).items():
            _drop_others(history, self._own_keys)
            self._state.write(shard, entity, history)


class _Running:
    """What runs one feature, and where it finds what it needs."""

    def __init__(self, column: FeatureColumn, positions: list[int], condition: int | None) -> None:
        runs = _RUNS[column.feature.kind](column)
        self.name, self.positions, self.condition = column.name, positions, condition
        self.run, self.new = runs.run, runs.new
        self.over_all = getattr(column.feature, "over", "own") == "all"
        self.key = _key(column)


def _key(column: FeatureColumn) -> str:
    """Return the name that what a feature knows is kept under: another one where it is defined anew."""
    defined = column.feature.model_dump(mode="json", exclude={"at_least"}) | {"reads": dict(column.reads)}
    digest = blake2b(json.dumps(defined, sort_keys=True).encode(), digest_size=3).hexdigest()
    return f"{column.name}:{digest}"


def _known(history: History, one: _Running) -> FeatureState:
    state = history.features.get(one.key)
    if state is None:
        state = history.features[one.key] = one.new()
    return state


def _drop_others(history: History, keys: set[str]) -> None:
    """Drop what features knew that are no longer there."""
    if len(history.features) > len(keys):
        history.features = {key: state for key, state in history.features.items() if key in keys}
