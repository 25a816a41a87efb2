"""The options of a sink `{type: kafka}`: where records go, and how its topic is made if it is absent."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from flink_job.sources.kafka_spec import Brokers, Name
from operators.section import Section


class KafkaSinkSpec(Section):
    """Options of a sink `{type: kafka}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: Literal["kafka"]
    topic: Name
    brokers: Brokers | None = Field(None, description="Default: those of a Kafka source.")
    properties: dict[str, str] = Field(default_factory=dict, description="Passed on to the Kafka client.")
    create: bool = Field(False, description="Whether the topic is created where it is absent.")
    partitions: int | None = Field(
        None, ge=1, le=10_000, description="Of a topic that is created; default: the brokers'."
    )
    replication: int | None = Field(
        None,
        ge=1,
        le=32_767,
        description="Replicas of each partition of a topic that is created; default: the brokers'.",
    )


class ResultKafkaSinkSpec(KafkaSinkSpec):
    """Options of a sink `{type: kafka}` for results."""

    with_sketch: bool = Field(False, description="Whether results carry the sketch's own image in base64.")
