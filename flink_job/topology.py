"""The job's graph."""

from __future__ import annotations

from pydantic import TypeAdapter
from pyflink.common import Types
from pyflink.datastream import DataStream, StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment
from pyflink.table.expressions import col
from pyflink.table.udf import udf

from flink_job import uids
from flink_job.delivery_graph import deliver
from flink_job.pipeline.spec import ALERTS, AUDIT, DEAD_LETTERS, DECISIONS, RESULTS, Pipeline
from flink_job.pipeline.spec import ENRICHED as ENRICHED_OUTPUT
from flink_job.pipeline.spec import FIRST_SEEN as FIRST_SEEN_OUTPUT
from flink_job.pipeline.spec import LATE as LATE_OUTPUT
from flink_job.pipeline.spec import REJECTS as REJECTS_OUTPUT
from flink_job.pipeline.spec import SIMILAR as SIMILAR_OUTPUT
from flink_job.rules_graph import rules_graph
from flink_job.settings import bundle_settings, ingest_settings
from flink_job.similar_graph import similar_graph
from flink_job.sinks.sink import Sink
from flink_job.sources.source import Source
from flink_job.streams import Branches, in_parallel, keyed, lines, side_output, texts
from operators.enrich.enrich_function import EnrichFunction, RunningFunction
from operators.first_seen.first_seen_function import FIRST_SEEN, FirstSeenFunction
from operators.gather.gather_function import GATHER_LATE, GatherFunction
from operators.ingest import branches
from operators.ingest.ingest_function import ENVELOPE_TYPE, RECORD_TYPE, IngestFunction
from operators.parsing import FormatSpec
from operators.rules.keeper_function import AUDIT as AUDIT_TAG
from operators.side_outputs import REJECTS, TOTALS
from operators.windows.window_function import FINAL, LATE, WindowFunction

_ALL = "all"


def build(
    pipeline: Pipeline,
    source: Source,
    sinks: dict[str, Sink],
    env: StreamExecutionEnvironment,
    begun_ms: int | None,
) -> None:
    """Put the graph together: source, ingest, first seen, gather, windows, sinks.

    Args:
        pipeline: the pipeline.
        source: where events come from.
        sinks: where the pipeline's outputs and, if wanted, `totals` go.
        env: the environment to build in, configured.
        begun_ms: when the job was begun afresh, by the wall clock; None where it may have a former life.
    """
    t_env = StreamTableEnvironment.create(env)
    with in_parallel(env, source.readers(env.get_parallelism())):
        batches = _ingest(pipeline, source, env, t_env, begun_ms)
    sent = Branches(batches, t_env)
    results = _windows(pipeline, sent, sinks) if pipeline.metrics else None
    beside = []
    if pipeline.enrich is not None:
        sink = sinks[ENRICHED_OUTPUT]
        sink.attach(_enriched(pipeline, sent, sink.takes_keys, t_env), uids.ENRICHED)
    if pipeline.similar:
        questions = keyed(sent.records(branches.SIMILAR))
        similar = similar_graph(pipeline, questions, source.bounded, env, t_env)
        beside += similar.checked
        answers = lines(similar.blocks, uids.SIMILAR_LINES, t_env)
        sinks[SIMILAR_OUTPUT].attach(answers, uids.ANSWERS)
    if ALERTS in sinks:
        final = keyed(side_output(results, FINAL)) if pipeline.has_rules_on_results() else None
        rules = rules_graph(pipeline, sent, final, source.bounded, env, t_env)
        if rules.keeper is not None:
            beside.append(rules.keeper)
        sinks[ALERTS].attach(rules.alerts, uids.ALERTS)
        if DECISIONS in sinks:
            sinks[DECISIONS].attach(rules.decisions, uids.DECISIONS)
        if AUDIT in sinks:
            sinks[AUDIT].attach(side_output(rules.keeper, AUDIT_TAG), uids.AUDIT)
        if DEAD_LETTERS in sinks:
            dead = deliver(rules.alerts, pipeline.alerts, pipeline.name)
            sinks[DEAD_LETTERS].attach(dead, uids.DEAD_LETTERS)
    rejects = [texts(side_output(stream, REJECTS), uids.REJECTS_BESIDE, t_env) for stream in beside]
    sinks[REJECTS_OUTPUT].attach(sent.texts(branches.REJECTS).union(*rejects), uids.REJECTS)
    if "totals" in sinks:
        totals = [texts(side_output(stream, TOTALS), uids.TOTALS_BESIDE, t_env) for stream in beside]
        sinks["totals"].attach(sent.texts(branches.TOTALS).union(*totals), uids.TOTALS)


