"""What rules on results remember of one key, taken apart so that windows can come, change and go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from operators.rules.alarm import Before, Turn, spells, step, turns
from operators.rules.compiled_rule import CompiledRule
from operators.rules.result_rules import WindowRules
from state.alarm_state import WINDOW_TYPE, Alarm, Remembered


class HeldKey:
    """One key.

    Args:
        remembered: what is remembered; None where there is nothing.
        own: the rules on the window that the key is of.

    Attributes:
        windows: the windows that are held, `(n,)` rows of `WINDOW_TYPE`, in the order of their ends.
        alarms: what each rule remembers, by its name.
        last: start and end of the window that ended last; None where there was none.
    """

    def __init__(self, remembered: Remembered | None, own: WindowRules) -> None:
        """Take it apart; rules that are new or have changed begin anew."""
        self._own = own
        self.windows, self.alarms, self.last = np.empty(0, WINDOW_TYPE), {}, None
        if remembered is not None:
            self.windows = np.frombuffer(remembered.windows, WINDOW_TYPE)
            self.alarms = {alarm.rule: alarm for alarm in remembered.alarms}
            self.last = remembered.last_start_ms, remembered.last_end_ms
        for name in own.rules:
            known = self.alarms.get(name)
            if known is None or known.mark != own.marks[name]:
                flags = bytes(len(self.windows))
                since_ms, absent = (known.since_ms, known.absent) if known else (None, False)
                self.alarms[name] = Alarm(name, own.marks[name], since_ms, 0, flags, since_ms, absent)
        starts_ms = self._starts_ms()
        self._said = {name: self._spells(rule, starts_ms) for name, rule in own.rules.items()}

    def place(self, start_ms: int, end_ms: int, number: float, revision: int) -> int | None:
        """Make room for a window, in the order of ends; what was held of the same window goes.

        Args:
            start_ms: its start.
            end_ms: its end.
            number: what rules compare, NaN for null.
            revision: of the result.

        Returns:
            Its place; None where a later revision is held, or where it is older than all that is held and
            there is no room for it.
        """
        if not self.take_out(start_ms, revision) and np.any(self.windows["start_ms"] == start_ms):
            return None
        at = int(np.searchsorted(self.windows["end_ms"], end_ms, side="right"))
        if at == 0 and len(self.windows) >= self._own.keep:
            return None
        row = np.array([(start_ms, end_ms, number, revision)], WINDOW_TYPE)
        self.windows = np.concatenate([self.windows[:at], row, self.windows[at:]])
        for alarm in self.alarms.values():
            alarm.flags = alarm.flags[:at] + b"\0" + alarm.flags[at:]
        return at

    def take_out(self, start_ms: int, revision: int) -> bool:
        """Let go of a window where it is held with an earlier revision; return whether it was."""
        (found,) = np.nonzero((self.windows["start_ms"] == start_ms) & (self.windows["revision"] < revision))
        for at in found.tolist():
            self.windows = np.delete(self.windows, at)
            for alarm in self.alarms.values():
                alarm.flags = alarm.flags[:at] + alarm.flags[at + 1 :]
        return len(found) > 0

    def numbers_before(self, at: int, count: int) -> np.ndarray:
        """Return the numbers of up to so many windows before a place, `(n,) float64`."""
        return self.windows["value"][max(0, at - count) : at]

    def set_flags(self, at: int, flags: Mapping[str, int]) -> None:
        """Say which conditions of each rule hold for the window at a place."""
        for name, own in flags.items():
            alarm = self.alarms[name]
            alarm.flags = alarm.flags[:at] + bytes((own,)) + alarm.flags[at + 1 :]

    def turns(self) -> Iterator[tuple[str, Turn]]:
        """Yield what rules now have to say, by their names, since the key was taken apart.

        Rules that are not on this window any more only take back what they had said, and are forgotten.
        """
        starts_ms = self._starts_ms()
        for name, alarm in list(self.alarms.items()):
            rule = self._own.rules.get(name)
            if rule is None:
                if alarm.since_ms is not None:
                    yield name, Turn("resolved", alarm.since_ms)
                    alarm.since_ms = None
                if not alarm.absent:
                    del self.alarms[name]
                continue
            now = self._spells(rule, starts_ms)
            for turn in turns(self._said[name], now):
                yield name, turn
            alarm.since_ms = next((start_ms for start_ms, over in now[-1:] if not over), None)
            self._said[name] = now

    def remembered(self, due_ms: int, heard_ms: int) -> Remembered:
        """Return what to remember, with no more windows than rules need.

        Args:
            due_ms: the event time at which something is next to be done.
            heard_ms: the wall clock when a result of the key came last.
        """
        over = len(self.windows) - self._own.keep
        if over > 0:
            starts_ms = self._starts_ms()[:over]
            for name, alarm in self.alarms.items():
                self._forget_first(alarm, starts_ms, self._own.rules.get(name))
            self.windows = self.windows[over:]
        start_ms, end_ms = self.last
        windows = self.windows.tobytes()
        return Remembered(due_ms, heard_ms, start_ms, end_ms, windows, list(self.alarms.values()))

    def _forget_first(self, alarm: Alarm, starts_ms: list[int], rule: CompiledRule | None) -> None:
        before = Before(alarm.firing_ms, alarm.streak)
        if rule is not None:
            for own, start_ms in zip(alarm.flags, starts_ms, strict=False):
                before = step(before, own, start_ms, rule.rule.for_windows)
        alarm.firing_ms, alarm.streak = before
        alarm.flags = alarm.flags[len(starts_ms) :]

    def _spells(self, rule: CompiledRule, starts_ms: list[int]) -> list[tuple[int, bool]]:
        alarm = self.alarms[rule.rule.name]
        before = Before(alarm.firing_ms, alarm.streak)
        return spells(before, alarm.flags, starts_ms, rule.rule.for_windows)

    def _starts_ms(self) -> list[int]:
        return self.windows["start_ms"].tolist()
