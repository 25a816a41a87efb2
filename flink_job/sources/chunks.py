"""Sources that a Python worker reads by itself: Flink deals out and checkpoints the numbers of chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flink_job import uids

if TYPE_CHECKING:
    from pyflink.datastream import StreamExecutionEnvironment
    from pyflink.table import StreamTableEnvironment, Table

ENDLESS = 2**62
PADDING_BYTES = 32 * 1024
"""As much as one of Flink's network buffers holds (`taskmanager.memory.segment-size`)."""


def chunk_numbers(
    env: StreamExecutionEnvironment, t_env: StreamTableEnvironment, chunks: int | None
) -> Table:
    """Return a table of one column: chunk numbers from 0, in order, dealt out to the workers in turn.

    One reader keeps the order of the source; every worker then sees a part of the chunks, in order, so that
    no event is later for the job than it is in the source.

    A number on its way to a worker takes a whole network buffer, so that a dozen of them wait at most. A
    checkpoint passes behind all that wait: bare numbers, of which one buffer holds thousands, would keep it
    waiting until the workers had read nearly everything.

    Args:
        env: the job's environment.
        t_env: its table environment.
        chunks: how many there are; None for a source without end.
    """
    from pyflink.common import WatermarkStrategy
    from pyflink.datastream.connectors.number_seq import NumberSequenceSource
    from pyflink.table.expressions import col, lit

    last = ENDLESS if chunks is None else max(chunks, 1) - 1
    numbers = env.from_source(NumberSequenceSource(0, last), WatermarkStrategy.no_watermarks(), "source")
    numbers = numbers.uid(uids.SOURCE).set_parallelism(1)
    padding = lit("x").repeat(PADDING_BYTES).alias("padding")
    padded = t_env.from_data_stream(numbers).select(col("f0").alias("number"), padding)
    uids.name_table_operators(t_env, uids.DEALT)
    dealt = t_env.to_data_stream(padded).rebalance()
    # Does nothing, in the JVM, but set the parallelism, which a table takes over from its stream.
    spread = dealt.assign_timestamps_and_watermarks(WatermarkStrategy.no_watermarks())
    spread = spread.uid(uids.DEALT).name("dealt").set_parallelism(env.get_parallelism())
    return t_env.from_data_stream(spread).select(col("number"))
