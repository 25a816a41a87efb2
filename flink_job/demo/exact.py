"""The exact answers to the demo's questions, from the events themselves, in plain Python.

Nothing of the job is used here, neither its parsing nor its windows nor its sketches, so that an answer and
its check cannot be wrong in the same way. Events are read with the standard library's ``json``; users are
kept in sets, counts in dicts, and sums are rounded once (``math.fsum``).
"""

from __future__ import annotations

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

WHOLE_DAY_MS = (86_400_000, 86_400_000)
SLIDING_MS = (300_000, 60_000)
WINDOWS_MS = (WHOLE_DAY_MS, SLIDING_MS)
"""Size and slide in ms of the demo's windows; each slide divides its size and is a multiple of a minute."""

_MINUTE_MS = 60_000
_TEXT_FIELDS = ("user_id", "action", "item_id")
_REQUIRED = ("user_id", "action", "ts")


@dataclass
class WindowAnswers:
    """What happened within one window, exactly.

    Attributes:
        events: number of accepted events.
        users: who was there.
        buyers: who purchased.
        actions: events by action.
        items: events by item; an event without an item counts for none.
        values: by action, the values of its events, in no particular order.
    """

    events: int = 0
    users: set[str] = field(default_factory=set)
    buyers: set[str] = field(default_factory=set)
    actions: Counter[str] = field(default_factory=Counter)
    items: Counter[str] = field(default_factory=Counter)
    values: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))

    def add(self, event: dict[str, Any]) -> None:
        """Count one accepted event."""
        user, action, item, value = (
            event["user_id"],
            event["action"],
            event.get("item_id"),
            event.get("value"),
        )
        self.events += 1
        self.users.add(user)
        self.actions[action] += 1
        if action == "purchase":
            self.buyers.add(user)
        if item is not None:
            self.items[item] += 1
        if value is not None:
            self.values[action].append(value)

    def absorb(self, other: WindowAnswers) -> None:
        """Count all that ``other`` counted."""
        self.events += other.events
        self.users |= other.users
        self.buyers |= other.buyers
        self.actions.update(other.actions)
        self.items.update(other.items)
        for action, values in other.values.items():
            self.values[action].extend(values)

    def value_of(self, action: str) -> float:
        """The sum of the values of an action's events, rounded once."""
        return math.fsum(self.values.get(action, ()))

    def quantile(self, action: str, rank: float) -> float | None:
        """The smallest value of an action's events that at least ``rank`` of them do not exceed.

        Args:
            action: which events.
            rank: 0 to 1.

        Returns:
            The value; None without events.
        """
        values = sorted(self.values.get(action, ()))
        return values[max(math.ceil(rank * len(values)) - 1, 0)] if values else None


@dataclass(frozen=True)
class ExactAnswers:
    """The exact answers to all the demo asks.

    Attributes:
        events: number of lines read, bad ones included.
        rejects: number of lines that are not acceptable events.
        windows: by ``(start_ms, end_ms)``, every window that has an event.
    """

    events: int
    rejects: int
    windows: dict[tuple[int, int], WindowAnswers]

    def whole_run(self) -> WindowAnswers:
        """The answers of the day with the most events: the whole run, if it began and ended on one day."""
        days = [answers for (start, end), answers in self.windows.items() if end - start == WHOLE_DAY_MS[0]]
        return max(days, key=lambda answers: answers.events, default=WindowAnswers())


def exact_answers(
    chunks: Iterable[bytes], windows_ms: Iterable[tuple[int, int]] = WINDOWS_MS
) -> ExactAnswers:
    """Count exactly what is in the events, window by window.

    Args:
        chunks: JSON events, one a line, each chunk of whole lines.
        windows_ms: size and slide in ms of each kind of window, aligned to the epoch; whole minutes.

    Returns:
        The answers; memory grows with the number of events, as exact answers do.
    """
    events = rejects = 0
    minutes: dict[int, WindowAnswers] = defaultdict(WindowAnswers)
    for chunk in chunks:
        for line in chunk.splitlines():
            events += 1
            event = _accepted(line)
            if event is None:
                rejects += 1
            else:
                minutes[event["ts"] // _MINUTE_MS * _MINUTE_MS].add(event)
    windows: dict[tuple[int, int], WindowAnswers] = defaultdict(WindowAnswers)
    for size_ms, every_ms in windows_ms:
        for minute, answers in minutes.items():
            newest = minute // every_ms * every_ms
            for start in range(newest, minute - size_ms, -every_ms):
                windows[start, start + size_ms].absorb(answers)
    return ExactAnswers(events, rejects, dict(windows))


def _accepted(line: bytes) -> dict[str, Any] | None:
    """The event, if the demo's pipeline accepts it."""
    try:
        event = json.loads(line.decode("utf-8"))
    except ValueError:  # also what is not UTF-8
        return None
    if not isinstance(event, dict) or any(event.get(name) is None for name in _REQUIRED):
        return None
    value = event.get("value")
    readable = (
        all(isinstance(event.get(name), str | None) for name in _TEXT_FIELDS)
        and type(event["ts"]) is int
        and (value is None or type(value) in (int, float))
    )
    return event if readable and (value is None or value >= 0) else None
