"""What ingest tells of itself in Flink's metrics: events, rejects and their reasons, batches, time, lag.

Counters and whole numbers only: PyFlink's distributions read 0.0 in the Prometheus reporter, and its gauges
lose fractions. What a distribution would tell is told by a sum and a count.
"""

from __future__ import annotations

from collections.abc import Mapping

from pyflink.metrics import MetricGroup

from operators.events.event_time import MIN_TIME_MS
from operators.records import Envelope
from operators.reject_counters import RejectCounters


class IngestGauges:
    """The metrics of one ingest worker; touched once a batch.

    Attributes:
        watermark_ms: the last watermark sent; the least event time there can be before there is one.
    """

    def __init__(self, group: MetricGroup) -> None:
        """Register what is there from the start.

        Args:
            group: the function's metric group.
        """
        self._group, self._rejected = group, RejectCounters(group)
        self._events, self._partials = group.counter("events"), group.counter("partials")
        self._batches, self._ingest_us = group.counter("batches"), group.counter("ingest_us")
        self.watermark_ms = MIN_TIME_MS
        self._batch_events = 0
        self._lag_ms: int | None = None
        group.gauge("watermark_s", lambda: self.watermark_ms // 1000)
        group.gauge("batch_events", lambda: self._batch_events)

    def batch(
        self, envelope: Envelope, reasons: Mapping[str, int], took_s: float, lag_ms: int | None
    ) -> None:
        """Count one batch.

        Args:
            envelope: what came of it.
            reasons: how many events were rejected for each reason.
            took_s: how long it took, from payloads to encoded records.
            lag_ms: how far the newest event time so far was behind the wall clock when the batch was taken;
                None where there was no good event yet.
        """
        self._events.inc(envelope.events)
        self._partials.inc(len(envelope.records))
        for reason, events in reasons.items():
            self._rejected.count(reason, events)
        self._batches.inc()
        self._ingest_us.inc(int(took_s * 1e6))
        self._batch_events = envelope.events
        if lag_ms is not None:
            if self._lag_ms is None:
                self._group.gauge("event_time_lag_ms", lambda: self._lag_ms)
            self._lag_ms = lag_ms
