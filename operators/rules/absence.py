"""Keys that have no result any more: when rules tell of them, and when they are forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from operators.metric import Metric
from operators.rules.held_key import HeldKey
from operators.rules.result_alerts import Named, ResultAlerts, Told
from operators.rules.result_rules import ResultRules, WindowRules


class Absence:
    """Tells of keys that are absent.

    Args:
        rules: the rules there are.
        alerts: writes what is told.
    """

    def __init__(self, rules: ResultRules, alerts: ResultAlerts) -> None:
        """Keep the parts."""
        self._rules, self._alerts = rules, alerts

    def fallen(
        self, key: HeldKey, named: Named, own: WindowRules, is_long: Callable[[int], bool], now_ms: int
    ) -> Iterator[bytes]:
        """Tell that a key has had no result for long, where that was not told yet.

        Args:
            key: the key.
            named: what it is called.
            own: the rules on its window.
            is_long: whether a rule is to be told after so many milliseconds without a result.
            now_ms: the wall clock.
        """
        start_ms, end_ms = key.last
        for name, absent_for_ms in own.absent_for_ms.items():
            if not key.alarms[name].absent and is_long(absent_for_ms):
                key.alarms[name].absent = True
                told, since_ms = self._alerts.told(named, start_ms, end_ms), end_ms + absent_for_ms
                rule = own.rules[name]
                yield self._alerts.of_absence(rule, named, told, "firing", start_ms, since_ms, now_ms)

    def returned(
        self, key: HeldKey, named: Named, own: WindowRules, told: Told, now_ms: int
    ) -> Iterator[bytes]:
        """Tell that a key is there again.

        Where windows come together, with more between their ends than a rule lets pass, a timer would come
        too late: that the key was absent is told now. Rules that are off only take back what they said.

        Args:
            key: the key, before the window is taken.
            named: what it is called.
            own: the rules on its window.
            told: the window that it has now.
            now_ms: the wall clock.
        """
        if key.last is None:
            return
        start_ms, last_end_ms = key.last
        end_ms = int(told.window["end_ms"])
        is_later = end_ms > last_end_ms
        if is_later:

            def is_long(absent_for_ms: int) -> bool:
                return end_ms - 1 > last_end_ms + absent_for_ms

            yield from self.fallen(key, named, own, is_long, now_ms)
        for name, alarm in key.alarms.items():
            if alarm.absent and (is_later or name not in own.rules):
                alarm.absent = False
                if (rule := self._rules.rule(name)) is not None:
                    yield self._alerts.of_absence(rule, named, told, "resolved", start_ms, end_ms, now_ms)

    def forgotten(self, key: HeldKey, named: Named, now_ms: int) -> Iterator[bytes]:
        """Take back all that is said of a key that is forgotten now."""
        start_ms, end_ms = key.last
        told = self._alerts.told(named, start_ms, end_ms)
        for alarm in key.alarms.values():
            rule = self._rules.rule(alarm.rule)
            if rule is None:
                continue
            if alarm.since_ms is not None:
                yield self._alerts.of_value(rule, named, told, "resolved", alarm.since_ms, now_ms)
            if alarm.absent:
                yield self._alerts.of_absence(rule, named, told, "resolved", start_ms, end_ms, now_ms)


def due_ms(metric: Metric, own: WindowRules, key: HeldKey) -> int:
    """Return the watermark at which a key is next absent for a rule, or forgotten.

    Results of metrics that gather come `delay_ms` behind the watermark, and so does what is missing.
    """
    waits = [wait_ms for name, wait_ms in own.absent_for_ms.items() if not key.alarms[name].absent]
    return key.last[1] + min([*waits, own.remember_ms]) + metric.delay_ms
