"""The job's graph."""

from __future__ import annotations

from pydantic import TypeAdapter
from pyflink.common import Types
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.table import DataTypes, Schema, StreamTableEnvironment
from pyflink.table.expressions import col
from pyflink.table.types import _to_java_data_type as java_type
from pyflink.table.udf import udf

from flink_job import uids
from flink_job.delivery_graph import deliver
from flink_job.pipeline.spec import ALERTS, AUDIT, DEAD_LETTERS, DECISIONS, Pipeline
from flink_job.pipeline.spec import ENRICHED as ENRICHED_OUTPUT
from flink_job.pipeline.spec import FIRST_SEEN as FIRST_SEEN_OUTPUT
from flink_job.pipeline.spec import SIMILAR as SIMILAR_OUTPUT
from flink_job.rules_graph import rules_graph
from flink_job.settings import ingest_settings
from flink_job.similar_graph import similar_graph
from flink_job.sinks.sink import Sink
from flink_job.sources.source import Source
from operators.enrich.enrich_function import EnrichFunction, RunningFunction
from operators.first_seen.first_seen_function import FIRST_SEEN, FirstSeenFunction
from operators.gather.gather_function import GATHER_LATE, GatherFunction
from operators.ingest.ingest_function import (
    ENRICH,
    ENVELOPE_TYPE,
    GATHER,
    RECORD_TYPE,
    REJECTS,
    RULES,
    SEEN,
    SIMILAR,
    TOTALS,
    Explode,
    IngestFunction,
)
from operators.parsing import FormatSpec
from operators.rules.keeper_function import AUDIT as AUDIT_TAG
from operators.rules.rules_function import DECISIONS as DECISIONS_TAG
from operators.windows.window_function import FINAL, LATE, WindowFunction

_ALL = "all"


def build(
    pipeline: Pipeline,
    source: Source,
    sinks: dict[str, Sink],
    env: StreamExecutionEnvironment,
    begun_ms: int | None,
) -> None:
    """Put the graph together: source, ingest, explode, first seen, gather, windows, sinks.

    Args:
        pipeline: the pipeline.
        source: where events come from.
        sinks: where the pipeline's outputs and, if wanted, `totals` go.
        env: the environment to build in, configured.
        begun_ms: when the job was begun afresh, by the wall clock; None where it may have a former life.
    """
    t_env = StreamTableEnvironment.create(env)
    envelopes = _ingest(pipeline, source, env, t_env, begun_ms)
    records = envelopes.process(Explode(), RECORD_TYPE).uid(uids.EXPLODE).name("explode")
    partials = records
    if pipeline.remembers():
        seen = (
            _by_shard(records.get_side_output(SEEN))
            .process(FirstSeenFunction(pipeline.plan_json()), RECORD_TYPE)
            .uid(uids.FIRST_SEEN)
            .name("first seen")
        )
        partials = records.union(seen)
        if FIRST_SEEN_OUTPUT in sinks:
            sinks[FIRST_SEEN_OUTPUT].attach(seen.get_side_output(FIRST_SEEN), uids.FIRST_EVENTS)
    gathered = None
    if pipeline.gathers():
        gathered = (
            _by_shard(records.get_side_output(GATHER))
            .process(GatherFunction(pipeline.plan_json()), RECORD_TYPE)
            .uid(uids.GATHER)
            .name("gather")
        )
        partials = partials.union(gathered)
    windows = WindowFunction(pipeline.plan_json(), pipeline.with_sketches(), pipeline.has_rules_on_results())
    results = _by_shard(partials).process(windows, Types.STRING()).uid(uids.WINDOWS).name("windows")
    sinks["results"].attach(results, uids.RESULTS)
    late = results.get_side_output(LATE)
    if gathered is not None:
        late = late.union(gathered.get_side_output(GATHER_LATE))
    sinks["late"].attach(late, uids.LATE)
    rejects, totals = records.get_side_output(REJECTS), records.get_side_output(TOTALS)
    if pipeline.enrich is not None:
        sink = sinks[ENRICHED_OUTPUT]
        sink.attach(_enriched(pipeline, records, sink.takes_keys, t_env), uids.ENRICHED)
    if pipeline.similar:
        questions = _by_shard(records.get_side_output(SIMILAR))
        similar = similar_graph(pipeline, questions, source.bounded, env, t_env)
        for checked in similar.checked:
            rejects = rejects.union(checked.get_side_output(REJECTS))
            totals = totals.union(checked.get_side_output(TOTALS))
        answers = _lines(similar.blocks, uids.SIMILAR_LINES, t_env)
        sinks[SIMILAR_OUTPUT].attach(answers, uids.ANSWERS)
    if ALERTS in sinks:
        events = _by_shard(records.get_side_output(RULES))
        final = _by_shard(results.get_side_output(FINAL)) if pipeline.has_rules_on_results() else None
        rules = rules_graph(pipeline, events, final, source.bounded, env, t_env)
        if rules.keeper is not None:
            rejects = rejects.union(rules.keeper.get_side_output(REJECTS))
            totals = totals.union(rules.keeper.get_side_output(TOTALS))
        sinks[ALERTS].attach(rules.alerts, uids.ALERTS)
        if DECISIONS in sinks:
            decisions = _lines(rules.events.get_side_output(DECISIONS_TAG), uids.DECISION_LINES, t_env)
            sinks[DECISIONS].attach(decisions, uids.DECISIONS)
        if AUDIT in sinks:
            sinks[AUDIT].attach(rules.keeper.get_side_output(AUDIT_TAG), uids.AUDIT)
        if DEAD_LETTERS in sinks:
            dead = deliver(rules.alerts, pipeline.alerts, pipeline.name)
            sinks[DEAD_LETTERS].attach(dead, uids.DEAD_LETTERS)
    sinks["rejects"].attach(rejects, uids.REJECTS)
    if "totals" in sinks:
        sinks["totals"].attach(totals, uids.TOTALS)


