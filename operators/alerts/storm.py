"""At most so many alerts of a rule in each interval: which pass, and how many did not."""

from __future__ import annotations

from dataclasses import dataclass

from state.delivery_state import DeliveryState, RuleCount


@dataclass(frozen=True)
class Suppressed:
    """How many alerts of a rule were suppressed in an interval, and the severity of the last."""

    rule: str
    severity: str
    count: int
    from_ms: int
    to_ms: int


class StormLimit:
    """Counts the alerts of one channel by rule, in intervals of the wall clock.

    A clock that goes back does not end an interval, nor begin one anew.

    Args:
        state: what the channel has in state.
        at_most: how many alerts of a rule pass in an interval.
        every_ms: the interval's length; intervals are aligned to the epoch.
    """

    def __init__(self, state: DeliveryState, at_most: int, every_ms: int) -> None:
        """Go on from state."""
        self._state, self._at_most, self._every_ms = state, at_most, every_ms
        self._rules = dict(state.rules)

    def lets_pass(self, rule: str, severity: str, now_ms: int) -> bool:
        """Count an alert and return whether it passes; `ended` has to be asked first at this time."""
        interval = now_ms // self._every_ms
        count = self._rules.get(rule, RuleCount(interval, 0, 0, severity))
        passes = count.passed < self._at_most
        if passes:
            count = RuleCount(count.interval, count.passed + 1, count.suppressed, count.severity)
        else:
            count = RuleCount(count.interval, count.passed, count.suppressed + 1, severity)
        self._rules[rule] = count
        self._state.put_rule(rule, count)
        return passes

    def ended(self, now_ms: int) -> list[Suppressed]:
        """Return what was suppressed in intervals that are over, each once."""
        return self._over(now_ms // self._every_ms)

    def end(self) -> list[Suppressed]:
        """Return what was suppressed in the interval at hand: no more is to come."""
        return self._over(None)

    def next_ms(self) -> int | None:
        """Return when an interval ends in which something was suppressed."""
        intervals = [count.interval for count in self._rules.values() if count.suppressed]
        return (min(intervals) + 1) * self._every_ms if intervals else None

    def _over(self, interval: int | None) -> list[Suppressed]:
        over = [rule for rule, count in self._rules.items() if interval is None or count.interval < interval]
        told = []
        for rule in over:
            count = self._rules.pop(rule)
            self._state.remove_rule(rule)
            if count.suppressed:
                from_ms, to_ms = (n * self._every_ms for n in (count.interval, count.interval + 1))
                told.append(Suppressed(rule, count.severity, count.suppressed, from_ms, to_ms))
        return told
