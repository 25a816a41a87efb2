"""Tumbling and sliding windows over mergeable partials: the logic of one metric, without an engine.

Partials are merged into slices; a window that ends merges its slices and answers. What a shard did last (its
*horizon*) is state, so that after a restart, when the engine's watermark starts anew from the minimum, an
event that is late stays late and no window that was answered is opened again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from operators.metric import Metric
from operators.metrics.kind import Before
from operators.records import Beat, SliceRecord
from operators.windows.results import ResultWriter
from operators.windows.runner import Clock, Held, Outputs, Timers
from operators.windows.silence import Silence
from operators.windows.slices import TimeWindow
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ClockState
from state.packed import Entry, unpack
from state.window_state import WindowState, united


class SketchWindow:
    """Runs the tumbling and sliding windows of a metric.

    Args:
        metric: the metric; it has a grid.
        writer: makes its results.
        state: the slices of the current shard.
        clock_state: what the current shard remembers of time.
        timers: the timers of the current shard.
        silence: what is known of the source's silence.
    """

    def __init__(
        self,
        metric: Metric,
        writer: ResultWriter,
        state: WindowState,
        clock_state: ClockState,
        timers: Timers,
        silence: Silence,
    ) -> None:
        """Keep the parts; nothing is read yet."""
        self._metric, self._grid, self._writer = metric, metric.grid, writer
        self._state, self._clock, self._timers, self._silence = state, clock_state, timers, silence

    def on_record(self, record: SliceRecord | Beat, clock: Clock) -> Outputs:
        """Merge partials, answer again what they change of windows that had ended, or call them late."""
        watermark_ms = self._clock.watermark(clock.watermark_ms)
        look_again_ms = self._silence.heard(clock.now_ms)
        if look_again_ms is not None:
            self._timers.at_processing_time(look_again_ms)
        self._begin_after(watermark_ms)
        if isinstance(record, SliceRecord):
            if self._grid.last_taken_ms(record.slice_end_ms) <= watermark_ms:
                if not self._metric.sessions:  # they are still open when these windows are closed
                    counts = {key: entry.events for key, entry in unpack(record.packed).items()}
                    yield from self._writer.late(record.candidates, counts, record.origin, watermark_ms)
            else:
                self._state.add(record.slice_end_ms, record.packed)
                self._begin_after(record.slice_end_ms - 1)
                yield from self._answer_again(record, watermark_ms)
                self._ask_for_early_results(clock.now_ms)
        self._schedule(watermark_ms)

    def on_event_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Answer the windows that end and forget what no window needs any more.

        All that is due by the current watermark is done at the first timer: nothing can come in between, and
        a watermark that jumps over a thousand windows costs one call.
        """
        watermark_ms = max(time_ms, clock.watermark_ms)
        yield from self._advance(watermark_ms)
        self._schedule(watermark_ms)

    def on_processing_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Report open windows early, and go on through a silence."""
        to_ms = self._silence.goes_on_to(clock, self._clock, self._newest_ms)
        if to_ms is not None:
            yield from self._advance(to_ms)
        if self._metric.emit_every_ms is not None and time_ms % self._metric.emit_every_ms == 0:
            yield from self._report_early(self._clock.watermark(clock.watermark_ms))
        look_again_ms = self._silence.look_again_ms(clock.now_ms)
        if look_again_ms is not None and self._state.slice_ends():
            self._timers.at_processing_time(look_again_ms)

    def held(self) -> Held:
        """Return the open windows and the bytes of the current shard.

        A window is counted at the first of its slices that has the key. It has ended once the watermark is at
        its last millisecond, the one before its end. Large partials are not read.
        """
        slice_ends, horizon = self._state.slice_ends(), self._clock.horizon()
        state_bytes = self._clock.held() + self._state.index_held()
        state_bytes += self._revisions_held(slice_ends, horizon)
        count, open_from_ms = 0, horizon + 2
        uncounted: dict[tuple[TimeWindow, bytes], int] = {}
        for slice_end in slice_ends:
            keys, slice_bytes = self._state.held(slice_end)
            state_bytes += slice_bytes
            for window in self._grid.windows:
                ends = self._grid.ends_over(window, slice_end)
                for key in keys:
                    first = window.first_end_at_or_after(
                        max(ends[0], uncounted.get((window, key), open_from_ms))
                    )
                    count += len(range(first, ends.stop, window.every_ms))
                    uncounted[window, key] = max(ends[-1] + 1, open_from_ms)
        return Held(count, state_bytes)

    def _revisions_held(self, slice_ends: list[int], horizon: int) -> int:
        """Return the bytes of what is remembered of the windows that were answered and still take events."""
        if not self._metric.counts_revisions:
            return 0
        up_to_ms = horizon if self._metric.emit_every_ms is None else END_OF_TIME_MS
        answered = self._ending(slice_ends, horizon - self._metric.allowed_lateness_ms, up_to_ms)
        return sum(self._state.revisions_held(window.name, end) for end, window in answered)

    def _newest_ms(self) -> int | None:
        """Return when the newest slice begins."""
        slice_ends = self._state.slice_ends()
        return slice_ends[-1] - self._grid.slice_ms if slice_ends else None

    def _advance(self, to_ms: int) -> Outputs:
        """Do, in the order of time, all that is due after the horizon and up to `to_ms`."""
        horizon = self._clock.horizon()
        if to_ms <= horizon:
            return
        self._begin_after(to_ms)
        slice_ends = self._state.slice_ends()
        if to_ms == END_OF_TIME_MS:  # the input's end is no time: a job that goes on later has more
            last_ms = self._grid.last_taken_ms(slice_ends[-1]) if slice_ends else horizon
            to_ms = max(last_ms, horizon)  # slices that are only looked back on are of windows long closed
        for end, window in self._ending(slice_ends, horizon, to_ms):
            yield from self._answer(window, end, final=True)
        if self._metric.counts_revisions:
            lateness = self._metric.allowed_lateness_ms
            for end, window in self._ending(slice_ends, horizon - lateness, to_ms - lateness):
                self._state.drop_revisions(window.name, end)
        for slice_end in slice_ends:
            if self._grid.last_needed_ms(slice_end) > to_ms:
                break
            self._state.drop(slice_end)
        self._clock.set_horizon(to_ms)

    def _answer_again(self, record: SliceRecord, watermark_ms: int) -> Outputs:
        """Answer, for the keys that changed, the windows that had ended but still take events."""
        lateness_ms = self._metric.allowed_lateness_ms
        if not lateness_ms:
            return
        for window in self._grid.windows:
            for end in self._grid.ends_with(window, record.slice_end_ms):
                if end - 1 <= watermark_ms < end - 1 + lateness_ms:
                    yield from self._answer(window, end, final=True, keys=list(unpack(record.packed)))

    def _report_early(self, watermark_ms: int) -> Outputs:
        for end, window in self._ending(self._state.slice_ends(), watermark_ms, END_OF_TIME_MS):
            yield from self._answer(window, end, final=False)

    def _answer(self, window: TimeWindow, end: int, final: bool, keys: list[bytes] | None = None) -> Outputs:
        parts = self._parts(*self._grid.slices_of(window, end), keys)
        sent = self._state.revisions(window.name, end) if self._metric.counts_revisions else {}
        unsent = (-1, 0)
        due = {
            key: entries
            for key, entries in parts.items()
            if final or sum(entry.events for entry in entries) != sent.get(key, unsent)[1]
        }
        described, before = window.describe(end), self._before(window, end, due)
        for key, entries in due.items():
            entry = united(entries, self._metric.aggregator.merge)
            revision = sent.get(key, unsent)[0] + 1
            sent[key] = (revision, entry.events)
            yield self._writer.result(
                key, described, entry.events, entry.partial, revision, final, before.get(key)
            )
        if self._metric.counts_revisions and due:
            self._state.set_revisions(window.name, end, sent)

    def _parts(self, after_ms: int, up_to_ms: int, keys: Iterable[bytes] | None) -> dict[bytes, list[Entry]]:
        """Return what the slices that end in `(after_ms, up_to_ms]` hold for these keys; for all if None."""
        parts: dict[bytes, list[Entry]] = defaultdict(list)
        for slice_end in self._state.slice_ends(after_ms, up_to_ms):
            for key, entry in self._state.read(slice_end, keys).items():
                parts[key].append(entry)
        return parts

    def _before(self, window: TimeWindow, end: int, keys: Iterable[bytes]) -> dict[bytes, Before]:
        """Return what came before a window for each of these keys; nothing where the metric looks at none.

        Only what was seen whole counts: the slice that the shard began in is left out, of which it may have
        missed the first part.
        """
        if not self._grid.before_ms:
            return {}
        after, up_to = self._grid.slices_before(window, end)
        after = min(max(after, self._clock.whole_from()), up_to)
        parts = self._parts(after, up_to, list(keys))
        merge = self._metric.aggregator.merge
        merged = {key: united(entries, merge).partial for key, entries in parts.items()}
        return {key: Before(merged.get(key), up_to - after, window.size_ms) for key in keys}

    def _begin_after(self, time_ms: int) -> None:
        """Remember the end of the slice of a time that the shard hears of, if it is the earliest."""
        if self._grid.before_ms and MIN_TIME_MS < time_ms < END_OF_TIME_MS:
            slice_end = self._grid.slice_end(time_ms)
            if slice_end < self._clock.whole_from():
                self._clock.set_whole_from(slice_end)

    def _ending(self, slice_ends: list[int], after_ms: int, up_to_ms: int) -> list[tuple[int, TimeWindow]]:
        """Return the windows over these slices whose last millisecond is in `(after_ms, up_to_ms]`."""
        ends = [
            (end, window)
            for window in self._grid.windows
            for end in self._grid.ends_between(window, slice_ends, after_ms + 1, up_to_ms + 1)
        ]
        return sorted(ends, key=lambda pair: pair[0])

    def _ask_for_early_results(self, now_ms: int) -> None:
        every = self._metric.emit_every_ms
        if every is not None:
            self._timers.at_processing_time((now_ms // every + 1) * every)

    def _schedule(self, watermark_ms: int) -> None:
        """Ask for the next time something is due here, and for the next boundary even if nothing is.

        The second keeps the horizon of shards without data up to date: what is late for one is late for all.
        """
        started = watermark_ms > MIN_TIME_MS
        first_of_all = MIN_TIME_MS + 1
        due = [
            self._next_due(watermark_ms),
            self._grid.next_boundary(watermark_ms) if started else first_of_all,
        ]
        for time_ms in due:
            if time_ms is not None and time_ms < END_OF_TIME_MS:
                self._timers.at_event_time(time_ms)

    def _next_due(self, watermark_ms: int) -> int | None:
        """Return the first watermark after this one at which a window over existing slices ends or closes."""
        slice_ends = self._state.slice_ends()
        lateness = self._metric.allowed_lateness_ms
        due = [
            end - 1 + delay
            for window in self._grid.windows
            for delay in {0, lateness}
            for end in self._first(window, slice_ends, watermark_ms - delay)
        ]
        return min(due, default=None)

    def _first(self, window: TimeWindow, slice_ends: list[int], after_ms: int) -> list[int]:
        ends = self._grid.ends_between(window, slice_ends, after_ms + 1, END_OF_TIME_MS)
        return [end for end, _ in zip(ends, (None,), strict=False)]
