"""The options of `items` in an entry of `similar`, and the entry as the pipeline file has it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field

from flink_job.sources.side_topic_spec import SideTopic
from operators.similar.similar_spec import FileItems, SimilarSpec, StreamedItems

_FREE = {"where", "k", "index", "history"}


class KafkaItems(SideTopic, StreamedItems):
    """Items of a compacted topic, read from its beginning and followed.

    A message's value is an item; one without a value, or whose vector is null, takes away the item that its
    key names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: Literal["kafka"]


class SimilarEntry(SimilarSpec):
    """The items most similar to what an event asks for, by the cosine of their vectors."""

    items: Annotated[FileItems | KafkaItems, Field(discriminator="type")]

    def shape(self) -> dict[str, Any]:
        """Return the options that shape what is in state."""
        shape = self.model_dump(mode="json", exclude=_FREE)
        shape["items"] = {key: shape["items"].get(key) for key in ("type", "topic")}
        return shape
