"""Alerts of rules on results."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import msgspec

from operators.metric import Metric
from operators.rules.alerts import AlertWriter
from operators.rules.compiled_rule import CompiledRule
from operators.rules.result_columns import Window
from operators.windows.results import result_id
from operators.windows.slices import TimeWindow

_encode = msgspec.json.encode
_ABSENT = "absent"
Status = Literal["firing", "resolved"]


@dataclass(frozen=True)
class Named:
    """A key that rules look at.

    Attributes:
        metric: the metric.
        window: the window.
        values: the values of `by`, in their order.
        item: the item as JSON; empty bytes where results have none.
    """

    metric: Metric
    window: Window
    values: tuple[object, ...]
    item: bytes

    @property
    def fields(self) -> dict[str, object]:
        """The key as alerts show it: that of the result, and the item."""
        fields = dict(zip(self.metric.by, self.values, strict=True))
        if self.item:
            fields[self.metric.aggregator.columns().item] = msgspec.json.decode(self.item)
        return fields

    def subject(self, start_ms: int, *more: str) -> bytes:
        """Return what an alert about the key is about, as canonical JSON."""
        item = (msgspec.json.decode(self.item),) if self.item else ()
        return _encode([[*self.values, *item], start_ms, *more])


@dataclass(frozen=True)
class Told:
    """The window that an alert tells of.

    Attributes:
        window: the window, as results describe it.
        result_id: the id of its result.
        values: of the columns that rules read; None where there is no result.
    """

    window: Mapping[str, int | str]
    result_id: str
    values: Mapping[str, object] | None = None


class ResultAlerts:
    """Writes the alerts of rules on results.

    Attributes:
        written: how many were written, by rule.

    Args:
        pipeline: the pipeline's name.
    """

    def __init__(self, pipeline: str) -> None:
        """Keep the name."""
        self._pipeline, self._writer = pipeline, AlertWriter(pipeline)
        self.written: Counter[str] = Counter()

    def told(self, named: Named, start_ms: int, end_ms: int) -> Told:
        """Return what can be told of a window of which only the times are known."""
        window = named.window
        if isinstance(window, TimeWindow):
            described = window.describe(end_ms)
        else:
            described = window.describe(start_ms, end_ms - window.gap_ms)
        id_ = result_id(self._pipeline, named.metric.name, _encode(named.values), described)
        return Told(described, id_)

    def of_value(
        self, rule: CompiledRule, named: Named, told: Told, status: Status, start_ms: int, now_ms: int
    ) -> bytes:
        """Return that a rule begins to speak of a key, or is quiet again.

        Args:
            rule: the rule.
            named: the key.
            told: the window that made it so.
            status: which of the two.
            start_ms: the start of the window at which it began to speak.
            now_ms: the wall clock.
        """
        subject = named.subject(start_ms)
        return self._alert(rule, named, told, status, subject, int(told.window["end_ms"]), now_ms)

    def of_absence(
        self,
        rule: CompiledRule,
        named: Named,
        told: Told,
        status: Status,
        last_start_ms: int,
        event_time_ms: int,
        now_ms: int,
    ) -> bytes:
        """Return that a key has no result for long, or has one again.

        Args:
            rule: the rule.
            named: the key.
            told: its last window, or the one that it has again.
            status: which of the two.
            last_start_ms: the start of its last window.
            event_time_ms: when it was absent for long, or the end of the window that it has again.
            now_ms: the wall clock.
        """
        subject = named.subject(last_start_ms, _ABSENT)
        return self._alert(rule, named, told, status, subject, event_time_ms, now_ms)

    def _alert(
        self,
        rule: CompiledRule,
        named: Named,
        told: Told,
        status: Status,
        subject: bytes,
        event_time_ms: int,
        now_ms: int,
    ) -> bytes:
        self.written[rule.rule.name] += 1
        known = named.fields if told.values is None else told.values
        values = {name: known.get(name) for name in rule.columns}
        about = {"metric": named.metric.name, "window": told.window, "result_id": told.result_id}
        key = named.fields
        return self._writer.alert(rule, subject, status, key, values, event_time_ms, now_ms, about)