def _windows(pipeline: Pipeline, sent: Branches, sinks: dict[str, Sink]) -> DataStream:
    """Return the stream of results, with what goes through other operators before windows count it."""
    partials = sent.records(branches.WINDOWS)
    if pipeline.remembers():
        seen = (
            keyed(sent.records(branches.SEEN))
            .process(FirstSeenFunction(pipeline.plan_json()), RECORD_TYPE)
            .uid(uids.FIRST_SEEN)
            .name("first seen")
        )
        partials = partials.union(seen)
        if FIRST_SEEN_OUTPUT in sinks:
            sinks[FIRST_SEEN_OUTPUT].attach(side_output(seen, FIRST_SEEN), uids.FIRST_EVENTS)
    gathered = None
    if pipeline.gathers():
        gathered = (
            keyed(sent.records(branches.GATHER))
            .process(GatherFunction(pipeline.plan_json()), RECORD_TYPE)
            .uid(uids.GATHER)
            .name("gather")
        )
        partials = partials.union(gathered)
    windows = WindowFunction(pipeline.plan_json(), pipeline.with_sketches(), pipeline.has_rules_on_results())
    results = keyed(partials).process(windows, Types.STRING()).uid(uids.WINDOWS).name("windows")
    sinks[RESULTS].attach(results, uids.RESULTS)
    late = side_output(results, LATE)
    if gathered is not None:
        late = late.union(side_output(gathered, GATHER_LATE))
    sinks[LATE_OUTPUT].attach(late, uids.LATE)
    return results


def _enriched(
    pipeline: Pipeline, sent: Branches, with_keys: bool, t_env: StreamTableEnvironment
) -> DataStream:
    """Return the stream of enriched events as JSON lines.

    Up to the last step events travel a record at a time, in columns and then as a block of lines, which the
    JVM takes apart.
    """
    plan = pipeline.plan_json()
    every = keyed(sent.records_for_one(branches.ENRICH, _ALL), RECORD_TYPE)
    annotated = every.process(RunningFunction(plan), RECORD_TYPE).uid(uids.RUNNING).name("running")
    blocks = keyed(annotated).process(EnrichFunction(plan, with_keys), Types.STRING())
    return lines(blocks.uid(uids.ENRICH).name("enrich"), uids.ENRICHED_LINES, t_env)


def _ingest(
    pipeline: Pipeline,
    source: Source,
    env: StreamExecutionEnvironment,
    t_env: StreamTableEnvironment,
    begun_ms: int | None,
) -> DataStream:
    """Return the stream of what comes of batches of events, of `ENVELOPE_TYPE`."""
    for key, value in ingest_settings(pipeline, source).items():
        t_env.get_config().set(key, value)
    table = source.table(env, t_env)
    function = IngestFunction(
        pipeline.plan_json(),
        TypeAdapter(FormatSpec).dump_json(source.format).decode(),
        source.reader,
        source.check_clock,
        begun_ms,
        FIRST_SEEN_OUTPUT in pipeline.outputs(),
    )
    ingest = udf(function, result_type=ENVELOPE_TYPE, func_type="pandas")
    columns = [col(name) for name in table.get_resolved_schema().get_column_names()]
    rows = table.map(ingest(*columns)).alias("watermark_ms", "branches", "shards", "records")
    uids.name_table_operators(t_env, uids.INGEST, numbered=True)
    batches = t_env.to_data_stream(rows.where(col("branches").is_not_null))
    # A table that becomes a stream gives what it was told to the environment, so to all other functions too.
    for key, value in bundle_settings(pipeline, source).items():
        t_env.get_config().set(key, value)
    return batches
