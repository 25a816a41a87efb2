"""The part of the graph that has to do with rules: their keeper, and what they look at."""

from __future__ import annotations

from dataclasses import dataclass

from pyflink.common import Duration, Types, WatermarkStrategy
from pyflink.common.typeinfo import TypeInformation
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.datastream.state import MapStateDescriptor
from pyflink.table import StreamTableEnvironment

from flink_job import uids
from flink_job.pipeline.spec import Pipeline
from flink_job.sources.side_topic_spec import SideTopic
from flink_job.sources.side_topics import messages_table, with_brokers
from flink_job.streams import Branches, in_parallel, keyed, lines, texts
from operators.ingest.branches import RULES as RULES_BRANCH
from operators.rules.keeper_function import (
    CHANGE_TYPE,
    FEEDBACK,
    MESSAGE_TYPE,
    RULES,
    KeeperFunction,
    KeeperMessages,
    KeeperStart,
)
from operators.rules.result_worker import ResultWorker
from operators.rules.rule_functions import ChangingRules, FixedRules, RuleWorker
from operators.rules.rules_worker import ALERTS, DECISIONS, SPOKEN_TYPE, RulesWorker
from state import descriptors

_ALL = "all"
_OWN_SLOTS = "rules"


@dataclass
class RulesGraph:
    """What this part of the graph gives.

    Attributes:
        keeper: where the changes of rules come from; its side outputs have the audit, rejects and totals.
            None where rules are as the pipeline file says.
        alerts: all alerts.
        decisions: the answers to events. None where nothing is to be known of events.
    """

    keeper: DataStream | None
    alerts: DataStream
    decisions: DataStream | None


def rules_graph(
    pipeline: Pipeline,
    sent: Branches,
    results: KeyedStream | None,
    bounded: bool,
    env: StreamExecutionEnvironment,
    t_env: StreamTableEnvironment,
) -> RulesGraph:
    """Put it together: one keeper, whose changes all workers get, beside events and results.

    Args:
        pipeline: the pipeline; it has rules or decisions.
        sent: what ingest sends.
        results: final results, by metric and shard; None where no rule can be on them.
        bounded: whether the source of events ends, so that the topics of rules and verdicts have to as well.
        env: the environment to build in.
        t_env: its table environment.
    """
    plan = pipeline.plan_json()
    keeper = _keeper(pipeline, bounded, env, t_env) if pipeline.rules_change() else None
    changes = None if keeper is None else _timeless(keeper)
    alerts, decisions = [], None
    if pipeline.features is not None:
        events = keyed(sent.records(RULES_BRANCH))
        spoken = _ruled(events, RulesWorker(plan), changes, descriptors.RULE_CHANGES, SPOKEN_TYPE)
        spoken = spoken.uid(uids.RULES).name("rules")
        if pipeline.rules_own_slots:
            spoken = spoken.slot_sharing_group(_OWN_SLOTS)
        alerts.append(lines(spoken, uids.ALERT_LINES, t_env, ALERTS))
        if pipeline.decide is not None:
            decisions = lines(spoken, uids.DECISION_LINES, t_env, DECISIONS)
    if results is not None:
        on_results = _ruled(results, ResultWorker(plan), changes, descriptors.RESULT_RULES, Types.STRING())
        on_results = on_results.uid(uids.RESULT_RULES).name("rules on results")
        alerts.append(texts(on_results, uids.RESULT_ALERTS, t_env))
    return RulesGraph(keeper, alerts[0].union(*alerts[1:]), decisions)


def _ruled(
    stream: KeyedStream,
    worker: RuleWorker,
    changes: DataStream | None,
    in_force: MapStateDescriptor,
    type_: TypeInformation,
) -> DataStream:
    """Return what a worker makes of a stream, by changing rules where there are changes.

    Args:
        stream: what rules look at, by shard.
        worker: looks at it.
        changes: changes of rules.
        in_force: what the rules in force are kept in, where they change.
        type_: of what comes out.
    """
    if changes is None:
        return stream.process(FixedRules(worker), type_)
    return stream.connect(changes.broadcast(in_force)).process(ChangingRules(worker), type_)


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
            messages = messages.union(_messages(pipeline, topic, kind, uid, bounded, env, t_env))
    one = messages.key_by(lambda _: _ALL, key_type=Types.STRING())
    changes = one.process(KeeperFunction(pipeline.plan_json()), CHANGE_TYPE)
    return changes.uid(uids.KEEPER).name("rule keeper").set_parallelism(1)


def _timeless(changes: DataStream) -> DataStream:
    """Return the changes as a stream that is idle, whatever comes.

    An operator that has them beside events goes by the watermark of events then. A watermark of theirs would
    be the operator's whenever the source of events is idle, and so could end every wait; none, without
    idleness, would hold that of the events back for ever.
    """
    idle = WatermarkStrategy.no_watermarks().with_idleness(Duration.of_millis(1))
    timeless = changes.assign_timestamps_and_watermarks(idle)
    return timeless.uid(uids.TIMELESS).name("changes of rules").set_parallelism(1)


def _messages(
    pipeline: Pipeline,
    topic: SideTopic,
    kind: str,
    uid: str,
    bounded: bool,
    env: StreamExecutionEnvironment,
    t_env: StreamTableEnvironment,
) -> DataStream:
    uids.name_table_operators(t_env, uid)
    topic = with_brokers(topic, pipeline)
    with in_parallel(env, 1):
        table = messages_table(topic, f"{pipeline.name}-{uid}", uid, bounded, t_env)
        messages = t_env.to_data_stream(table).map(KeeperMessages(kind, topic.topic), MESSAGE_TYPE)
        return messages.uid(uid).name(uid)
