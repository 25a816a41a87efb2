"""Histories of entities, users or cards, over a map of bytes to bytes: a log.

| map | key | value |
|---|---|---|
| `histories` | u64 big-endian, rising: the number of a part of the log | the part, see `state.history_part` |

`*` stands for what is remembered of all entities of the shard together. The last part that an entity is in
has its history; one without any bytes says that it was forgotten. What is written adds one part: many entries
are what state is slow at. Where the log has twice the bytes of what is still true in it, what is true of its
oldest parts is written once more and they are taken away: a few with each part that is added, so that nobody
waits.

All of a shard is read once, at the first touch after a start, and then kept in memory as bytes beside its
state: a read of state costs a hundred times as much. Such a copy is right as long as the process lives, since
whoever restores state does it in a new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from state.clock_state import EntryMap
from state.history import History, read_history, times_of, write_history
from state.history_part import read_part, write_part

EVERYONE = b"*"
_LEAST_BYTES = 1 << 16
_FORGOTTEN = b""


class _Part(NamedTuple):
    """What is known of a part of the log.

    Attributes:
        entities: whose histories it has.
        plain_bytes: how many bytes these and the entities have.
        held_bytes: how many it takes in state.
    """

    entities: tuple[bytes, ...]
    plain_bytes: int
    held_bytes: int


class _Log:
    """The log of one shard.

    Attributes:
        known: the history of each entity, in the order in which they were last written or put last; after a
            restart in that of the log, where old ones were moved.
        bytes: how many bytes the log takes in state.
    """

    def __init__(self, parts: Iterable[tuple[bytes, bytes]]) -> None:
        self.known: dict[bytes, bytes] = {}
        self.bytes = self._plain_bytes = self._true_bytes = self._next = 0
        self._place: dict[bytes, int] = {}
        self._parts: dict[int, _Part] = {}
        """From the oldest on."""
        for key, data in sorted(parts):
            self._next = int.from_bytes(key, "big")
            self._take(dict(read_part(data)), len(key) + len(data))

    def append(self, changed: Mapping[bytes, bytes], held: EntryMap) -> None:
        """Write what has changed, and somewhat of what is old once more."""
        if not any(changed.values()) and self.known.keys() <= changed.keys():
            self._clear(held)
            return
        entries, old = dict(changed), []
        spare = self._plain_bytes - 2 * self._true_bytes - _LEAST_BYTES
        moved = 0
        for number, part in self._parts.items():
            if spare <= 0 or moved > 2 * sum(map(len, changed.values())) + _LEAST_BYTES:
                break
            for entity in part.entities:
                if self._place.get(entity) == number and entity in self.known and entity not in entries:
                    entries[entity] = self.known[entity]
                    moved += len(entity) + len(entries[entity])
            old.append(number)
            spare -= part.plain_bytes
        key, data = self._next.to_bytes(8, "big"), write_part(entries)
        held.put(key, data)
        self._take(entries, len(key) + len(data))
        for number in old:
            held.remove(number.to_bytes(8, "big"))
            part = self._parts.pop(number)
            self.bytes -= part.held_bytes
            self._plain_bytes -= part.plain_bytes
            for entity in part.entities:
                if self._place[entity] == number:  # forgotten, and no part before this one has it
                    del self._place[entity]

    def _clear(self, held: EntryMap) -> None:
        for number in self._parts:
            held.remove(number.to_bytes(8, "big"))
        self.bytes = self._plain_bytes = self._true_bytes = 0
        for known in (self.known, self._place, self._parts):
            known.clear()

    def _take(self, entries: Mapping[bytes, bytes], held_bytes: int) -> None:
        for entity, data in entries.items():
            before = self.known.get(entity)
            if before is not None:
                self._true_bytes -= len(entity) + len(before)
            if before is not data:  # what is only moved keeps its place
                self.known.pop(entity, None)
            if data != _FORGOTTEN:
                self.known[entity] = data
                self._true_bytes += len(entity) + len(data)
        self._place |= dict.fromkeys(entries, self._next)
        plain_bytes = sum(map(len, entries)) + sum(map(len, entries.values()))
        self._parts[self._next] = _Part(tuple(entries), plain_bytes, held_bytes)
        self.bytes += held_bytes
        self._plain_bytes += plain_bytes
        self._next += 1


class HistoryState:
    """Histories by shard.

    Args:
        held: the map, which shows what the shard at hand has.
    """

    def __init__(self, held: EntryMap) -> None:
        """Wrap the map; nothing is read yet."""
        self._held = held
        self._logs: dict[str, _Log] = {}

    def read(self, shard: str, entity: bytes) -> History:
        """Return the history of an entity of the shard at hand, a new one where there is none.

        What is changed in it has to be written.
        """
        data = self._log(shard).known.get(entity)
        return History() if data is None else read_history(data)

    def write(self, shard: str, histories: Mapping[bytes, History]) -> None:
        """Keep the histories of entities of the shard at hand."""
        self._append(shard, {entity: write_history(history) for entity, history in histories.items()})

    def forget(self, shard: str, entities: Iterable[bytes]) -> None:
        """Forget entities of the shard at hand."""
        self._append(shard, dict.fromkeys(entities, _FORGOTTEN))

    def times(self, shard: str) -> Iterator[tuple[bytes, int, int]]:
        """Yield the entities of the shard at hand, with what `times_of` tells of each.

        Those that were not written or put last for the longest come first, or soon after a restart.
        """
        for entity, data in self._log(shard).known.items():
            if entity != EVERYONE:
                yield entity, *times_of(data)

    def put_last(self, shard: str, entities: Iterable[bytes]) -> None:
        """Have `times` tell entities of the shard at hand behind all others."""
        known = self._log(shard).known
        for entity in entities:
            known[entity] = known.pop(entity)

    def holds_any(self, shard: str) -> bool:
        """Return whether there is any entity of the shard at hand."""
        return any(entity != EVERYONE for entity in self._log(shard).known)

    def entities(self) -> int:
        """Return how many entities all shards have that this process has had at hand."""
        return sum(len(log.known) - (EVERYONE in log.known) for log in self._logs.values())

    def bytes(self) -> int:
        """Return how many bytes those shards take in state."""
        return sum(log.bytes for log in self._logs.values())

    def _append(self, shard: str, changed: Mapping[bytes, bytes]) -> None:
        if changed:
            self._log(shard).append(changed, self._held)

    def _log(self, shard: str) -> _Log:
        log = self._logs.get(shard)
        if log is None:
            parts = ((bytes(key), bytes(data)) for key, data in self._held.items())
            log = self._logs[shard] = _Log(parts)
        return log