def _enriched(
    pipeline: Pipeline, records: DataStream, with_keys: bool, t_env: StreamTableEnvironment
) -> DataStream:
    """Return the stream of enriched events as JSON lines.

    Up to the last step events travel a record at a time, in columns and then as a block of lines, which the
    JVM takes apart.
    """
    plan = pipeline.plan_json()
    annotated = records.get_side_output(ENRICH).key_by(lambda _: _ALL, key_type=Types.STRING())
    annotated = annotated.process(RunningFunction(plan), RECORD_TYPE).uid(uids.RUNNING).name("running")
    blocks = _by_shard(annotated).process(EnrichFunction(plan, with_keys), Types.STRING())
    blocks = blocks.uid(uids.ENRICH).name("enrich")
    return _lines(blocks, uids.ENRICHED_LINES, t_env)


def _lines(blocks: DataStream, uid: str, t_env: StreamTableEnvironment) -> DataStream:
    """Return the lines of blocks, each by itself."""
    uids.name_table_operators(t_env, uid)
    t_env.create_temporary_view(f"`{uid}`", blocks)
    lines = t_env.sql_query(
        f"SELECT line FROM `{uid}` CROSS JOIN UNNEST(SPLIT(f0, U&'\\000A')) AS apart(line)"
    )
    # What PyFlink has no call for: a stream of bare texts, not of rows of one column.
    return DataStream(t_env._j_tenv.toDataStream(lines._j_table, java_type(DataTypes.STRING())))


def _by_shard(records: DataStream) -> KeyedStream:
    return records.key_by(lambda record: record[0], key_type=Types.STRING())


def _ingest(
    pipeline: Pipeline,
    source: Source,
    env: StreamExecutionEnvironment,
    t_env: StreamTableEnvironment,
    begun_ms: int | None,
) -> DataStream:
    """Return the stream of envelopes, whose watermark is the one that each envelope carries.

    Flink's watermark assigner for tables is used because it emits a watermark behind the very element that
    raises it; that of the DataStream API would wait for its next turn.
    """
    function = IngestFunction(
        pipeline.plan_json(),
        TypeAdapter(FormatSpec).dump_json(source.format).decode(),
        source.reader,
        source.check_clock,
        begun_ms,
        FIRST_SEEN_OUTPUT in pipeline.outputs(),
    )
    ingest = udf(function, result_type=ENVELOPE_TYPE, func_type="pandas")
    for key, value in ingest_settings(pipeline).items():
        t_env.get_config().set(key, value)
    table = source.table(env, t_env)
    columns = [col(name) for name in table.get_resolved_schema().get_column_names()]
    rows = table.map(ingest(*columns)).alias("watermark_ms", "envelope")
    uids.name_table_operators(t_env, uids.INGEST, numbered=True)
    envelopes = t_env.to_data_stream(rows.where(col("envelope").is_not_null))
    uids.name_table_operators(t_env, uids.STAMPED, numbered=True)
    stamped = t_env.from_data_stream(
        envelopes,
        Schema.new_builder()
        .column("watermark_ms", "BIGINT")
        .column("envelope", "BYTES")
        .column_by_expression("stamp", "TO_TIMESTAMP_LTZ(watermark_ms, 3)")
        .watermark("stamp", "stamp - INTERVAL '0.001' SECOND")
        .build(),
    )
    return t_env.to_data_stream(stamped.select(col("envelope")))
