"""Features over the events of a time up to now: how many, the sum of a number, how many different values.

The window of an event at `t` is `(t - within, t]`, by the times of the entity's clock, which never goes back.
As long as an entity has events of at most 256 different milliseconds in the window (or so many different
values), answers are exact. Beyond that older events are put together in cells of a 64th of the window, each
at the time of the newest of its events. So none is left out too early, and some count for up to a 64th of the
window longer than they should. A value that is put together with others is no longer known: when it comes
again it counts once more.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from itertools import pairwise
from math import floor, fsum, inf, isfinite, log10
from struct import Struct as Layout

import mmh3

from operators.rules.record_columns import Value
from operators.rules.resolved import FeatureColumn
from sketches.exact_sum import nearest_double
from state.history import Counted, Different, Summed

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
            state = states[owner]
            times, kept = state.times, state.counts
            forget(times, kept, clock - within_ms)
            if counted:
                if times and times[-1] == clock:
                    kept[-1] += 1
                else:
                    times.append(clock)
                    kept.append(1)
                    if len(times) > MOST_EXACT:
                        put_together(times, kept, within_ms, sum)
            told.append(sum(kept))
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
            state = states[owner]
            times, kept = state.times, state.sums
            forget(times, kept, clock - within_ms)
            if counted and value is not None:
                if times and times[-1] == clock:
                    kept[-1] = add((kept[-1], value))
                else:
                    times.append(clock)
                    kept.append(float(value))
                    if len(times) > MOST_EXACT:
                        put_together(times, kept, within_ms, add)
            total = add(kept) if len(kept) > 1 else kept[0] if kept else 0.0
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
            times, values = state.times, state.values
            forget(times, values, clock - within_ms)
            if state.older_times:
                forget(state.older_times, state.older_counts, clock - within_ms)
            if counted and value is not None:
                own = bits(value)
                if own in values:  # so that the newest is last
                    place = values.index(own)
                    del values[place], times[place]
                times.append(clock)
                values.append(own)
                if len(values) > MOST_EXACT:
                    _put_values_together(state, within_ms)
            told.append(len(values) + sum(state.older_counts))
        return told


def forget(times: list[int], kept: list[float], up_to_ms: int) -> None:
    """Drop what is of a time up to this.

    Args:
        times: times in ascending order.
        kept: what is of each of them.
        up_to_ms: the time.
    """
    if times and times[0] <= up_to_ms:
        count = bisect_right(times, up_to_ms)
        del times[:count], kept[:count]


def put_together(
    times: list[int], kept: list[float], within_ms: int, add: Callable[[Sequence[float]], float]
) -> None:
    """Put the older half of amounts by time together, cell by cell.

    Args:
        times: times in ascending order.
        kept: the amount of each.
        within_ms: the length of the window.
        add: adds amounts up.
    """
    older = len(times) - MOST_EXACT // 2
    ends = [n for n in range(1, older) if times[n] * CELLS // within_ms != times[n - 1] * CELLS // within_ms]
    cells = list(pairwise([0, *ends, older]))
    kept[:older] = [kept[start] if end == start + 1 else add(kept[start:end]) for start, end in cells]
    times[:older] = [times[end - 1] for _, end in cells]


def decimal_sum(values: Sequence[float]) -> float:
    """Return the sum of doubles that stand for decimal numbers, infinite or no number where it is too large.

    Where these have no more than 15 digits from the first of the sum of their sizes on, it is the double
    nearest to the true sum: three times 0.1 is 0.3. So it may be compared with a threshold.

    >>> decimal_sum([0.1, 0.1, 0.1]), decimal_sum([1e6 + 0.1, -1e6])
    (0.3, 0.1)
    """
    try:
        total = fsum(values)
        size = total if min(values) >= 0 else fsum(map(abs, values))
        # A small negative number rounds to -0.0; adding 0.0 makes it 0.0.
        return round(total, _DIGITS - 1 - floor(log10(size))) + 0.0 if size and isfinite(size) else total
    except (OverflowError, ValueError):  # too large on the way, or infinities of both signs
        if not all(map(isfinite, values)):
            return inf
        return nearest_double(*sum(map(Fraction, values)).as_integer_ratio())


def _sum_of_longs(values: Sequence[float]) -> float:
    return fsum(values)


def _put_values_together(state: Different, within_ms: int) -> None:
    """Keep of the older half of the values only how many there were, by time."""
    older = len(state.times) - MOST_EXACT // 2
    for time_ms in state.times[:older]:
        if state.older_times and state.older_times[-1] == time_ms:
            state.older_counts[-1] += 1
        else:
            state.older_times.append(time_ms)
            state.older_counts.append(1)
    del state.times[:older], state.values[:older]
    if len(state.older_times) > MOST_EXACT:
        put_together(state.older_times, state.older_counts, within_ms, sum)


def _bits_of_text(text: str) -> int:
    return mmh3.hash64(text.encode())[0]


def _bits_of_double(value: float) -> int:
    return _BITS.unpack(_DOUBLE.pack(value))[0]


_BITS_OF: dict[str, Callable[[Value], int]] = {
    "string": _bits_of_text,
    "long": int,
    "double": _bits_of_double,
    "bool": int,
}
