"""Looks at results of one window: what rules on it know of their keys from then on, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec

from operators.metric import Metric
from operators.rules.absence import Absence, due_ms
from operators.rules.compiled_rule import COLUMNS_BEFORE, CompiledRule
from operators.rules.conditions import flags_of
from operators.rules.held_key import Change, HeldKey
from operators.rules.result_alerts import Named, ResultAlerts, Told
from operators.rules.result_columns import ReadResult, ResultRows, Row, before_values
from operators.rules.result_rules import ResultRules, WindowRules
from state.alarm_state import Remembered

_ITEM = b"\n"
_encode = msgspec.json.encode
_decode = msgspec.json.decode


class _Look(NamedTuple):
    """What a result changes of a key or of one of its items.

    Attributes:
        result: the result.
        name: what the key is remembered by.
        key: the key.
        change: of its windows.
        row: the number of what conditions are evaluated for; None where there is nothing.
        is_there: whether the result has the key; else it is taken out of the window.
    """

    result: ReadResult
    name: bytes
    key: HeldKey
    change: Change
    row: int | None
    is_there: bool


@dataclass
class Looking:
    """Results of one window of a metric, looked at together.

    Attributes:
        too_old: how many of their rows were of windows that are not held any more, and so changed nothing.

    Args:
        metric: whose they are.
        rows: takes them apart.
        window_name: names the window.
        own: the rules on it.
        rules: all rules.
        alerts: writes what rules say.
        now_ms: the wall clock.
    """

    metric: Metric
    rows: ResultRows
    window_name: str
    own: WindowRules
    rules: ResultRules
    alerts: ResultAlerts
    now_ms: int
    too_old: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Begin without a result."""
        self._absence = Absence(self.rules, self.alerts)
        self._by_before: dict[int, list[CompiledRule]] = {}
        for rule in self.own.rules.values():
            self._by_before.setdefault(rule.rule.before or 0, []).append(rule)
        self._looks: list[_Look] = []
        self._rows: list[tuple[Row, Change]] = []
        self._keys: dict[bytes, tuple[dict[bytes, Remembered], dict[bytes, HeldKey]]] = {}

    def take(self, line: bytes, result: ReadResult, held: dict[bytes, Remembered]) -> None:
        """Take the next result.

        Args:
            line: the result as JSON.
            result: the same, read.
            held: the bucket of its key.
        """
        head = key_name(self.window_name, self.rows.key(result))
        _, keys = self._keys.setdefault(head, (held, {}))
        rows = [] if result.retracted else self.rows.rows(line, result)
        looked = {head + _ITEM + row.item if row.item else head: row for row in rows}
        start_ms, end_ms = _times(result)
        for name, row in looked.items():
            if name not in keys and (self.own.rules or name in held):
                keys[name] = HeldKey(held.get(name), self.own)
            if name in keys:
                change = keys[name].place(start_ms, end_ms, row.number, result.revision)
                is_placed = change.at is not None
                self.too_old += not is_placed
                number = len(self._rows) if is_placed and self.own.rules else None
                self._looks.append(_Look(result, name, keys[name], change, number, True))
                if number is not None:
                    self._rows.append((row, change))
        if result.revision:  # an earlier one may have had other items, or there is no window any more
            known = dict.fromkeys([*(name for name in held if _is_of(name, head)), *keys])
            for name in (name for name in known if name not in looked):
                key = keys[name] if name in keys else HeldKey(held[name], self.own)
                change = key.take_out(start_ms, result.revision)
                if change is not None:
                    keys[name] = key
                    self._looks.append(_Look(result, name, key, change, None, False))

    def say(self) -> Iterator[bytes]:
        """Yield the alerts of all results that were taken; keep in their buckets what is known now."""
        flags, values = self._evaluate()
        for look in self._looks:
            yield from self._follow(look, flags, values)
        for held, keys in self._keys.values():
            for name, key in keys.items():
                if key.alarms:
                    held[name] = key.remembered()
                else:
                    held.pop(name, None)

    def _evaluate(self) -> tuple[dict[str, bytes], dict[int, list[Mapping[str, object]]]]:
        """Find out which conditions hold of each row; return what rules read of it too, by their `before`."""
        flags: dict[str, bytes] = {}
        read: dict[int, list[Mapping[str, object]]] = {}
        for before, rules in self._by_before.items() if self._rows else ():
            values = [row.values for row, _ in self._rows]
            if before:
                names = COLUMNS_BEFORE.keys() & {name for rule in rules for name in rule.columns}
                numbers = [change.numbers_before(before) for _, change in self._rows]
                values = [own | more for own, more in zip(values, before_values(numbers, names), strict=True)]
            flags |= flags_of(rules, values, self.rows.types)
            read[before] = values
        return flags, read

    def _follow(
        self,
        look: _Look,
        flags: Mapping[str, bytes],
        values: Mapping[int, list[Mapping[str, object]]],
    ) -> Iterator[bytes]:
        """Let a key know what has become of it; yield alerts."""
        result, key, row = look.result, look.key, look.row
        about, told = named(self.metric, self.own, look.name), Told(result.window, result.id)
        start_ms, end_ms = _times(result)
        if look.is_there:
            yield from self._absence.returned(key, about, self.own, told, self.now_ms)
            if key.last is None or end_ms > key.last[1]:
                key.last = start_ms, end_ms
        own = {} if row is None else {name: of_rows[row] for name, of_rows in flags.items()}
        for name, turn in key.follow(look.change, own):
            rule = self.rules.rule(name)
            if rule is not None:
                read = None if row is None or name not in own else values[rule.rule.before or 0][row]
                told = Told(result.window, result.id, read)
                yield self.alerts.of_value(rule, about, told, turn.status, turn.start_ms, self.now_ms)
        if look.is_there:
            key.due_ms, key.heard_ms = due_ms(self.metric, self.own, key), self.now_ms


def key_name(window_name: str, key: bytes) -> bytes:
    """Return what a key is remembered by, but for the item.

    Args:
        window_name: names the window.
        key: the values of `by` as a canonical JSON array.
    """
    return _encode([window_name, msgspec.Raw(key)])


def window_name_of(name: bytes) -> str:
    """Return the name of the window of what `key_name` made, an item behind it or not."""
    return _decode(name.partition(_ITEM)[0])[0]


def named(metric: Metric, own: WindowRules, name: bytes) -> Named:
    """Return the key of what `key_name` made, an item behind it or not."""
    head, _, item = name.partition(_ITEM)
    return Named(metric, own.window, tuple(_decode(head)[1]), item)


def _is_of(name: bytes, head: bytes) -> bool:
    return name == head or name.startswith(head + _ITEM)


def _times(result: ReadResult) -> tuple[int, int]:
    return int(result.window["start_ms"]), int(result.window["end_ms"])
