"""Ingest in Flink: a vectorised function over the source's rows, and the operator that unpacks envelopes."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator

from pyflink.common import Row, Types
from pyflink.datastream import OutputTag, ProcessFunction, RuntimeContext
from pyflink.table import DataTypes, FunctionContext
from pyflink.table.udf import ScalarFunction

# Each worker process is one of several on the machine: one thread is its share. Read when polars is imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from operators.enrich.enrich_records import is_enrich_stream
from operators.events.event_time import MIN_TIME_MS
from operators.ingest.gather_records import is_gather_stream
from operators.ingest.gauges import ExplodeGauges, IngestGauges
from operators.ingest.ingest import Ingest
from operators.ingest.seen_records import is_seen_stream
from operators.ingest.source_batch import Reader
from operators.parsing import FormatSpec
from operators.plan import Plan
from operators.records import decode_envelope, decode_reason, encode, stream_of
from operators.rules.rule_records import is_rules_stream
from operators.similar.answerer import is_similar_stream

ENVELOPE_TYPE = DataTypes.ROW(
    [DataTypes.FIELD("watermark_ms", DataTypes.BIGINT()), DataTypes.FIELD("envelope", DataTypes.BYTES())]
)
RECORD_TYPE = Types.ROW([Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])
SEEN = OutputTag("seen", RECORD_TYPE)
ENRICH = OutputTag("enrich", RECORD_TYPE)
GATHER = OutputTag("gather", RECORD_TYPE)
SIMILAR = OutputTag("similar", RECORD_TYPE)
RULES = OutputTag("rules", RECORD_TYPE)
REJECTS = OutputTag("rejects", Types.STRING())
TOTALS = OutputTag("totals", Types.STRING())
_FIRST_START_MS = 60_000


class IngestFunction(ScalarFunction):
    """Turns rows of the source's table into envelopes: one row carries it, the others are null.

    Args:
        plan_json: the plan, as JSON.
        format_json: how payloads are to be read, as JSON.
        reader: the source's part in the worker.
        check_clock: whether `min_time` and `max_future` apply.
        begun_ms: when the job was begun afresh, by the wall clock; None where it may have a former life. A
            worker that starts much later is one that took the place of another.
        tell_first_seen: whether the first events of values are wanted as events.
    """

    def __init__(
        self,
        plan_json: str,
        format_json: str,
        reader: Reader,
        check_clock: bool,
        begun_ms: int | None,
        tell_first_seen: bool,
    ) -> None:
        """Keep what is shipped to the workers."""
        self._plan_json, self._format_json, self._reader = plan_json, format_json, reader
        self._check_clock, self._begun_ms = check_clock, begun_ms
        self._tell_first_seen = tell_first_seen

    def open(self, function_context: FunctionContext) -> None:
        """Compile the pipeline's expressions and parsers."""
        afresh = self._begun_ms is not None and _now_ms() - self._begun_ms < _FIRST_START_MS
        self._ingest = Ingest(
            Plan.model_validate_json(self._plan_json),
            TypeAdapter(FormatSpec).validate_json(self._format_json),
            self._check_clock,
            afresh,
            self._tell_first_seen,
        )
        self._gauges = IngestGauges(function_context.get_metric_group())

    def eval(self, *columns: pd.Series) -> pd.DataFrame:
        """Ingest one Arrow batch of rows, given by column."""
        # Arrays, since lists of as many numbers would cost more than their events.
        watermarks = np.full(len(columns[0]), self._gauges.watermark_ms)
        envelopes = np.full(len(columns[0]), None)
        for number, source in self._reader.read(*columns):
            started, now_ms = time.perf_counter(), _now_ms()
            watermark_ms, envelope = self._ingest.take(source, now_ms)
            if watermark_ms is not None:
                self._gauges.watermark_ms = max(watermark_ms, MIN_TIME_MS)
            watermarks[number], envelopes[number] = self._gauges.watermark_ms, encode(envelope)
            self._gauges.batch(envelope, time.perf_counter() - started, self._ingest.lag_ms(now_ms))
        # With its type said, pandas does not look at each envelope for whether it is a time.
        return pd.DataFrame({"watermark_ms": watermarks, "envelope": pd.Series(envelopes, dtype=object)})


class Explode(ProcessFunction):
    """Unpacks envelopes: records for the window operator, rejects in the side output `REJECTS`.

    Records for the first-seen operator are in the side output `SEEN`, those to be gathered first in `GATHER`,
    those to be enriched in `ENRICH`, questions for similar items in `SIMILAR`, and events that rules see in
    `RULES`. How many events each envelope is of, and how many were rejected for which reason, goes to the
    side output `TOTALS` as a JSON object.
    """

    def open(self, runtime_context: RuntimeContext) -> None:
        """Name the metrics."""
        self._gauges = ExplodeGauges(runtime_context.get_metrics_group())

    def process_element(self, value: Row, ctx: ProcessFunction.Context) -> Iterator:
        """Unpack one envelope."""
        envelope = decode_envelope(value[0])
        reasons = Counter(decode_reason(reject).reason for reject in envelope.rejects)
        self._gauges.envelope(len(envelope.records), reasons)
        yield TOTALS, json.dumps({"events": envelope.events, "rejects": reasons})
        for reject in envelope.rejects:
            yield REJECTS, reject.decode()
        for key, record in envelope.records:
            stream = stream_of(key)
            if is_seen_stream(stream):
                yield SEEN, Row(key, record)
            elif is_gather_stream(stream):
                yield GATHER, Row(key, record)
            elif is_enrich_stream(stream):
                yield ENRICH, Row(key, record)
            elif is_similar_stream(stream):
                yield SIMILAR, Row(key, record)
            elif is_rules_stream(stream):
                yield RULES, Row(key, record)
            else:
                yield Row(key, record)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
