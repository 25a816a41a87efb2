"""Ingest: from raw payloads to an envelope of partials, rejects and a watermark; stateless, vectorised."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import numpy as np

from operators.batch.event_batch import EventBatch
from operators.enrich.enrich_records import EnrichRecords
from operators.events.event_columns import EventColumns
from operators.ingest.gather_records import GatherRecords, gather_stream
from operators.ingest.partials import MetricPartials, session_stream
from operators.ingest.seen_records import SeenRecords, seen_stream
from operators.ingest.source_batch import SourceBatch, payload_fields
from operators.ingest.watermarks import PartitionWatermarks
from operators.metric import Metric
from operators.parsing import Format, make_parser
from operators.plan import Plan
from operators.records import Beat, Envelope, encode
from operators.rules.resolved import Features
from operators.rules.rule_records import STREAM as RULES_STREAM
from operators.rules.rule_records import RuleRecords
from operators.shard_keys import shard_key
from operators.similar.similar_records import SimilarRecords

_encode_json = msgspec.json.encode


class Ingest:
    """Turns batches of payloads into envelopes.

    Args:
        plan: what an event is, and the metrics.
        format: how a payload is to be read.
        check_clock: whether the defaults of `min_time` and `max_future` apply; files are exempt.
        afresh: whether the job starts without a former life, so that nothing can be late at first.
        tell_first_seen: whether the first events of values are wanted as events, not only counted.
    """

    def __init__(
        self, plan: Plan, format: Format, check_clock: bool, afresh: bool, tell_first_seen: bool
    ) -> None:
        """Compile everything once."""
        event = plan.event_with_checks()
        metrics = plan.resolved_metrics()
        fields = {name: (field.path, field.type) for name, field in event.fields.items()}
        self._parser = make_parser(format, fields)
        self._columns = EventColumns(event)
        self._by_record_time = event.time.field is None
        # What a user wrote holds for any source; the defaults hold for sources that follow the wall clock.
        self._check_max_future = check_clock or "max_future" in event.model_fields_set
        self._check_min_time = check_clock or "min_time" in event.model_fields_set
        self._metrics = [_records_of(metric, tell_first_seen) for metric in metrics]
        self._enrich = None if plan.enrich is None else EnrichRecords(plan.enrich, event.column_types())
        self._similar = [SimilarRecords(answerer) for answerer in plan.resolved_similar()]
        features = plan.resolved_features()
        self._rules = None if features is None else RuleRecords(features, plan.answered())
        self._watermarks = PartitionWatermarks(
            event.out_of_orderness,
            event.idle_timeout,
            None if afresh else event.out_of_orderness + max((m.lateness_ms for m in metrics), default=0),
        )
        # Rules follow the watermark by timers alone; only a silence they cannot notice without being told.
        told = features if event.on_idle == "advance" else None
        self._beats = [
            (shard_key(stream, shard), encode(Beat()))
            for stream, shards in _beaten(metrics, told)
            for shard in range(shards)
        ]
        self._beat_every_ms = event.idle_timeout // 4 if event.on_idle == "advance" else None
        self._beaten_ms: int | None = None

    def take(self, source: SourceBatch, now_ms: int) -> tuple[int | None, Envelope]:
        """Turn one batch into an envelope.

        Args:
            source: the payloads.
            now_ms: the wall clock.

        Returns:
            The watermark after this batch in milliseconds, None while there is none, and the envelope.
        """
        parsed = self._parser.parse(source.payloads)
        times = source.record_time_ms[parsed.row] if self._by_record_time else None
        prepared = self._columns.prepare(
            parsed.frame, times, now_ms, self._check_max_future, self._check_min_time
        )
        rows = parsed.row[prepared.keep]
        index = None if parsed.index is None else parsed.index[prepared.keep]
        batch = EventBatch(prepared.frame, prepared.time_ms)
        newest_ms = _newest(source, rows, prepared.time_ms)
        watermark_ms = self._watermarks.observe(newest_ms, now_ms, source.all_heard)
        late_before_ms = self._watermarks.late_before_ms(now_ms)
        raw = _RawEvents(source, rows, index)
        records = self._due_beats(now_ms)
        for metric in self._metrics:
            records.extend(metric.records(batch, late_before_ms, raw, _origin(source)))
        if self._enrich is not None:
            records.extend(self._enrich.records(batch))
        for similar in self._similar:
            records.extend(similar.records(batch, raw.position))
        if self._rules is not None:
            records.extend(self._rules.records(batch, raw.position))
        rejects = [_reject(source, r.row, r.index, r.reason, r.detail) for r in parsed.rejects]
        for refused in prepared.rejected:
            number = None if parsed.index is None else int(parsed.index[refused.row])
            row = int(parsed.row[refused.row])
            rejects.append(_reject(source, row, number, refused.reason, refused.detail))
        return watermark_ms, Envelope(len(batch) + len(rejects), rejects, records)

    def lag_ms(self, now_ms: int) -> int | None:
        """Return how far the newest event time of all events so far is behind the wall clock.

        Negative where it is ahead; None where there was no good event yet.
        """
        newest_ms = self._watermarks.newest_ms()
        return None if newest_ms is None else now_ms - newest_ms

    def _due_beats(self, now_ms: int) -> list[tuple[str, bytes]]:
        """Return a beat for every shard: at first, and now and then where silence is to be noticed."""
        first = self._beaten_ms is None
        again = (
            not first and self._beat_every_ms is not None and now_ms - self._beaten_ms >= self._beat_every_ms
        )
        if not first and not again:
            return []
        self._beaten_ms = now_ms
        return list(self._beats)


class _RawEvents:
    """Payload and position of the accepted events of a batch, each encoded once and only when asked for."""

    def __init__(self, source: SourceBatch, rows: np.ndarray, index: np.ndarray | None) -> None:
        self._source, self._rows, self._index = source, rows, index
        self._encoded: dict[int, bytes] = {}

    def __call__(self, event: int) -> bytes:
        """Return the JSON object of an event."""
        if event not in self._encoded:
            row = int(self._rows[event])
            index = None if self._index is None else int(self._index[event])
            self._encoded[event] = _encode_json(_described(self._source, row, index))
        return self._encoded[event]

    def position(self, event: int) -> bytes:
        """Return the JSON object of where an event is from; `event_index` is its number in its message."""
        position = self._source.position(int(self._rows[event]))
        if self._index is not None:
            position = position | {"event_index": int(self._index[event])}
        return _encode_json(position)


def _records_of(metric: Metric, tell_first_seen: bool) -> MetricPartials | SeenRecords | GatherRecords:
    """Return what makes the records of a metric."""
    if metric.gather is not None:
        return GatherRecords(metric)
    return MetricPartials(metric) if metric.seen is None else SeenRecords(metric, tell_first_seen)


def _beaten(metrics: tuple[Metric, ...], features: Features | None) -> Iterator[tuple[str, int]]:
    """Yield the streams that are told that the source is alive, and how many shards each has."""
    for metric in metrics:
        if metric.grid is not None:
            yield metric.name, metric.shards
        for window in metric.sessions:
            yield session_stream(metric, window), metric.shards
        if metric.stage is not None:
            stage_stream = seen_stream if metric.gather is None else gather_stream
            yield stage_stream(metric), metric.stage.shards
    if features is not None:
        yield RULES_STREAM, features.spec.shards


def _newest(source: SourceBatch, rows: np.ndarray, time_ms: np.ndarray) -> dict[str, int]:
    """Return the newest event time of each partition of a batch."""
    if not len(time_ms):
        return {}
    if source.partitions is None:
        return {source.partition_names[0]: int(time_ms.max())}
    partitions = source.partitions[rows]
    newest = np.full(len(source.partition_names), np.iinfo(np.int64).min)
    np.maximum.at(newest, partitions, time_ms)
    return {source.partition_names[p]: int(newest[p]) for p in np.unique(partitions).tolist()}


def _origin(source: SourceBatch) -> bytes:
    if not len(source.payloads):
        return b"{}"
    return _encode_json({"first": source.position(0), "last": source.position(len(source.payloads) - 1)})


def _described(source: SourceBatch, row: int, index: int | None) -> dict[str, object]:
    payload = source.payloads.payload(row)
    if index is not None and payload is not None:
        payload = [line for line in payload.split(b"\n") if line.strip()][index]
    described = payload_fields(payload) | source.position(row)
    return described if index is None else described | {"index": index}


def _reject(source: SourceBatch, row: int, index: int | None, reason: str, detail: str) -> bytes:
    return _encode_json({"reason": reason, "detail": detail} | _described(source, row, index))
