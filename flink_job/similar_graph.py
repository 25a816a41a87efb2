"""The part of the graph that answers questions for similar items."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

from pyflink.common import Types, WatermarkStrategy
from pyflink.datastream import DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.table import StreamTableEnvironment

from flink_job import uids
from flink_job.pipeline.spec import Pipeline
from flink_job.sources.items_spec import KafkaItems
from flink_job.sources.side_topics import messages_table, with_brokers
from flink_job.streams import in_parallel
from operators.similar.similar_function import (
    ITEM_TYPE,
    ItemFileCheck,
    ItemParser,
    SimilarFunction,
    SimilarOnStream,
)
from state import descriptors


@dataclass(frozen=True)
class SimilarGraph:
    """What this part of the graph gives.

    Attributes:
        blocks: answers, in blocks of lines.
        checked: streams whose side outputs have the items that cannot be used.
    """

    blocks: DataStream
    checked: list[DataStream]


def similar_graph(
    pipeline: Pipeline,
    questions: KeyedStream,
    bounded: bool,
    env: StreamExecutionEnvironment,
    t_env: StreamTableEnvironment,
) -> SimilarGraph:
    """Put it together: topics of items, checked and sent to all workers, beside the questions.

    No window waits for the watermark behind the answers, so that of the items, which there is none of, holds
    nothing back.

    Args:
        pipeline: the pipeline.
        questions: records by shard.
        bounded: whether the source of events ends, so that topics of items have to as well.
        env: the environment to build in.
        t_env: its table environment.
    """
    plan = pipeline.plan_json()
    streamed = [entry for entry in pipeline.similar if isinstance(entry.items, KafkaItems)]
    changes = []
    for entry in streamed:
        uid = f"{uids.ITEMS}-{entry.name}"
        uids.name_table_operators(t_env, uid)
        items = with_brokers(entry.items, pipeline)
        with in_parallel(env, 1):
            table = messages_table(items, f"{pipeline.name}-{entry.name}", uid, bounded, t_env)
            parsed = t_env.to_data_stream(table).process(ItemParser(plan, entry.name, items.topic), ITEM_TYPE)
            changes.append(parsed.uid(uid).name(uid))
    checked = list(changes)
    if files := len(pipeline.similar) - len(streamed):
        checked.append(_file_check(plan, files, env))
    if changes:
        every = reduce(lambda one, other: one.union(other), changes)
        connected = questions.connect(every.broadcast(descriptors.ITEMS))
        blocks = connected.process(SimilarOnStream(plan), Types.STRING())
    else:
        blocks = questions.process(SimilarFunction(plan), Types.STRING())
    return SimilarGraph(blocks.uid(uids.SIMILAR).name("similar"), checked)


def _file_check(plan: str, files: int, env: StreamExecutionEnvironment) -> DataStream:
    """Return a stream that tells once what of the files of items cannot be used."""
    numbers = env.from_source(
        NumberSequenceSource(0, files - 1), WatermarkStrategy.no_watermarks(), uids.ITEM_FILES
    )
    numbers = numbers.uid(uids.ITEM_FILES).set_parallelism(1)
    checked = numbers.process(ItemFileCheck(plan), Types.STRING())
    return checked.uid(f"{uids.ITEM_FILES}-check").name("item files").set_parallelism(1)
