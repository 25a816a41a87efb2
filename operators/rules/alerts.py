"""Alerts and decisions as the JSON objects that leave the job.

An alert's `id` is the same however often it is made again: after a crash, or because an event came twice. It
comes at least once, so whoever reads alerts takes one of each (`id`, `status`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Literal

import msgspec

from operators.rules.compiled_rule import CompiledRule

_encode = msgspec.json.encode
_STRICTNESS = ("approve", "review", "block")


class _Decision(msgspec.Struct):
    """A decision as it is written: there is one for each event, and a dict takes three times as long."""

    id: str
    pipeline: str
    decision: str
    rules: list[dict[str, str | int]]
    key: Mapping[str, object]
    event_time_ms: int
    decided_ms: int
    event_id: object
    source: msgspec.Raw


class AlertWriter:
    """Writes the alerts and decisions of one pipeline.

    Args:
        pipeline: the pipeline's name.
    """

    def __init__(self, pipeline: str) -> None:
        """Keep the name."""
        self._pipeline = pipeline
        self._id_of_decision = self._begun_id("decision", "")

    def alert(
        self,
        rule: CompiledRule,
        subject: bytes,
        status: Literal["firing", "resolved"],
        key: Mapping[str, object],
        values: Mapping[str, object],
        event_time_ms: int,
        raised_ms: int,
        about: Mapping[str, object],
    ) -> bytes:
        """Return an alert.

        Args:
            rule: the rule that speaks.
            subject: what the alert is about, canonical JSON: one rule raises one alert about it.
            status: whether it begins or is over.
            key: the entity, or the key of the result.
            values: of the rule's columns.
            event_time_ms: the time that it is about.
            raised_ms: the wall clock.
            about: what else is told of the event or the window.
        """
        told = {
            "id": _ended_id(self._begun_id("alert", rule.rule.name), subject),
            "pipeline": self._pipeline,
            "rule": rule.rule.name,
            "version": rule.version,
            "severity": rule.rule.severity,
            "status": status,
            "key": key,
            "values": values,
            "event_time_ms": event_time_ms,
            "raised_ms": raised_ms,
        }
        text = rule.text(values)
        if text is not None:
            told["text"] = text
        return _encode(told | dict(about))

    def decision(
        self,
        rules: Sequence[CompiledRule],
        subject: bytes,
        key: Mapping[str, object],
        event_time_ms: int,
        decided_ms: int,
        event_id: object,
        source: bytes,
    ) -> bytes:
        """Return the answer to an event: the strictest that the rules that spoke ask for.

        Args:
            rules: the rules that spoke.
            subject: the event, canonical JSON.
            key: the entity.
            event_time_ms: the event's time.
            decided_ms: the wall clock.
            event_id: the event's id; `msgspec.UNSET` where events have none.
            source: where the event is from, a JSON object.
        """
        asked = [rule.rule.decide for rule in rules if rule.rule.decide is not None]
        told = _Decision(
            _ended_id(self._id_of_decision, subject),
            self._pipeline,
            max(asked, key=_STRICTNESS.index, default="approve"),
            [{"name": rule.rule.name, "version": rule.version} for rule in rules],
            key,
            event_time_ms,
            decided_ms,
            event_id,
            msgspec.Raw(source),
        )
        return _encode(told)

    def _begun_id(self, what: str, rule: str) -> blake2b:
        return blake2b(_encode([what, self._pipeline, rule]), digest_size=16)


def _ended_id(begun: blake2b, subject: bytes) -> str:
    hashed = begun.copy()
    hashed.update(subject)
    return hashed.hexdigest()
