"""Ingest in Flink: a vectorised function over the rows of the source's table."""

from __future__ import annotations

import os
import time
from collections import Counter

from pyflink.common import Types
from pyflink.table import DataTypes, FunctionContext
from pyflink.table.udf import ScalarFunction

# Each worker process is one of several on the machine: one thread is its share. Read when polars is imported.
os.environ.setdefault("POLARS_MAX_THREADS", "1")

import numpy as np
import pandas as pd
from pydantic import TypeAdapter

from operators.events.event_time import MIN_TIME_MS
from operators.ingest.branches import branched
from operators.ingest.gauges import IngestGauges
from operators.ingest.ingest import Ingest
from operators.ingest.source_batch import Reader
from operators.parsing import FormatSpec
from operators.plan import Plan
from operators.records import decode_reason
from operators.worker import settle

ENVELOPE_TYPE = DataTypes.ROW(
    [
        DataTypes.FIELD("watermark_ms", DataTypes.BIGINT()),
        DataTypes.FIELD("branches", DataTypes.ARRAY(DataTypes.STRING())),
        DataTypes.FIELD("shards", DataTypes.ARRAY(DataTypes.STRING())),
        DataTypes.FIELD("records", DataTypes.ARRAY(DataTypes.BYTES())),
    ]
)
"""What a batch becomes: records, and of each the branch of the graph and the shard that it goes to."""

RECORD_TYPE = Types.ROW([Types.STRING(), Types.PRIMITIVE_ARRAY(Types.BYTE())])
"""A record behind its shard."""

_FIRST_START_MS = 60_000


class IngestFunction(ScalarFunction):
    """Turns rows of the source's table into records: one row carries them, the others are null.

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
        settle()

    def eval(self, *columns: pd.Series) -> pd.DataFrame:
        """Ingest one Arrow batch of rows, given by column."""
        rows = len(columns[0])
        # An array, since a list of as many numbers would cost more than their events.
        watermarks = np.full(rows, self._gauges.watermark_ms)
        parts = [np.full(rows, None) for _ in range(3)]
        for number, source in self._reader.read(*columns):
            started, now_ms = time.perf_counter(), _now_ms()
            watermark_ms, envelope = self._ingest.take(source, now_ms)
            if watermark_ms is not None:
                self._gauges.watermark_ms = max(watermark_ms, MIN_TIME_MS)
            watermarks[number] = self._gauges.watermark_ms
            rejects = [decode_reason(reject) for reject in envelope.rejects]
            reasons, lines = Counter(one.reason for one in rejects), sum(one.lines for one in rejects)
            records = branched(envelope, reasons, lines)
            for part, values in zip(parts, zip(*records, strict=True), strict=True):
                part[number] = values
            self._gauges.batch(envelope, reasons, time.perf_counter() - started, self._ingest.lag_ms(now_ms))
        names = ("branches", "shards", "records")
        # With its type said, pandas does not look at each value for whether it is a time.
        arrays = {name: pd.Series(part, dtype=object) for name, part in zip(names, parts, strict=True)}
        return pd.DataFrame({"watermark_ms": watermarks, **arrays})


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
