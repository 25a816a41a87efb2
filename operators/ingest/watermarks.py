"""The watermark of one ingest worker: the slowest active partition, less the allowed disorder.

Each partition has its own clock, so that a fast one does not make a slow one late, and one that has been
silent for the idle timeout does not hold the others back. A worker that gets nothing at all may be held up,
and then what its partitions have for it waits unread: of such a pause only the first part counts as their
silence. After a start, partitions may exist that have not been heard from: until the source says that all
have, or are idle, there is no watermark. All of this is rebuilt harmlessly after a restart.
"""

from __future__ import annotations

from collections.abc import Mapping

ALWAYS_MS = 2**63 - 1
_COUNTED_PART = 4
"""Of a pause a part of the idle timeout counts: a fourth."""


class PartitionWatermarks:
    """Follows the event times of the partitions that one worker reads.

    Args:
        out_of_orderness_ms: how far behind the newest event of its partition an event may come.
        idle_timeout_ms: after this much silence a partition is idle, by the wall clock.
        settle_ms: how far the first watermark after a start may be behind that of a former life of the job:
            as far as events may be out of order, and late. None for a job that starts afresh and has none.
    """

    def __init__(self, out_of_orderness_ms: int, idle_timeout_ms: int, settle_ms: int | None) -> None:
        """Start without having heard anything."""
        self._disorder_ms, self._idle_ms = out_of_orderness_ms, idle_timeout_ms
        self._settle_ms = settle_ms
        self._newest: dict[str, int] = {}
        self._heard: dict[str, int] = {}
        self._started_ms: int | None = None
        self._last_ms: int | None = None
        self._watermark_ms: int | None = None
        self._sent_ms: int | None = None
        self._settled_from_ms: int | None = None
        self._others_went_on = False
        self._advanced_to_ms = -ALWAYS_MS

    def observe(self, newest_ms: Mapping[str, int], now_ms: int, all_heard: bool = True) -> int | None:
        """Take the newest event time of each partition of a batch.

        Args:
            newest_ms: event time in milliseconds by partition.
            now_ms: the wall clock.
            all_heard: whether every partition has been heard from since the start, or is idle.

        Returns:
            The watermark in milliseconds: no event at or before `watermark - 1` is expected any more. It
            never falls. None while there is none.
        """
        self._sent_ms = self._watermark_ms
        if self._started_ms is None:
            self._started_ms = now_ms
        elif now_ms - self._last_ms >= self._idle_ms:
            self._settle_ms, self._others_went_on = self._settle_ms or 0, True
            self._started_ms, self._settled_from_ms = now_ms, self._watermark_ms
            reached_ms = self.newest_ms() if self._watermark_ms is None else self._watermark_ms
            if reached_ms is not None:
                # Windows may have gone on by the silence as they saw it, which may be somewhat longer.
                silence_ms = now_ms - self._last_ms + self._idle_ms
                self._advanced_to_ms = max(self._advanced_to_ms, reached_ms) + silence_ms
        if self._last_ms is not None:
            held_up_ms = max(0, now_ms - self._last_ms - self._idle_ms // _COUNTED_PART)
            self._heard = {name: heard_ms + held_up_ms for name, heard_ms in self._heard.items()}
        self._last_ms = now_ms
        for name, time_ms in newest_ms.items():
            self._newest[name] = max(time_ms, self._newest.get(name, time_ms))
            self._heard[name] = now_ms
        if not self._newest or not all_heard:
            return self._watermark_ms
        active = [name for name, heard in self._heard.items() if now_ms - heard < self._idle_ms]
        if active:
            candidate = min(self._newest[name] for name in active) - self._disorder_ms
            if self._watermark_ms is None:
                self._settled_from_ms = candidate
            self._watermark_ms = (
                candidate if self._watermark_ms is None else max(candidate, self._watermark_ms)
            )
        return self._watermark_ms

    def newest_ms(self) -> int | None:
        """Return the newest event time of any partition, None while there is none."""
        return max(self._newest.values(), default=None)

    def late_before_ms(self, now_ms: int) -> int:
        """Return the highest watermark that the window operator could have; what it calls late is below.

        It is this worker's own before the batch observed last, as a watermark travels behind the envelope
        that raises it. Just after a start it is that of a former life, which is known as nearly as events are
        out of order once there is a watermark; after having been idle while others went on it is not known,
        and anything may be late.
        """
        own_ms = -ALWAYS_MS if self._sent_ms is None else max(self._sent_ms, self._advanced_to_ms)
        if self._settle_ms is None:
            return own_ms
        settled = (
            self._sent_ms is not None
            and self._settled_from_ms is not None
            and self._sent_ms - self._settled_from_ms > self._settle_ms
        )
        if settled or (self._started_ms is not None and now_ms - self._started_ms >= self._idle_ms):
            return ALWAYS_MS if self._sent_ms is None else own_ms
        if self._settled_from_ms is None or self._others_went_on:
            return ALWAYS_MS
        return max(own_ms, self._settled_from_ms + self._settle_ms)
