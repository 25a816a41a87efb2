"""What rules on results remember of one key, taken apart so that windows can come, change and go.

Of several results at once all windows are placed first, as conditions read what is before a window; what
rules say of it follows when all conditions have been evaluated, change by change.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

from operators.rules.alarm import Before, Turn, spells, step, turns
from operators.rules.compiled_rule import CompiledRule
from operators.rules.result_rules import WindowRules
from state.alarm_state import WINDOW_TYPE, Alarm, Remembered

_SIZE = WINDOW_TYPE.itemsize


class Change(NamedTuple):
    """What a result changes of the windows that are held; they are bytes, rows of `WINDOW_TYPE`.

    Attributes:
        before: the windows before.
        after: those after, with the ones that there is no room for.
        gone: the place that a window had that was let go of; None where none was.
        at: the place that one has that came; None where none did.
        over: how many, the first, there is no room for any more.
    """

    before: bytes
    after: bytes
    gone: int | None
    at: int | None
    over: int

    def numbers_before(self, count: int) -> np.ndarray:
        """Return the numbers of up to so many windows before the one that came, `(n,) float64`."""
        return _rows(self.after)["value"][max(0, self.at - count) : self.at]

    def flags(self, before: bytes, own: int) -> bytes:
        """Return the flags of all windows after the change.

        Args:
            before: those before.
            own: those of the window that came.
        """
        kept = before if self.gone is None else before[: self.gone] + before[self.gone + 1 :]
        return kept if self.at is None else kept[: self.at] + bytes((own,)) + kept[self.at :]


class HeldKey:
    """One key.

    Args:
        remembered: what is remembered; None where there is nothing.
        own: the rules on the window that the key is of.

    Attributes:
        alarms: what each rule remembers, by its name.
        last: start and end of the window that ended last; None where there was none.
        due_ms: the event time at which something is next to be done.
        heard_ms: the wall clock when a result of the key came last.
    """

    def __init__(self, remembered: Remembered | None, own: WindowRules) -> None:
        """Take it apart; rules that are new or have changed begin anew."""
        self._own, self._windows = own, b""
        self.alarms, self.last, self.due_ms, self.heard_ms = {}, None, 0, 0
        if remembered is not None:
            self._windows = remembered.windows
            self.alarms = {alarm.rule: alarm for alarm in remembered.alarms}
            self.last = remembered.last_start_ms, remembered.last_end_ms
            self.due_ms, self.heard_ms = remembered.due_ms, remembered.heard_ms
        for name in own.rules:
            known = self.alarms.get(name)
            if known is None or known.mark != own.marks[name]:
                flags = bytes(len(self._windows) // _SIZE)
                since_ms, absent = (known.since_ms, known.absent) if known else (None, False)
                self.alarms[name] = Alarm(name, own.marks[name], since_ms, 0, flags, since_ms, absent)

    def place(self, start_ms: int, end_ms: int, number: float, revision: int) -> Change:
        """Make room for a window, in the order of ends; what was held of the same window goes.

        None comes where a later revision is held, or where it is older than all that is held and there is no
        room for it.

        Args:
            start_ms: its start.
            end_ms: its end.
            number: what rules compare, NaN for null.
            revision: of the result.
        """
        held, gone, windows = self._find(start_ms, revision)
        if held and gone is None:
            return self._change(windows, None, None)
        ends = _rows(windows)["end_ms"]
        at = len(ends)
        if at and ends[-1] > end_ms:
            at = int(np.searchsorted(ends, end_ms, side="right"))
        if at == 0 and len(ends) >= self._own.keep:
            return self._change(windows, gone, None)
        row = np.array([(start_ms, end_ms, number, revision)], WINDOW_TYPE).tobytes()
        return self._change(windows[: at * _SIZE] + row + windows[at * _SIZE :], gone, at)

    def take_out(self, start_ms: int, revision: int) -> Change | None:
        """Let go of a window where it is held with an earlier revision; return None where it is not."""
        _, gone, windows = self._find(start_ms, revision)
        return None if gone is None else self._change(windows, gone, None)

    def follow(self, change: Change, flags: Mapping[str, int]) -> Iterator[tuple[str, Turn]]:
        """Yield what rules have to say of a change, by their names.

        Rules that are not on this window any more only take back what they had said, and are forgotten.

        Args:
            change: the first one that was not followed yet.
            flags: which conditions of each rule hold for the window that came.
        """
        starts_ms = _rows(change.before)["start_ms"], _rows(change.after)["start_ms"]
        for name, alarm in list(self.alarms.items()):
            both = alarm.flags, change.flags(alarm.flags, flags.get(name, 0))
            rule = self._own.rules.get(name)
            if rule is not None:
                before, for_windows = Before(alarm.firing_ms, alarm.streak), rule.rule.for_windows
                said, now = (
                    spells(before, own, own_ms, for_windows)
                    for own, own_ms in zip(both, starts_ms, strict=True)
                )
                for turn in turns(said, now):
                    yield name, turn
                alarm.since_ms = next((start_ms for start_ms, over in now[-1:] if not over), None)
            elif alarm.since_ms is not None:
                yield name, Turn("resolved", alarm.since_ms)
                alarm.since_ms = None
            if rule is None and not alarm.absent:
                del self.alarms[name]
            else:
                _forget_first(change.over, alarm, both[1], starts_ms[1], rule)

    def remembered(self) -> Remembered:
        """Return what to remember."""
        return Remembered(self.due_ms, self.heard_ms, *self.last, self._windows, list(self.alarms.values()))

    def _find(self, start_ms: int, revision: int) -> tuple[bool, int | None, bytes]:
        """Look for a window.

        Returns:
            Whether it is held, its place where that is with an earlier revision, and the windows without it.
        """
        windows = self._windows
        rows = _rows(windows)
        (found,) = np.nonzero(rows["start_ms"] == start_ms)
        if not len(found):
            return False, None, windows
        at = int(found[0])
        if rows["revision"][at] >= revision:
            return True, None, windows
        return True, at, windows[: at * _SIZE] + windows[(at + 1) * _SIZE :]

    def _change(self, after: bytes, gone: int | None, at: int | None) -> Change:
        over = max(0, len(after) // _SIZE - self._own.keep)
        before, self._windows = self._windows, after[over * _SIZE :]
        return Change(before, after, gone, at, over)


def _forget_first(
    count: int, alarm: Alarm, flags: bytes, starts_ms: np.ndarray, rule: CompiledRule | None
) -> None:
    """Let an alarm have these flags, but for the first windows, of which it keeps what comes of them."""
    if rule is not None:
        before = Before(alarm.firing_ms, alarm.streak)
        for own, start_ms in zip(flags[:count], starts_ms[:count].tolist(), strict=True):
            before = step(before, own, start_ms, rule.rule.for_windows)
        alarm.firing_ms, alarm.streak = before
    alarm.flags = flags[count:]


def _rows(windows: bytes) -> np.ndarray:
    return np.frombuffer(windows, WINDOW_TYPE)
