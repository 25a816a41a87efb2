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

    Args:
        before: what was before the first window.
        flags: which conditions hold for each window, a byte each, in the order of their ends.
        starts_ms: their starts.
        for_windows: how many windows in a row `when` has to hold for.
    """
    found = [] if before.firing_ms is None else [(before.firing_ms, False)]
    for own, start_ms in zip(flags, starts_ms, strict=True):
        after = step(before, own, start_ms, for_windows)
        if before.firing_ms is None and after.firing_ms is not None:
            found.append((after.firing_ms, False))
        elif before.firing_ms is not None and after.firing_ms is None:
            found[-1] = (before.firing_ms, True)
        before = after
    return found
