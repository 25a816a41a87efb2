"""Running estimates over all events that are enriched: distinct users, actions by Count-Min, totals.

One shard has them all, so that they are of the whole stream; what reaches it of an event is numbers only, the
event itself passes by in its columns. Estimates are those after the events of the same record.
"""

from __future__ import annotations

from itertools import accumulate

import msgspec
import numpy as np

from operators.enrich.enrich_spec import EnrichSpec
from operators.records import AnnotatedRecord, EnrichRecord
from sketches.count_min import CountMin
from sketches.exact_sum import ExactSum, exact_sums
from sketches.hashing import hash_strings
from sketches.hyperloglog import HyperLogLog
from state.clock_state import ByteMap
from state.message_pack import reader

MOST_TOTALS = 1_000
"""Of how many actions values are added up; each takes some fifty bytes."""
_DELTA = 0.01
_USERS, _ACTIONS, _TOTALS = b"users", b"actions", b"totals"
_encode = msgspec.msgpack.Encoder().encode
_decode_totals = reader(dict[str, bytes], "totals of actions")


class Running:
    """Adds what a record has to the estimates, and gives each of its events what they are by then.

    What is in state is read once: whoever restores it does so in a new process.

    Args:
        spec: the `enrich` section.
        state: a map for the sketches: `users` (an HLL_8 image), `actions` (a Count-Min image) and `totals`
            (MessagePack: action to `ExactSum`).
    """

    def __init__(self, spec: EnrichSpec, state: ByteMap) -> None:
        """Wrap the map; nothing is read yet."""
        self._spec, self._state = spec, state
        self._users: HyperLogLog | None = None
        self._actions = CountMin(*CountMin.suggest(spec.epsilon, _DELTA))
        self._totals: dict[str, ExactSum] = {}
        self.state_bytes = 0
        """How many bytes the sketches took in state when they were written last."""

    def on_record(self, record: EnrichRecord) -> AnnotatedRecord:
        """Return a record with the estimates for each of its events."""
        if self._users is None:
            self._read()
        self._users.update_many(np.frombuffer(record.users, "<u8").reshape(-1, 2).astype(np.uint64))
        codes = np.frombuffer(record.action_codes, "<i4").astype(np.int64)
        counts, totals = self._counts(record.actions, codes), b""
        if record.values:
            values = np.frombuffer(record.values, "<f8")
            totals = self._add_up(record.actions, codes, values).astype("<f8").tobytes()
        self._write()
        return AnnotatedRecord(
            record.frame,
            record.users,
            record.owners,
            record.times,
            record.actions,
            record.action_codes,
            counts.astype("<i8").tobytes(),
            totals,
            round(self._users.estimate()),
        )

    def _counts(self, actions: list[str], codes: np.ndarray) -> np.ndarray:
        """Count actions; return the count of each event's own, it included, `(n,)` int64."""
        there = codes[codes >= 0]
        own = np.bincount(there, minlength=len(actions))
        hashes = hash_strings(actions)
        self._actions.update_many(hashes, own)
        before = self._actions.estimate_many(hashes) - own
        return np.append(before, 0)[codes] + _ranks(codes) + 1

    def _add_up(self, actions: list[str], codes: np.ndarray, values: np.ndarray) -> np.ndarray:
        """Add values to the totals; return for each event the running total of its action.

        It is NaN for actions without a total, infinite where it overflows a double.
        """
        there = codes >= 0
        added = exact_sums(values[there], codes[there], len(actions))
        order = np.argsort(codes, kind="stable")
        bounds = np.searchsorted(codes[order], np.arange(len(actions) + 1)).tolist()
        totals = np.full(len(codes), np.nan)
        for number, (action, sum_) in enumerate(zip(actions, added, strict=True)):
            held = self._totals.get(action)
            if held is None and len(self._totals) >= MOST_TOTALS:
                continue
            held = held or ExactSum()
            own = order[bounds[number] : bounds[number + 1]]
            totals[own] = _running_sums(held, values[own])
            self._totals[action] = held + sum_
        return totals

    def _read(self) -> None:
        users, actions, totals = map(self._state.get, (_USERS, _ACTIONS, _TOTALS))
        self._users = HyperLogLog(self._spec.lg_k) if users is None else HyperLogLog.deserialize(users)
        if actions is not None:
            self._actions = CountMin.deserialize(actions)
        if totals is not None:
            self._totals = {name: ExactSum.deserialize(sum_) for name, sum_ in _decode_totals(totals).items()}

    def _write(self) -> None:
        images = {
            _USERS: self._users.serialize(),
            _ACTIONS: self._actions.serialize(),
            _TOTALS: _encode({name: sum_.serialize() for name, sum_ in self._totals.items()}),
        }
        for name, image in images.items():
            self._state.put(name, image)
        self.state_bytes = sum(len(name) + len(image) for name, image in images.items())


def _ranks(codes: np.ndarray) -> np.ndarray:
    """Return how many events of the same code came before each, `(n,)` int64."""
    order = np.argsort(codes, kind="stable")
    ordered = codes[order]
    ranks = np.empty(len(codes), np.int64)
    ranks[order] = np.arange(len(codes)) - np.searchsorted(ordered, ordered)
    return ranks


def _running_sums(before: ExactSum, values: np.ndarray) -> np.ndarray:
    """Return the running sum at each value, starting from `before`, `(n,)` float64."""
    with np.errstate(over="ignore", invalid="ignore"):
        sums = float(before) + np.cumsum(values)
    if np.isfinite(sums).all():
        return sums
    # An intermediate sum overflows a double; later ones may be in range again.
    each = exact_sums(values, np.arange(len(values)), len(values))
    return np.array([float(total) for total in accumulate(each, initial=before)][1:])
