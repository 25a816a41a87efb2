"""The options of `source: {type: kafka}`."""

from __future__ import annotations

import re
from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, field_validator, model_validator

from operators.parsing import CsvFormat, FormatSpec
from operators.section import Section

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$")]
Brokers = Annotated[
    str, Field(pattern=r"^[^\s,:]+:[0-9]{1,5}(,[^\s,:]+:[0-9]{1,5})*$", description="host:port, by commas.")
]
SECURITY = ("security.", "sasl.", "ssl.")
"""How properties begin that say how one is let in by the brokers."""
_STARTS = ("earliest", "latest", "committed")
_BATCH_MESSAGES, _BATCH_MESSAGES_OF_MANY = 40_000, 400


class KafkaSourceSpec(Section):
    """Options of `source: {type: kafka}`; one of `topic`, `topics` and `pattern` names what is read."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    type: Literal["kafka"]
    brokers: Brokers
    topic: Name | None = None
    topics: Annotated[tuple[Name, ...], Field(min_length=1)] | None = None
    pattern: str | None = Field(None, min_length=1, description="A regular expression of topic names.")
    group: Name | None = Field(None, description="Consumer group; default: the pipeline's name.")
    start: str = Field("earliest", description="earliest, latest, committed, or an ISO time.")
    stop: Literal["never", "latest"] = "never"
    format: FormatSpec = "json"
    batch_messages: int | None = Field(
        None,
        ge=1,
        le=1_000_000,
        description="How many messages are ingested at a time, at most; default: 20,000, or 200 of ndjson.",
    )
    properties: dict[str, str] = Field(default_factory=dict, description="Passed on to the Kafka client.")

    @field_validator("start", mode="before")
    @classmethod
    def _start_is_known(cls, start: object) -> object:
        if isinstance(start, date):  # YAML reads a bare time as one
            return start.isoformat()
        if isinstance(start, str) and start not in _STARTS:
            try:
                datetime.fromisoformat(start.replace("Z", "+00:00"))
            except ValueError:
                allowed = f"{', '.join(_STARTS)} or an ISO time such as 2026-01-01T00:00:00Z"
                raise ValueError(f"expected {allowed}, got {start!r:.60}") from None
        return start

    @field_validator("pattern")
    @classmethod
    def _pattern_can_be_read(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except (re.error, OverflowError, RecursionError) as problem:
            raise ValueError(f"expected a regular expression, got {pattern!r:.60}: {problem}") from None
        return pattern

    @model_validator(mode="after")
    def _messages_have_no_header(self) -> KafkaSourceSpec:
        if isinstance(self.format, CsvFormat) and self.format.has_header:
            raise ValueError("format: expected columns and no header, since a message has no header line")
        return self

    @model_validator(mode="after")
    def _one_way_to_name_topics(self) -> KafkaSourceSpec:
        named = [key for key in ("topic", "topics", "pattern") if getattr(self, key) is not None]
        if len(named) != 1:
            raise ValueError(
                f"expected one of topic, topics and pattern, got {' and '.join(named) or 'none'}"
            )
        return self

    def security(self) -> dict[str, str]:
        """Return the properties that say how one is let in by the brokers."""
        return {key: value for key, value in self.properties.items() if key.startswith(SECURITY)}

    def rows_per_batch(self) -> int:
        """Return how many messages one ingest call takes at most."""
        usual = _BATCH_MESSAGES_OF_MANY if self.format == "ndjson" else _BATCH_MESSAGES
        return self.batch_messages or usual
