"""Session windows over mergeable partials: the logic of one metric and gap, without an engine.

Local sessions of a batch are merged with those in state; events that come late may join two sessions that
were apart. An id is named by its session's start, so the later of the two is retracted if it was sent.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from operators.metric import Metric
from operators.records import Beat, LocalSession, SessionRecord
from operators.windows.results import Late, Result, ResultWriter
from operators.windows.runner import Clock, Held, Outputs, Timers
from operators.windows.silence import Silence
from operators.windows.slices import SessionWindow
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ClockState
from state.session_state import BUCKETS, NEVER_MS, Session, Sessions, SessionState, bucket_of


class SessionRunner:
    """Runs the sessions of one gap of a metric.

    Args:
        metric: the metric.
        window: the session window.
        writer: makes its results.
        state: the sessions of the current shard.
        clock_state: what the current shard remembers of time.
        timers: the timers of the current shard.
        silence: what is known of the source's silence.
    """

    def __init__(
        self,
        metric: Metric,
        window: SessionWindow,
        writer: ResultWriter,
        state: SessionState,
        clock_state: ClockState,
        timers: Timers,
        silence: Silence,
    ) -> None:
        """Keep the parts; nothing is read yet."""
        self._metric, self._window, self._writer = metric, window, writer
        self._state, self._clock, self._timers, self._silence = state, clock_state, timers, silence

    def on_record(self, record: SessionRecord | Beat, clock: Clock) -> Outputs:
        """Merge local sessions, answer again what had ended, or call them late."""
        watermark_ms = self._clock.watermark(clock.watermark_ms)
        look_again_ms = self._silence.heard(clock.now_ms)
        if look_again_ms is not None:
            self._timers.at_processing_time(look_again_ms)
        due = self._state.due()
        if isinstance(record, SessionRecord):
            by_bucket: dict[int, list[LocalSession]] = defaultdict(list)
            for local in record.sessions:
                by_bucket[bucket_of(local.key)].append(local)
            for bucket, locals_ in by_bucket.items():
                sessions = self._state.read(bucket)
                for local in locals_:
                    yield from self._take(sessions, local, record.origin, watermark_ms)
                self._state.write(bucket, sessions)
                due[bucket] = self._next_due(sessions)
            self._state.set_due(due)
            self._ask_for_early_results(clock.now_ms)
        self._schedule(due, watermark_ms)

    def on_event_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Answer the sessions that end, and forget those that take no more events."""
        watermark_ms = max(time_ms, clock.watermark_ms)
        yield from self._advance(watermark_ms)
        self._schedule(self._state.due(), watermark_ms)

    def on_processing_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Report open sessions early, and go on through a silence."""
        to_ms = self._silence.goes_on_to(clock, self._clock, self._newest_ms)
        if to_ms is not None:
            yield from self._advance(to_ms)
        if self._metric.emit_every_ms is not None and time_ms % self._metric.emit_every_ms == 0:
            yield from self._report_early()
        look_again_ms = self._silence.look_again_ms(clock.now_ms)
        if look_again_ms is not None and (self._state.due() < NEVER_MS).any():
            self._timers.at_processing_time(look_again_ms)

    def held(self) -> Held:
        """Return the sessions that have not ended and the bytes of the current shard."""
        count, state_bytes = 0, self._clock.held() + self._state.index_held()
        for bucket in np.flatnonzero(self._state.due() < NEVER_MS).tolist():
            sessions, bucket_bytes = self._state.held(bucket)
            count += sum(not session.final for own in sessions.values() for session in own)
            state_bytes += bucket_bytes
        return Held(count, state_bytes)

    def _take(self, sessions: Sessions, local: LocalSession, origin: bytes, watermark_ms: int) -> Outputs:
        """Merge one local session into those of its key.

        What would be closed by itself counts only where a session that began before it is still open: it
        begins no session, so that no id that was answered and forgotten can come up again.
        """
        held = sessions.get(local.key, [])
        gap = self._window.gap_ms
        joined = [s for s in held if s.first_ms <= local.last_ms + gap and local.first_ms <= s.last_ms + gap]
        closed = local.last_ms + gap - 1 + self._metric.allowed_lateness_ms <= watermark_ms
        if closed and not any(session.first_ms <= local.first_ms for session in joined):
            yield from self._late(local, origin, watermark_ms)
            return
        merged = Session(local.first_ms, local.last_ms, local.events, local.partial)
        if joined:
            partials = [local.partial, *(session.partial for session in joined)]
            merged.partial = self._metric.aggregator.merge(partials)
        for session in joined:
            merged.first_ms = min(merged.first_ms, session.first_ms)
            merged.last_ms = max(merged.last_ms, session.last_ms)
            merged.events += session.events
        for session in joined:
            if session.first_ms == merged.first_ms:
                merged.revision, merged.sent_events = session.revision, session.sent_events
            elif session.revision >= 0:
                yield self._writer.retraction(local.key, self._described(session), session.revision + 1)
        sessions[local.key] = [*(s for s in held if s not in joined), merged]
        if self._end(merged) <= watermark_ms:
            yield self._answer(local.key, merged, final=True)

    def _late(self, local: LocalSession, origin: bytes, watermark_ms: int) -> list[Late]:
        """Return the late output, where no other window of the metric took the events."""
        if self._window != self._metric.late_sessions:
            return []
        grid, candidates = self._metric.grid, local.candidates
        if grid is not None:
            if candidates is not None:
                candidates = [
                    c
                    for c in candidates
                    if grid.last_taken_ms(grid.slice_end(c.event_time_ms)) <= watermark_ms
                ]
            elif grid.last_taken_ms(grid.slice_end(local.last_ms)) > watermark_ms:
                return []
        return self._writer.late(candidates, {local.key: local.events}, origin, watermark_ms)

    def _advance(self, to_ms: int) -> Outputs:
        """Do all that is due up to `to_ms`."""
        if to_ms <= self._clock.horizon():
            return
        due, lateness = self._state.due(), self._metric.allowed_lateness_ms
        last_ms = self._clock.horizon()
        for bucket in np.flatnonzero(due <= to_ms).tolist():
            sessions = self._state.read(bucket)
            ended = [
                (session, key)
                for key, own in sessions.items()
                for session in own
                if self._end(session) <= to_ms and not session.final
            ]
            for session, key in sorted(ended, key=lambda pair: pair[0].last_ms):
                yield self._answer(key, session, final=True)
            for key, own in sessions.items():
                last_ms = max([last_ms, *(self._end(session) + lateness for session in own)])
                sessions[key] = [session for session in own if self._end(session) + lateness > to_ms]
            self._state.write(bucket, sessions)
            due[bucket] = self._next_due(sessions)
        self._state.set_due(due)
        # The input's end is no time: a job that goes on later has more.
        self._clock.set_horizon(last_ms if to_ms == END_OF_TIME_MS else to_ms)

    def _newest_ms(self) -> int | None:
        """Return the end of a session, before any has ended, less the gap: one of the newest event times."""
        due = self._state.due()
        held = due[due < NEVER_MS]
        return int(held.max()) - self._window.gap_ms + 1 if len(held) else None

    def _report_early(self) -> Outputs:
        for bucket in range(BUCKETS):
            sessions = self._state.read(bucket)
            changed = [
                (key, session)
                for key, own in sessions.items()
                for session in own
                if not session.final and session.events != session.sent_events
            ]
            for key, session in changed:
                yield self._answer(key, session, final=False)
            if changed:
                self._state.write(bucket, sessions)

    def _answer(self, key: bytes, session: Session, final: bool) -> Result:
        session.revision += 1
        session.sent_events, session.final = session.events, final
        return self._writer.result(
            key, self._described(session), session.events, session.partial, session.revision, final
        )

    def _described(self, session: Session) -> dict[str, int | str]:
        return self._window.describe(session.first_ms, session.last_ms)

    def _end(self, session: Session) -> int:
        """Return the watermark at which the session has ended."""
        return session.last_ms + self._window.gap_ms - 1

    def _next_due(self, sessions: Sessions) -> int:
        """Return the watermark at which the next session of a bucket ends or is forgotten."""
        lateness = self._metric.allowed_lateness_ms
        ends = (
            self._end(session) + (lateness if session.final else 0)
            for own in sessions.values()
            for session in own
        )
        return min(ends, default=NEVER_MS)

    def _schedule(self, due: np.ndarray, watermark_ms: int) -> None:
        """Ask for the next time something is due, and for the next step of time even if nothing is."""
        gap, started = self._window.gap_ms, watermark_ms > MIN_TIME_MS
        first_of_all = MIN_TIME_MS + 1
        for time_ms in (int(due.min()), (watermark_ms // gap + 1) * gap if started else first_of_all):
            if time_ms < END_OF_TIME_MS:
                self._timers.at_event_time(time_ms)

    def _ask_for_early_results(self, now_ms: int) -> None:
        every = self._metric.emit_every_ms
        if every is not None:
            self._timers.at_processing_time((now_ms // every + 1) * every)
