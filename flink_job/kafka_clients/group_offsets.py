"""How far a consumer group has come, as the brokers know it.

Flink commits a group's offsets behind each checkpoint and waits for no answer: those of the last one can get
lost while the readers close, or come behind older ones. A job goes on from its checkpoints and does not care,
but the next run that starts at the committed offsets would read messages again.
"""

from __future__ import annotations

from collections.abc import Mapping

from kafka.admin import OffsetSpec
from kafka.protocol.consumer import IsolationLevel
from kafka.structs import OffsetAndMetadata, TopicPartition

from flink_job.kafka_clients.connection import administrator, patiently
from flink_job.kafka_clients.problem import BrokerProblem
from flink_job.sources.kafka_spec import KafkaSourceSpec

Offsets = dict[TopicPartition, int]


def ends(spec: KafkaSourceSpec, partitions: Mapping[str, int]) -> Offsets:
    """Return where each partition of a source ends now, up to the first transaction that is still open.

    Args:
        spec: the source.
        partitions: how many each topic has.

    Raises:
        KafkaProblem: where the brokers do not answer.
    """
    wanted = {
        TopicPartition(topic, n): OffsetSpec.LATEST for topic in partitions for n in range(partitions[topic])
    }
    with administrator(spec.brokers, spec.properties) as admin:
        found = admin.list_partition_offsets(wanted, IsolationLevel.READ_COMMITTED)
    return {partition: found[partition].offset for partition in wanted}


def commit_at_least(spec: KafkaSourceSpec, group: str, offsets: Offsets) -> Offsets:
    """Bring a group without consumers up to these offsets where it is not as far.

    Args:
        spec: the source.
        group: the consumer group.
        offsets: how far it has read for certain.

    Returns:
        The offsets that had to be committed.

    Raises:
        KafkaProblem: where the brokers do not answer or refuse.
    """
    with administrator(spec.brokers, spec.properties) as admin:
        known = patiently(lambda: admin.list_group_offsets({group: list(offsets)}))[group]
        missing = {
            partition: OffsetAndMetadata(offset, "", -1)
            for partition, offset in offsets.items()
            if partition not in known or known[partition].offset < offset
        }
        refused = patiently(lambda: admin.alter_group_offsets(group, missing)) if missing else {}
    fault = next((fault for fault in refused.values() if fault.errno), None)
    if fault is not None:
        raise BrokerProblem(
            f"The broker at {spec.brokers} refuses offsets of the group {group}: {fault.__name__}.",
            "Have Read on the group granted, and give each pipeline a group of its own.",
        )
    return {partition: offset.offset for partition, offset in missing.items()}
