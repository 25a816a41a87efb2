"""Rules on results: the logic, without an engine.

A shard has some keys of one metric, in buckets (see `state.alarm_state`). A result changes what is remembered
of its key, or of each of its items; timers find keys that have no result any more. Results come many at a
time: each bucket is read and written, and each condition evaluated, once for all of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np

from operators.metric import Metric
from operators.rules.absence import Absence, due_ms
from operators.rules.held_key import HeldKey
from operators.rules.looking import Looking, named, window_name_of
from operators.rules.result_alerts import ResultAlerts
from operators.rules.result_columns import ResultRows, is_of, read_result
from operators.rules.result_rules import MetricRules, ResultRules, WindowRules
from operators.shard_keys import stream_of
from operators.windows.runner import Clock, Timers
from state.alarm_state import AlarmState, Remembered
from state.bucket_state import NEVER_MS, bucket_of
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS

_SECOND_MS = 1000
_Held = dict[bytes, Remembered]


class ResultRunner:
    """Runs the rules on the results of all metrics.

    Attributes:
        results: how many final results came, by metric.
        too_old: how many of them, or of their items, were of windows that are not held any more, and so
            changed nothing, by metric.
        alerts: writes alerts, and counts them.

    Args:
        pipeline: the pipeline's name.
        metrics: whose results come.
        rules: the rules there are.
        state: what is remembered of the current shard.
        timers: the timers of the current shard.
        idle_timeout_ms: how long a source has to be silent to be called so.
    """

    def __init__(
        self,
        pipeline: str,
        metrics: Iterable[Metric],
        rules: ResultRules,
        state: AlarmState,
        timers: Timers,
        idle_timeout_ms: int,
    ) -> None:
        """Keep the parts; nothing is read yet."""
        self._metrics = {metric.name: metric for metric in metrics}
        self._rows = {name: ResultRows(metric) for name, metric in self._metrics.items()}
        self._rules, self._state, self._timers = rules, state, timers
        self._idle_timeout_ms = idle_timeout_ms
        self._heard_ms: int | None = None
        self._watermark_ms = MIN_TIME_MS
        self._counted: dict[tuple[str, int], int] = {}
        self.alerts = ResultAlerts(pipeline)
        self._absence = Absence(rules, self.alerts)
        self.results: Counter[str] = Counter()
        self.too_old: Counter[str] = Counter()

    @property
    def metrics(self) -> list[str]:
        """The names of the metrics whose results come."""
        return list(self._metrics)

    @property
    def keys(self) -> int:
        """How many keys are remembered, of the buckets that this process has had at hand."""
        return sum(self._counted.values())

    def on_results(self, shard: str, lines: Sequence[bytes], clock: Clock) -> Iterator[bytes]:
        """Take final results; yield alerts, those of a key in the order of its results.

        Args:
            shard: the current shard.
            lines: the results as JSON.
            clock: the times now.
        """
        self._watermark_ms, self._heard_ms = max(self._watermark_ms, clock.watermark_ms), clock.now_ms
        metric = stream_of(shard)
        self.results[metric] += len(lines)
        on_metric = self._rules.on(metric)
        if on_metric is None:
            return
        rows, buckets, looking = self._rows[metric], {}, {}
        for line in lines:
            result = read_result(line)
            found = (pair for pair in on_metric.by_window.items() if is_of(result.window, pair[1].window))
            name, own = next(found, ("", None))
            if own is None or not (own.rules or on_metric.former):
                continue
            bucket = bucket_of(rows.key(result))
            if bucket not in buckets:
                buckets[bucket] = self._state.read(bucket)
            if buckets[bucket] or own.rules:
                if name not in looking:
                    looking[name] = self._looking(metric, rows, name, own, clock.now_ms)
                looking[name].take(line, result, buckets[bucket])
        for one in looking.values():
            yield from one.say()
            self.too_old[metric] += one.too_old
            self._listen(on_metric, one.own, clock.now_ms)
        self._write(shard, buckets)
        self._schedule()

    def on_event_time(self, shard: str, time_ms: int, clock: Clock) -> Iterator[bytes]:
        """Tell of keys that are absent, and forget those that were for very long; yield alerts."""
        self._hear(clock)
        watermark_ms = max(time_ms, clock.watermark_ms)
        if watermark_ms == END_OF_TIME_MS:  # the input's end is no time: a job that goes on later has more
            return
        buckets = self._buckets(self._state.due() <= watermark_ms)
        for held in buckets.values():
            for name, remembered in list(held.items()):
                if remembered.due_ms <= watermark_ms:
                    yield from self._look_at_due(shard, held, name, watermark_ms, clock.now_ms)
        self._write(shard, buckets)
        self._schedule()

    def on_processing_time(self, shard: str, time_ms: int, clock: Clock) -> Iterator[bytes]:
        """Where the source is silent, tell of keys that are absent by the wall clock; yield alerts."""
        self._hear(clock)
        on_metric = self._rules.on(stream_of(shard))
        quiet_ms = None if on_metric is None else self._quiet_ms(on_metric)
        if quiet_ms is None:
            return
        if clock.now_ms - self._heard_ms < quiet_ms:
            self._timers.at_processing_time(_full_second(self._heard_ms + quiet_ms))
            return
        buckets = self._buckets(self._state.due() < NEVER_MS)
        for held in buckets.values():
            for name, remembered in list(held.items()):
                silent_ms = clock.now_ms - remembered.heard_ms
                yield from self._tell_absence(shard, held, name, silent_ms.__ge__, clock.now_ms)
        self._write(shard, buckets)

    def _looking(self, metric: str, rows: ResultRows, name: str, own: WindowRules, now_ms: int) -> Looking:
        return Looking(self._metrics[metric], rows, name, own, self._rules, self.alerts, now_ms)

    def _look_at_due(
        self, shard: str, held: _Held, name: bytes, watermark_ms: int, now_ms: int
    ) -> Iterator[bytes]:
        metric, own = self._metrics.get(stream_of(shard)), self._own(shard, name)
        if metric is None or own is None:  # of a window that the pipeline had when the job was begun
            del held[name]
            return
        passed_ms = watermark_ms - metric.delay_ms - held[name].last_end_ms
        yield from self._tell_absence(shard, held, name, passed_ms.__ge__, now_ms)
        if own.remember_ms <= passed_ms:
            key = HeldKey(held.pop(name), own)
            yield from self._absence.forgotten(key, named(metric, own, name), now_ms)

    def _tell_absence(
        self, shard: str, held: _Held, name: bytes, is_long: Callable[[int], bool], now_ms: int
    ) -> Iterator[bytes]:
        metric, own = self._metrics.get(stream_of(shard)), self._own(shard, name)
        if own is None:
            return
        key = HeldKey(held[name], own)
        yield from self._absence.fallen(key, named(metric, own, name), own, is_long, now_ms)
        key.due_ms = due_ms(metric, own, key)
        held[name] = key.remembered()

    def _own(self, shard: str, name: bytes) -> WindowRules | None:
        on_metric = self._rules.on(stream_of(shard))
        return None if on_metric is None else on_metric.by_window.get(window_name_of(name))

    def _hear(self, clock: Clock) -> None:
        """Note a sign of life of the source: its watermark rises; the process's start is one too."""
        if self._heard_ms is None or clock.watermark_ms > self._watermark_ms:
            self._heard_ms = clock.now_ms
        self._watermark_ms = max(self._watermark_ms, clock.watermark_ms)

    def _listen(self, on_metric: MetricRules, own: WindowRules, now_ms: int) -> None:
        """Look, from time to time, whether the source is silent, and when keys would be absent then."""
        quiet_ms = self._quiet_ms(on_metric)
        for wait_ms in {*own.absent_for_ms.values(), *(() if quiet_ms is None else (quiet_ms,))}:
            self._timers.at_processing_time(_full_second(now_ms + wait_ms))

    def _quiet_ms(self, on_metric: MetricRules) -> int | None:
        """Return how long a silence has to be to count; None where no rule asks for absent keys."""
        waits = [wait for own in on_metric.by_window.values() for wait in own.absent_for_ms.values()]
        return max(1, min(self._idle_timeout_ms, min(waits) // 2)) if waits else None

    def _buckets(self, which: np.ndarray) -> dict[int, _Held]:
        return {bucket: self._state.read(bucket) for bucket in np.flatnonzero(which).tolist()}

    def _write(self, shard: str, buckets: Mapping[int, _Held]) -> None:
        due = self._state.due()
        before = due.copy()
        for bucket, held in buckets.items():
            self._state.write(bucket, held)
            self._counted[shard, bucket] = len(held)
            due[bucket] = min((remembered.due_ms for remembered in held.values()), default=NEVER_MS)
        if (due != before).any():
            self._state.set_due(due)

    def _schedule(self) -> None:
        first_ms = int(self._state.due().min())
        if first_ms < NEVER_MS:
            self._timers.at_event_time(first_ms)


def _full_second(time_ms: int) -> int:
    """Return the next full second, so that many who ask for about the same time ask for one."""
    return -(-time_ms // _SECOND_MS) * _SECOND_MS
