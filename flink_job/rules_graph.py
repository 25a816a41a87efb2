"""The part of the graph that has to do with rules: their keeper, and what they look at."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyflink.common import Types, WatermarkStrategy
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.table import StreamTableEnvironment

from flink_job import uids
from flink_job.pipeline.spec import Pipeline
from flink_job.sources.side_topic_spec import SideTopic
from flink_job.sources.side_topics import messages_table, with_brokers
from operators.rules.keeper_function import (
    CHANGE_TYPE,
    FEEDBACK,
    MESSAGE_TYPE,
    RULES,
    KeeperFunction,
    KeeperMessages,
    KeeperStart,
)
from operators.rules.result_function import RESULT_TYPE, ResultFunction, SpreadResults
from operators.rules.rules_function import RulesFunction
from state import descriptors

_ALL = "all"


@dataclass
class RulesGraph:
    """What this part of the graph gives.

    Attributes:
        keeper: where the changes of rules come from; its side outputs have the audit, rejects and totals.
            None where rules are as the pipeline file says.
        events: where the alerts of rules on events come from; its side output has decisions. None where
            nothing is to be known of events.
        alerts: all alerts.
    """

    keeper: DataStream | None
    events: DataStream | None
    alerts: DataStream = field(init=False)


def rules_graph(
    pipeline: Pipeline,
    events: KeyedStream,
    results: DataStream,
    bounded: bool,
    env: StreamExecutionEnvironment,
    t_env: StreamTableEnvironment,
) -> RulesGraph:
    """Put it together: one keeper, whose changes all workers get, beside events and results.

    Args:
        pipeline: the pipeline; it has rules or decisions.
        events: records of events, by shard of the entity.
        results: what windows send.
        bounded: whether the source of events ends, so that the topics of rules and verdicts have to as well.
        env: the environment to build in.
        t_env: its table environment.
    """
    plan = pipeline.plan_json()
    kept = pipeline.rules_change()
    keeper = _keeper(pipeline, bounded, env, t_env) if kept else None
    changes = keeper or _no_changes(t_env)
    graph = RulesGraph(keeper, None)
    alerts = []
    if pipeline.features is not None:
        on_events = events.connect(changes.broadcast(descriptors.RULE_CHANGES)).process(
            RulesFunction(plan, kept), Types.STRING()
        )
        graph.events = on_events.uid(uids.RULES).name("rules")
        alerts.append(graph.events)
    if pipeline.rule_changes is not None or any(rule.kind == "result" for rule in pipeline.rules):
        spread = results.process(SpreadResults(plan), RESULT_TYPE).uid(uids.SPREAD).name("spread results")
        by_shard = spread.key_by(lambda result: result[0], key_type=Types.STRING())
        on_results = by_shard.connect(changes.broadcast(descriptors.RESULT_RULES)).process(
            ResultFunction(plan, kept), Types.STRING()
        )
        alerts.append(on_results.uid(uids.RESULT_RULES).name("rules on results"))
    graph.alerts = alerts[0].union(*alerts[1:])
    return graph


def _keeper(
    pipeline: Pipeline, bounded: bool, env: StreamExecutionEnvironment, t_env: StreamTableEnvironment
) -> DataStream:
    """Return the changes of rules: those of the pipeline file at first, then what the topics say."""
    start = env.from_source(NumberSequenceSource(0, 0), WatermarkStrategy.no_watermarks(), uids.KEEPER_START)
    start = start.uid(uids.KEEPER_START).set_parallelism(1)
    messages = start.map(KeeperStart(), MESSAGE_TYPE).uid(f"{uids.KEEPER_START}-message").set_parallelism(1)
    topics = (
        (RULES, uids.RULE_CHANGES, pipeline.rule_changes),
        (FEEDBACK, uids.FEEDBACK, pipeline.feedback),
    )
    for kind, uid, topic in topics:
        if topic is not None:
            messages = messages.union(_messages(pipeline, topic, kind, uid, bounded, t_env))
    one = messages.key_by(lambda _: _ALL, key_type=Types.STRING())
    changes = one.process(KeeperFunction(pipeline.plan_json()), CHANGE_TYPE)
    return changes.uid(uids.KEEPER).name("rule keeper").set_parallelism(1)


def _no_changes(t_env: StreamTableEnvironment) -> DataStream:
    uids.name_table_operators(t_env, uids.RULE_CHANGES)
    return t_env.to_data_stream(t_env.sql_query("SELECT * FROM (VALUES (1)) AS changes(n) WHERE FALSE"))


def _messages(
    pipeline: Pipeline,
    topic: SideTopic,
    kind: str,
    uid: str,
    bounded: bool,
    t_env: StreamTableEnvironment,
) -> DataStream:
    uids.name_table_operators(t_env, uid)
    topic = with_brokers(topic, pipeline)
    table = messages_table(topic, f"{pipeline.name}-{uid}", uid, bounded, t_env)
    messages = t_env.to_data_stream(table).map(KeeperMessages(kind, topic.topic), MESSAGE_TYPE)
    return messages.uid(uid).name(uid).set_parallelism(1)
