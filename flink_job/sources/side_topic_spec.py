"""A topic beside the events: items, rules, verdicts."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from flink_job.sources.kafka_spec import Brokers, KafkaSourceSpec, Name

ONLY_HERE = {"topic", "brokers", "properties"}
"""Keys that operators do not get: they are not their business, and may hold passwords."""


class SideTopic(BaseModel):
    """A topic that is read from its beginning and followed."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    topic: Name
    brokers: Brokers | None = Field(None, description="Default: those of a Kafka source.")
    properties: dict[str, str] = Field(default_factory=dict, description="Passed on to the Kafka client.")

    def source(self) -> KafkaSourceSpec:
        """Return the topic as a source; `brokers` must be there."""
        return KafkaSourceSpec(
            type="kafka", brokers=self.brokers, topic=self.topic, properties=self.properties
        )
