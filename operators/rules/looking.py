"""Looks at one result: what rules that are on it know of its key from then on, and what they say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from operators.metric import Metric
from operators.rules.absence import Absence, due_ms
from operators.rules.compiled_rule import COLUMNS_BEFORE, CompiledRule
from operators.rules.conditions import flags_of
from operators.rules.held_key import HeldKey
from operators.rules.result_alerts import Named, ResultAlerts, Told
from operators.rules.result_columns import ReadResult, ResultRows, Row, before_values
from operators.rules.result_rules import ResultRules, WindowRules
from state.alarm_state import Remembered

_ITEM = b"\n"
_encode = msgspec.json.encode
_decode = msgspec.json.decode


@dataclass
class Looking:
    """A result that is looked at.

    Attributes:
        too_old: how many of its rows were of windows that are not held any more, and so changed nothing.

    Args:
        metric: whose it is.
        rows: takes it apart.
        own: the rules on its window.
        rules: all rules.
        alerts: writes what rules say.
        result: the result.
        now_ms: the wall clock.
    """

    metric: Metric
    rows: ResultRows
    own: WindowRules
    rules: ResultRules
    alerts: ResultAlerts
    result: ReadResult
    now_ms: int
    too_old: int = field(init=False, default=0)

    def take(self, window_name: str, line: bytes, held: dict[bytes, Remembered]) -> Iterator[bytes]:
        """Change what is held of the key and its items; yield alerts.

        Args:
            window_name: names the window of the result.
            line: the result as JSON.
            held: the bucket of the key.
        """
        head = key_name(window_name, self.rows.key(self.result))
        rows = [] if self.result.retracted else self.rows.rows(line, self.result)
        looked = {head + _ITEM + row.item if row.item else head: row for row in rows}
        gone = []
        if self.result.revision:  # an earlier one may have had other items, or there is no window any more
            gone = [name for name in held if _is_of(name, head) and name not in looked]
        yield from self._look(looked, held)
        for name in gone:
            key, before = HeldKey(held[name], self.own), held[name]
            if key.take_out(self._start_ms, self.result.revision):
                yield from self._say(name, key, {})
                held[name] = key.remembered(before.due_ms, before.heard_ms)

    def _look(self, looked: Mapping[bytes, Row], held: dict[bytes, Remembered]) -> Iterator[bytes]:
        absence, told = Absence(self.rules, self.alerts), self._told(None)
        keys = {name: HeldKey(held.get(name), self.own) for name in looked if self.own.rules or name in held}
        placed = []
        for name, key in keys.items():
            yield from absence.returned(key, self._named(name), self.own, told, self.now_ms)
            at = key.place(self._start_ms, self._end_ms, looked[name].number, self.result.revision)
            if at is None:
                self.too_old += 1
            else:
                placed.append((name, key, at))
            if key.last is None or self._end_ms > key.last[1]:
                key.last = self._start_ms, self._end_ms
        values = self._evaluate(placed, looked)
        for name, key in keys.items():
            yield from self._say(name, key, values.get(name, {}))
            if key.alarms:
                held[name] = key.remembered(due_ms(self.metric, self.own, key), self.now_ms)
            else:
                held.pop(name, None)

    def _evaluate(
        self, placed: Sequence[tuple[bytes, HeldKey, int]], looked: Mapping[bytes, Row]
    ) -> dict[bytes, dict[str, Mapping[str, object]]]:
        """Find out which conditions hold; return what each rule read of each key."""
        by_before: dict[int, list[CompiledRule]] = {}
        for rule in self.own.rules.values():
            by_before.setdefault(rule.rule.before or 0, []).append(rule)
        read: dict[bytes, dict[str, Mapping[str, object]]] = {name: {} for name, _, _ in placed}
        for before, rules in by_before.items() if placed else ():
            values = [looked[name].values for name, _, _ in placed]
            if before:
                names = COLUMNS_BEFORE.keys() & {name for rule in rules for name in rule.columns}
                numbers = [key.numbers_before(at, before) for _, key, at in placed]
                values = [own | before_values(n, names) for own, n in zip(values, numbers, strict=True)]
            flags = flags_of(rules, values, self.rows.types)
            for (name, key, at), own, of_rules in zip(placed, values, flags, strict=True):
                key.set_flags(at, of_rules)
                read[name] |= dict.fromkeys(of_rules, own)
        return read

    def _say(self, name: bytes, key: HeldKey, values: Mapping[str, Mapping[str, object]]) -> Iterator[bytes]:
        for rule_name, turn in key.turns():
            rule = self.rules.rule(rule_name)
            if rule is not None:
                told = self._told(values.get(rule_name))
                yield self.alerts.of_value(
                    rule, self._named(name), told, turn.status, turn.start_ms, self.now_ms
                )

    def _told(self, values: Mapping[str, object] | None) -> Told:
        return Told(self.result.window, self.result.id, values)

    def _named(self, name: bytes) -> Named:
        return named(self.metric, self.own, name)

    @property
    def _start_ms(self) -> int:
        return int(self.result.window["start_ms"])

    @property
    def _end_ms(self) -> int:
        return int(self.result.window["end_ms"])


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
