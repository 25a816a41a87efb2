"""Features over the events of a time up to now: how many, the sum of a number, how many different values.

The window of an event at `t` is `(t - within, t]`, by the times of the entity's clock, which never goes back.
As long as an entity has events of at most 256 different milliseconds in the window (or so many different
values), answers are exact. Beyond that older events are put together in cells of a 64th of the window, each
at the time of the newest of its events. So none is left out too early, and some count for up to a 64th of the
window longer than they should. A value that is put together with others is no longer known: when it comes
again it counts once more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import floor, fsum, inf, isfinite, log10
from struct import Struct as Layout

import mmh3

from operators.rules.record_columns import Value
from operators.rules.resolved import FeatureColumn
from state.history_state import Counted, Different, Summed

MOST_EXACT = 256
CELLS = 64
_DIGITS = 15
_DOUBLE, _BITS = Layout("<d"), Layout("<q")


class CountRun:
    """Counts events.

    Args:
        column: the feature.
    """

    new = Counted

    def __init__(self, column: FeatureColumn) -> None:
        """Take the window."""
        self._within_ms = column.feature.within

    def run(
        self,
        states: Sequence[Counted],
        owners: Sequence[int],
        clocks: Sequence[int],
        counts: Iterable[int],
        reads: Sequence[Sequence[Value]],
    ) -> list[Value]:
        """Return how many events there were, that at hand included, for each event in order."""
        within_ms, told = self._within_ms, []
        for owner, clock, counted in zip(owners, clocks, counts, strict=False):
            kept = states[owner].counts
            forget(kept, clock - within_ms)
            if counted:
                kept[clock] = kept.get(clock, 0) + 1
                if len(kept) > MOST_EXACT:
                    put_together(kept, within_ms, sum)
            told.append(sum(kept.values()))
        return told


class SumRun:
    """Adds up a number; events without it add nothing.

    Args:
        column: the feature.
    """

    new = Summed

    def __init__(self, column: FeatureColumn) -> None:
        """Take the window, and how sums are made."""
        self._within_ms = column.feature.within
        self._add = _sum_of_longs if column.reads[column.feature.of] == "long" else decimal_sum

    def run(
        self,
        states: Sequence[Summed],
        owners: Sequence[int],
        clocks: Sequence[int],
        counts: Iterable[int],
        reads: Sequence[Sequence[Value]],
    ) -> list[Value]:
        """Return the sum, the event at hand included, for each event in order; null where it is too large."""
        within_ms, add, told = self._within_ms, self._add, []
        for owner, clock, counted, value in zip(owners, clocks, counts, reads[0], strict=False):
            kept = states[owner].sums
            forget(kept, clock - within_ms)
            if counted and value is not None:
                kept[clock] = add((kept[clock], value)) if clock in kept else float(value)
                if len(kept) > MOST_EXACT:
                    put_together(kept, within_ms, add)
            total = add(kept.values()) if kept else 0.0
            told.append(total if isfinite(total) else None)
        return told


class DistinctRun:
    """Counts different values; events without one count nothing.

    Args:
        column: the feature.
    """

    new = Different

    def __init__(self, column: FeatureColumn) -> None:
        """Take the window and the column's type."""
        self._within_ms = column.feature.within
        self._bits = _BITS_OF[column.reads[column.feature.of]]

    def run(
        self,
        states: Sequence[Different],
        owners: Sequence[int],
        clocks: Sequence[int],
        counts: Iterable[int],
        reads: Sequence[Sequence[Value]],
    ) -> list[Value]:
        """Return how many values there were, that of the event at hand included, for each event in order."""
        within_ms, bits, told = self._within_ms, self._bits, []
        for owner, clock, counted, value in zip(owners, clocks, counts, reads[0], strict=False):
            state = states[owner]
            newest, older = state.newest, state.older
            _forget_values(newest, clock - within_ms)
            if older:
                forget(older, clock - within_ms)
            if counted and value is not None:
                own = bits(value)
                newest.pop(own, None)  # so that the newest is last
                newest[own] = clock
                if len(newest) > MOST_EXACT:
                    _put_values_together(state, within_ms)
            told.append(len(newest) + sum(older.values()) if older else len(newest))
        return told


def forget(kept: dict[int, float], up_to_ms: int) -> None:
    """Drop what is of a time up to this, out of amounts by time in ascending order."""
    while kept:
        first = next(iter(kept))
        if first > up_to_ms:
            return
        del kept[first]


def put_together(kept: dict[int, float], within_ms: int, add: Callable[[Iterable[float]], float]) -> None:
    """Put the older half of amounts by time together, cell by cell.

    Args:
        kept: the amounts, in ascending order of time.
        within_ms: the length of the window.
        add: adds amounts up.
    """
    times, amounts = list(kept), list(kept.values())
    recent = len(times) - MOST_EXACT // 2
    kept.clear()
    start = 0
    for end in range(1, recent + 1):
        if end == recent or times[end] * CELLS // within_ms != times[start] * CELLS // within_ms:
            kept[times[end - 1]] = amounts[start] if end == start + 1 else add(amounts[start:end])
            start = end
    kept.update(zip(times[recent:], amounts[recent:], strict=True))


def decimal_sum(values: Iterable[float]) -> float:
    """Return the sum of doubles that stand for decimal numbers, infinite or no number where it is too large.

    Where these have no more than 15 digits from the first of the sum of their sizes on, it is the double
    nearest to the true sum: three times 0.1 is 0.3. So it may be compared with a threshold.

    >>> decimal_sum([0.1, 0.1, 0.1]), decimal_sum([1e6 + 0.1, -1e6])
    (0.3, 0.1)
    """
    values = list(values)
    try:
        total = fsum(values)
        size = total if min(values) >= 0 else fsum(map(abs, values))
        return round(total, _DIGITS - 1 - floor(log10(size))) if size and isfinite(size) else total
    except (OverflowError, ValueError):  # too large on the way, or infinities of both signs
        return inf


def _sum_of_longs(values: Iterable[float]) -> float:
    return fsum(values)


def _forget_values(newest: dict[int, int], up_to_ms: int) -> None:
    while newest:
        first = next(iter(newest))
        if newest[first] > up_to_ms:
            return
        del newest[first]


def _put_values_together(state: Different, within_ms: int) -> None:
    """Keep of the older half of the values only how many there were, by time."""
    items = list(state.newest.items())
    older, recent = items[: len(items) - MOST_EXACT // 2], items[len(items) - MOST_EXACT // 2 :]
    state.newest.clear()
    state.newest.update(recent)
    for _, time_ms in older:
        state.older[time_ms] = state.older.get(time_ms, 0) + 1
    if len(state.older) > MOST_EXACT:
        put_together(state.older, within_ms, sum)


def _bits_of_text(text: str) -> int:
    return mmh3.hash64(text.encode())[0]


def _bits_of_double(value: float) -> int:
    return _BITS.unpack(_DOUBLE.pack(value + 0.0))[0]  # of 0.0 and -0.0 the same


_BITS_OF: dict[str, Callable[[Value], int]] = {
    "string": _bits_of_text,
    "long": int,
    "double": _bits_of_double,
    "bool": int,
}
