"""Tells beforehand which conditions may hold for some event of a record.

Most rules hold for none of a handful of events, and to compare all their thresholds, an array, with what the
columns reach takes microseconds where evaluating them all takes milliseconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

import numpy as np

from operators.expressions import Expression
from operators.expressions.necessary import OneOf, Reach, Reaches, reach
from operators.expressions.types import Typed
from operators.rules.record_columns import RecordColumns, Value


class RuleFilter:
    """The comparisons that conditions need, all of them as arrays.

    Args:
        conditions: the conditions.
    """

    def __init__(self, conditions: Sequence[Expression]) -> None:
        """Arrange what has to be compared."""
        self._count = len(conditions)
        needs = [(number, one) for number, condition in enumerate(conditions) for one in condition.necessary]
        self._conditions = np.array([number for number, _ in needs], np.int64)
        self._ends: dict[Typed, int] = {}
        compared, self._by_text, texts = [], {}, []
        for alternative, (_, all_of) in enumerate(needs):
            for need in all_of:
                if isinstance(need, Reaches):
                    compared.append((alternative, self._end(need.high), self._end(need.low)))
                elif isinstance(need, OneOf):
                    by_value = self._by_text.setdefault(need.column, {})
                    for value in need.values:
                        by_value.setdefault(value, []).append(len(texts))
                    texts.append(alternative)
        self._owners, self._high, self._low = np.array(compared, np.int64).reshape(-1, 3).T
        self._text_owners = np.array(texts, np.int64)
        self._varying = [(typed, end) for typed, end in self._ends.items() if typed.operator != "literal"]
        self._read = {name for typed, _ in self._varying for name in _columns(typed)}
        ends = [reach(typed, {}) if typed.operator == "literal" else (0, 0) for typed in self._ends]
        self._least, self._most = np.array(ends, float).reshape(-1, 2).T.copy()

    def possible(self, columns: RecordColumns) -> list[int]:
        """Return the numbers of the conditions that may hold for some event.

        Args:
            columns: the columns of the events.
        """
        may_be = np.ones(len(self._conditions), bool)
        if len(self._owners):
            reached = {name: _reach(columns.values[name]) for name in self._read}
            for typed, end in self._varying:
                self._least[end], self._most[end] = reach(typed, reached)
            may_be[self._owners[self._most[self._high] < self._least[self._low]]] = False
        if len(self._text_owners):
            met = np.zeros(len(self._text_owners), bool)
            for name, by_value in self._by_text.items():
                for value in by_value.keys() & set(columns.values[name]):
                    met[by_value[value]] = True
            may_be[self._text_owners[~met]] = False
        possible = np.zeros(self._count, bool)
        possible[self._conditions[may_be]] = True
        return np.flatnonzero(possible).tolist()

    def _end(self, typed: Typed) -> int:
        return self._ends.setdefault(typed, len(self._ends))


def _reach(values: list[Value]) -> Reach:
    there = [value for value in values if value is not None]
    return (min(there), max(there)) if there else (inf, -inf)


def _columns(typed: Typed) -> set[str]:
    if typed.operator == "column":
        return {str(typed.value)}
    return {name for argument in typed.arguments for name in _columns(argument)}
