"""What the window operator tells of itself in Flink's metrics: results, late events, open windows, state.

All of it is by metric of the pipeline, in groups that the Prometheus reporter turns into the label `metric`.
All are gauges, the totals too: PyFlink reads a gauge at the end of a bundle, but loses what a timer adds to a
counter, and most results are made by timers.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

from pyflink.metrics import MetricGroup

from operators.windows.runner import Held, Runner

_EVERY_S, _SHARE, _CREDIT_S = 1.0, 0.01, 1.0
_NEVER = float("-inf"), 0.0, Held(0, 0)


class MetricGauges:
    """The gauges of one metric of the pipeline, on one worker.

    Attributes:
        results: how many results, revisions and retractions included, came out since the worker started.
        late: how many events were late since then.
        open_windows: as last counted, see `StateLooks`.
        state_bytes: as last counted.
    """

    def __init__(self, group: MetricGroup, metric: str) -> None:
        """Register the gauges.

        Args:
            group: the operator's metric group.
            metric: the metric's name.
        """
        self.results = self.late = self.open_windows = self.state_bytes = 0
        own = group.add_group("metric", metric)
        own.gauge("results", lambda: self.results)
        own.gauge("late", lambda: self.late)
        own.gauge("open_windows", lambda: self.open_windows)
        own.gauge("state_bytes", lambda: self.state_bytes)


class HeldGauges(Protocol):
    """What is told of what the shards of a metric hold."""

    open_windows: int
    state_bytes: int


class StateLooks:
    """Adds up what the shards of this worker hold, each counted anew now and then.

    Counting reads a shard's state. So each shard is counted once a second at most, and all counting together
    takes a hundredth of the time, and a second more at first or after a quiet while. Where that is not enough
    to count every shard each second, each has its turn less often.

    Args:
        clock: a monotonic clock in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without having looked."""
        self._clock, self._now_s, self._credit_s = clock, clock(), _CREDIT_S
        self._looks: dict[str, tuple[float, float, Held]] = {}
        self._round_s = 0.0  # what the last look at each of the shards took, together

    def look(self, shard: str, runner: Runner, gauges: HeldGauges) -> float:
        """Count what the shard at hand holds, unless it is too early for that.

        Args:
            shard: names the shard.
            runner: tells what it holds.
            gauges: those of its metric.

        Returns:
            In how many seconds to come again where it was too early, else 0.
        """
        began = self._clock()
        before_s, took_s, before = self._looks.get(shard, _NEVER)
        self._credit_s = min(_CREDIT_S, self._credit_s + (began - self._now_s) * _SHARE)
        self._now_s = began
        every_s = _EVERY_S if self._credit_s > self._round_s else max(_EVERY_S, self._round_s / _SHARE)
        wait_s = max(before_s + every_s - began, -self._credit_s / _SHARE)
        if wait_s > 0:
            return wait_s
        held = runner.held()
        gauges.open_windows += held.open_windows - before.open_windows
        gauges.state_bytes += held.state_bytes - before.state_bytes
        now_took_s = self._clock() - began
        self._credit_s -= now_took_s
        self._round_s += now_took_s - took_s
        self._looks[shard] = began, now_took_s, held
        return 0.0
