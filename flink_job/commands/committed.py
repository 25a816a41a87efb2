"""Sees to it that what a run has read to the end is committed, for the next one to go on there."""

from __future__ import annotations

from rich.console import Console

from flink_job.kafka_clients.group_offsets import Offsets, commit_at_least, ends
from flink_job.kafka_clients.problem import KafkaProblem
from flink_job.sources.kafka_source import KafkaSource
from flink_job.sources.source import Source

_COMMITS = "commit.offsets.on.checkpoint"  # Flink's own, for who wants the group left alone


def ends_to_reach(source: Source, go_on: bool) -> Offsets:
    """Return what a run will have read for certain when it ends by itself; nothing where that is not known.

    Args:
        source: the source, about to be read.
        go_on: whether a run is gone on with: it may have read partitions to an earlier end.

    Raises:
        KafkaProblem: where the brokers do not answer.
    """
    if go_on or not isinstance(source, KafkaSource) or not source.bounded or source.partitions is None:
        return {}
    commits = source.spec.properties.get(_COMMITS, "true").lower() == "true"  # as Java reads it
    return ends(source.spec, source.partitions) if commits else {}


def commit_reached(source: Source, reached: Offsets, console: Console) -> None:
    """Commit what was read where Flink's own commit got lost; what is in the way is told, as no result is.

    Args:
        source: the source, read to its end.
        reached: as of `ends_to_reach`.
        console: where a problem is told.
    """
    if not reached or not isinstance(source, KafkaSource):
        return
    try:
        commit_at_least(source.spec, source.group, reached)
    except KafkaProblem as problem:
        console.print(
            f"whether all that was read is committed to the group {source.group} is not known: {problem}",
            markup=False,
            soft_wrap=True,
        )
