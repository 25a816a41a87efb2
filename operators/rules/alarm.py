"""When a rule on results begins to speak of a key, and when it is quiet again: pure logic over windows.

Of each window that is held it is known whether `when` and `clear` hold. That, and what was before the first
of them, says at which windows the rule began to speak and was quiet again. A window that changes late, or is
taken out, changes the flags; what it changes of what was said before is said then.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

WHEN, CLEAR = 1, 2
"""Flags of a window: `when` holds; `clear` holds. Neither does where they are null."""
_YES = b"\1"
_HAS_WHEN, _HAS_CLEAR = (bytes(bool(flags & flag) for flags in range(256)) for flag in (WHEN, CLEAR))


class Before(NamedTuple):
    """What was before the windows that are held.

    Attributes:
        firing_ms: the start of the window at which the rule began to speak; None where it is quiet.
        streak: at how many windows in a row `when` held up to there, while it was quiet.
    """

    firing_ms: int | None = None
    streak: int = 0


class Turn(NamedTuple):
    """The rule begins to speak or is quiet again.

    Attributes:
        status: which of the two.
        start_ms: the start of the window at which it began to speak.
    """

    status: Literal["firing", "resolved"]
    start_ms: int


def step(before: Before, flags: int, start_ms: int, for_windows: int) -> Before:
    """Return what is known after one more window.

    Args:
        before: what was known before it.
        flags: which conditions hold for it.
        start_ms: its start.
        for_windows: how many windows in a row `when` has to hold for.
    """
    if before.firing_ms is not None:
        return Before() if flags & CLEAR else before
    streak = before.streak + 1 if flags & WHEN else 0
    return Before(start_ms) if streak >= for_windows else Before(None, streak)


def turns(old: Sequence[tuple[int, bool]], new: Sequence[tuple[int, bool]]) -> Iterator[Turn]:
    """Yield what has to be said so that what was said becomes what is true.

    Args:
        old: the spells, see `spells`, that were said.
        new: those that are true now.
    """
    said, true = dict(old), dict(new)
    for start_ms, over in old:
        if not over and true.get(start_ms, True):
            yield Turn("resolved", start_ms)
    for start_ms, over in new:
        if start_ms not in said or (said[start_ms] and not over):
            yield Turn("firing", start_ms)
            if over:
                yield Turn("resolved", start_ms)


def spells(
    before: Before, flags: bytes, starts_ms: Sequence[int], for_windows: int
) -> list[tuple[int, bool]]:
    """Return the spells during which a rule spoke: the start of each, and whether it is over.

    It is what `step` gives window by window, at a cost that grows with the spells, hardly with the windows.

    Args:
        before: what was before the first window.
        flags: which conditions hold for each window, a byte each, in the order of their ends.
        starts_ms: their starts.
        for_windows: how many windows in a row `when` has to hold for.
    """
    streak = before.streak
    begins = _YES * streak + flags.translate(_HAS_WHEN)
    ends = bytes(streak) + flags.translate(_HAS_CLEAR)
    in_a_row = _YES * for_windows
    found = [] if before.firing_ms is None else [(before.firing_ms, False)]
    speaks, at = before.firing_ms is not None, 0
    while (at := ends.find(_YES, at) if speaks else begins.find(in_a_row, at)) >= 0:
        if speaks:
            found[-1] = (found[-1][0], True)
        else:
            at += for_windows - 1
            found.append((int(starts_ms[at - streak]), False))
        speaks, at = not speaks, at + 1
    return found
