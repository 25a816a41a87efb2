"""Windows and slices as arithmetic on integer milliseconds; knows no engine and no state.

A *slice* is the piece of time that a metric aggregates in: the greatest common divisor of all its window
sizes, slides and offsets, `[start_ms, end_ms)`, aligned to the epoch and named by its end. Every window is
a whole number of slices, so a slice is computed once and shared by every window that holds it. All events
of a slice are in the same windows, which is why lateness can be decided by slice.

A metric may hold each window against the time before it. That time is a whole number of slices too, the same
ones: a window *holds* the slices within it and *looks back* on those before it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import gcd

MAX_SLICES_PER_WINDOW = 10_000


@dataclass(frozen=True)
class TimeWindow:
    """A tumbling or sliding window: `[k * every + offset, k * every + offset + size)` for every integer k.

    Args:
        size_ms: length of the window in milliseconds, at least 1.
        every_ms: distance between two starts, 1 to `size_ms`; equal to the size for a tumbling window.
        offset_ms: shift of all starts from the epoch.
    """

    size_ms: int
    every_ms: int
    offset_ms: int = 0

    @property
    def type(self) -> str:
        """`tumbling` or `sliding`."""
        return "tumbling" if self.every_ms == self.size_ms else "sliding"

    @property
    def name(self) -> bytes:
        """What tells this window from others of the same metric, in keyed state."""
        return f"{self.size_ms}/{self.every_ms}/{self.offset_ms}:".encode()

    def first_end_at_or_after(self, time_ms: int) -> int:
        """Return the end of the first window that ends at `time_ms` or later."""
        phase = (self.offset_ms + self.size_ms) % self.every_ms
        return -((phase - time_ms) // self.every_ms) * self.every_ms + phase

    def ends_over(self, slice_start_ms: int, slice_end_ms: int, before_ms: int = 0) -> range:
        """Return the ends of all windows that hold the slice or begin up to `before_ms` later, ascending."""
        first = self.first_end_at_or_after(slice_end_ms)
        return range(first, slice_start_ms + self.size_ms + before_ms + 1, self.every_ms)

    def describe(self, end_ms: int) -> dict[str, int | str]:
        """Return the `window` object of a result."""
        window: dict[str, int | str] = {
            "type": self.type,
            "start_ms": end_ms - self.size_ms,
            "end_ms": end_ms,
            "size_ms": self.size_ms,
        }
        if self.every_ms != self.size_ms:
            window["every_ms"] = self.every_ms
        return window


@dataclass(frozen=True)
class SessionWindow:
    """A session: `[first event, last event + gap)`; two events exactly one gap apart are one session.

    Args:
        gap_ms: the silence that ends a session, in milliseconds, at least 1.
    """

    gap_ms: int

    def describe(self, first_ms: int, last_ms: int) -> dict[str, int | str]:
        """Return the `window` object of a result for events from `first_ms` to `last_ms`."""
        return {
            "type": "session",
            "start_ms": first_ms,
            "end_ms": last_ms + self.gap_ms,
            "gap_ms": self.gap_ms,
        }


@dataclass(frozen=True)
class SliceGrid:
    """All tumbling and sliding windows of one metric, over the slices they share.

    Args:
        windows: at least one window.
        allowed_lateness_ms: how long after its end a window still takes events.
        before_ms: how long the time before a window is that it looks back on.

    Raises:
        ValueError: where a window would be made of more than 10,000 slices, with the time before it.
    """

    windows: tuple[TimeWindow, ...]
    allowed_lateness_ms: int = 0
    before_ms: int = 0

    def __post_init__(self) -> None:
        """Refuse windows whose slices would be absurdly small."""
        for window in self.windows:
            slices = (window.size_ms + self.before_ms) // self.slice_ms
            if slices > MAX_SLICES_PER_WINDOW:
                before = f" and the {self.before_ms} ms before it" if self.before_ms else ""
                raise ValueError(
                    f"a window of {window.size_ms} ms{before} would have {slices} slices of "
                    f"{self.slice_ms} ms; at most {MAX_SLICES_PER_WINDOW} are allowed: choose sizes, slides "
                    "and offsets with a larger common divisor"
                )

    @cached_property
    def slice_ms(self) -> int:
        """Length of a slice in milliseconds."""
        return gcd(self.before_ms, *(n for w in self.windows for n in (w.size_ms, w.every_ms, w.offset_ms)))

    def slice_end(self, time_ms: int) -> int:
        """Return the end of the slice that an event of this time is in."""
        return (time_ms // self.slice_ms + 1) * self.slice_ms

    def ends_over(self, window: TimeWindow, slice_end_ms: int) -> range:
        """Return the ends of the windows of one kind that hold a slice."""
        return window.ends_over(slice_end_ms - self.slice_ms, slice_end_ms)

    def ends_with(self, window: TimeWindow, slice_end_ms: int) -> range:
        """Return the ends of the windows of one kind whose answer a slice is part of.

        They are those that hold it, and behind them those that look back on it.
        """
        return window.ends_over(slice_end_ms - self.slice_ms, slice_end_ms, self.before_ms)

    def slices_of(self, window: TimeWindow, end_ms: int) -> tuple[int, int]:
        """Return the half-open range of slice ends `(after, up to and including)` a window is made of."""
        return end_ms - window.size_ms, end_ms

    def slices_before(self, window: TimeWindow, end_ms: int) -> tuple[int, int]:
        """Return the half-open range of slice ends `(after, up to and including)` a window looks back on."""
        start_ms = end_ms - window.size_ms
        return start_ms - self.before_ms, start_ms

    def last_taken_ms(self, slice_end_ms: int) -> int:
        """Return the watermark at which no window takes events of the slice any more: they are late."""
        return max(self.ends_over(w, slice_end_ms)[-1] for w in self.windows) - 1 + self.allowed_lateness_ms

    def last_needed_ms(self, slice_end_ms: int) -> int:
        """Return the watermark at which the slice is part of no answer that may still be given."""
        return max(self.ends_with(w, slice_end_ms)[-1] for w in self.windows) - 1 + self.allowed_lateness_ms

    def next_boundary(self, watermark_ms: int) -> int:
        """Return the first watermark after this one at which some window ends or closes, full or empty."""
        delays = {0, self.allowed_lateness_ms}
        return min(
            window.first_end_at_or_after(watermark_ms - delay + 2) - 1 + delay
            for window in self.windows
            for delay in delays
        )

    def ends_between(
        self, window: TimeWindow, slice_ends: Sequence[int], after_ms: int, up_to_ms: int
    ) -> Iterator[int]:
        """Yield the ends of the windows that hold one of these slices and end in `(after_ms, up_to_ms]`.

        Args:
            window: the kind of window.
            slice_ends: ends of the slices that exist, ascending.
            after_ms: exclusive.
            up_to_ms: inclusive.
        """
        last = after_ms
        for slice_end in slice_ends:
            end = window.first_end_at_or_after(max(slice_end, last + 1))
            while end <= min(slice_end - self.slice_ms + window.size_ms, up_to_ms):
                yield end
                last, end = end, end + window.every_ms
