"""Streams as PyFlink has no call for: made by the JVM alone, without a Python operator of their own.

Each Python operator has bundles of its own, and a task waits for every one of them to come back. `key_by` and
`get_side_output` are such operators.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pyflink.common import Types
from pyflink.common.typeinfo import TypeInformation
from pyflink.datastream import DataStream, KeyedStream, OutputTag, StreamExecutionEnvironment
from pyflink.java_gateway import get_gateway
from pyflink.table import DataTypes, Schema, StreamTableEnvironment, Table
from pyflink.table.types import _to_java_data_type as java_type

from flink_job import uids
from operators.ingest.ingest_function import RECORD_TYPE

BYTES = Types.PRIMITIVE_ARRAY(Types.BYTE())


@contextmanager
def in_parallel(env: StreamExecutionEnvironment, workers: int) -> Iterator[None]:
    """Let so many workers have all that is built meanwhile, tables that become streams too.

    That of a table's source alone can be set (`scan.parallelism`), but what comes behind it is then dealt out
    to all workers in turn: messages of one partition would overtake each other.

    Args:
        env: the environment to build in.
        workers: how many.
    """
    before = env.get_parallelism()
    env.set_parallelism(workers)
    try:
        yield
    finally:
        env.set_parallelism(before)


def keyed(pairs: DataStream, value_type: TypeInformation = BYTES) -> KeyedStream:
    """Return a stream of rows of two fields keyed by the first, a string; functions get the second.

    Args:
        pairs: the rows.
        value_type: the type of the second field.
    """
    by_key = pairs._j_data_stream.keyBy(
        get_gateway().jvm.KeyByKeySelector(), Types.ROW([Types.STRING()]).get_java_type_info()
    )
    return KeyedStream(by_key, value_type, pairs)


def side_output(stream: DataStream, tag: OutputTag) -> DataStream:
    """Return a side output of a function."""
    return DataStream(stream._j_data_stream.getSideOutput(tag.get_java_output_tag()))


def lines(blocks: DataStream, uid: str, t_env: StreamTableEnvironment, kind: str | None = None) -> DataStream:
    """Return the lines of blocks, each by itself.

    Args:
        blocks: texts, with newlines between their lines; where `kind` is given, rows of a kind and a text.
        uid: names the operators.
        t_env: the table environment.
        kind: which blocks; None for all.
    """
    uids.name_table_operators(t_env, uid, numbered=True)
    t_env.create_temporary_view(f"`{uid}`", blocks)
    text, where = ("f0", "") if kind is None else ("f1", f" WHERE f0 = '{kind}'")
    table = t_env.sql_query(
        f"SELECT line FROM `{uid}` CROSS JOIN UNNEST(SPLIT({text}, U&'\\000A')) AS apart(line){where}"
    )
    return _texts(table, t_env)


def texts(stream: DataStream, uid: str, t_env: StreamTableEnvironment) -> DataStream:
    """Return a stream of texts that a function made as one of those that tables make, to unite it with them.

    Args:
        stream: the texts.
        uid: names the operators.
        t_env: the table environment.
    """
    uids.name_table_operators(t_env, uid, numbered=True)
    return _texts(t_env.from_data_stream(stream), t_env)


class Branches:
    """What ingest sends, by the branch of the graph that it goes to; each with the watermark of its batches.

    Flink's watermark assigner for tables is used because it emits a watermark behind the very element that
    raises it; that of the DataStream API would wait for its next turn.

    Args:
        batches: rows of `ENVELOPE_TYPE`.
        t_env: the table environment.
    """

    def __init__(self, batches: DataStream, t_env: StreamTableEnvironment) -> None:
        """Keep the parts; nothing is built yet."""
        self._batches, self._t_env = batches, t_env

    def records(self, branch: str) -> DataStream:
        """Return the records of a branch, of `RECORD_TYPE`."""
        return self._t_env.to_append_stream(self._of(branch, "shards[n] AS shard, record"), RECORD_TYPE)

    def records_for_one(self, branch: str, key: str) -> DataStream:
        """Return the records of a branch, each of `RECORD_TYPE` and behind a key that is always the same."""
        table = self._of(branch, f"'{key}' AS everything, ROW(shards[n], record) AS record")
        return self._t_env.to_append_stream(table, Types.ROW([Types.STRING(), RECORD_TYPE]))

    def texts(self, branch: str) -> DataStream:
        """Return the records of a branch as texts."""
        return _texts(self._of(branch, "CAST(record AS STRING) AS line"), self._t_env)

    def _of(self, branch: str, columns: str) -> Table:
        uids.name_table_operators(self._t_env, f"{uids.BRANCH}-{branch}", numbered=True)
        name = f"`{uids.BRANCH}-{branch}`"
        schema = (
            Schema.new_builder()
            .column("watermark_ms", "BIGINT")
            .column("branches", "ARRAY<STRING>")
            .column("shards", "ARRAY<STRING>")
            .column("records", "ARRAY<BYTES>")
            .column_by_expression("stamp", "TO_TIMESTAMP_LTZ(watermark_ms, 3)")
            .watermark("stamp", "stamp - INTERVAL '0.001' SECOND")
            .build()
        )
        self._t_env.create_temporary_view(name, self._batches, schema)
        return self._t_env.sql_query(
            f"SELECT {columns} FROM {name} CROSS JOIN UNNEST(records) WITH ORDINALITY AS apart(record, n) "
            f"WHERE branches[n] = '{branch}'"
        )


def _texts(table: Table, t_env: StreamTableEnvironment) -> DataStream:
    """Return the stream of a table of one column: of bare texts, not of rows."""
    return DataStream(t_env._j_tenv.toDataStream(table._j_table, java_type(DataTypes.STRING())))
