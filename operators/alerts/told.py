"""What delivery reads of an alert, and what it says itself where alerts were suppressed."""

from __future__ import annotations

from datetime import datetime, timezone
from hashlib import blake2b
from typing import Any, Literal

import msgspec

_encode = msgspec.json.encode
_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_999


class Told(msgspec.Struct, frozen=True):
    """An alert, or how many alerts of a rule were suppressed; see `operators.rules.alerts`.

    Attributes:
        id: names it.
        pipeline: the pipeline's name.
        rule: the rule's name.
        severity: the rule's.
        status: whether it begins or is over; `suppressed` where it tells of others.
        raised_ms: when it was made, by the wall clock.
        event_time_ms: the time that it is about.
        key: the entity, or the key of the result.
        values: of the rule's columns.
        text: what people are told.
        metric: of a rule on results: whose results; such alerts have an end to come.
        suppressed: how many were suppressed.
        from_ms: since when, by the wall clock.
        to_ms: until when.
    """

    id: str
    pipeline: str
    rule: str
    severity: str
    status: Literal["firing", "resolved", "suppressed"]
    raised_ms: int
    event_time_ms: int | None = None
    key: dict[str, Any] = {}
    values: dict[str, Any] = {}
    text: str | None = None
    metric: str | None = None
    suppressed: int = 0
    from_ms: int = 0
    to_ms: int = 0


read_told = msgspec.json.Decoder(Told).decode


def written_time(time_ms: int) -> str:
    """Return a time in RFC 3339, the nearest that has four digits of year."""
    whole_s, rest_ms = divmod(min(max(time_ms, _FIRST_MS), _LAST_MS), 1000)
    moment = datetime.fromtimestamp(whole_s, timezone.utc)
    return f"{moment.replace(tzinfo=None).isoformat()}.{rest_ms:03d}Z"


def written_value(value: object) -> str:
    """Return a value of a key or column as people read it: text as it is, all else as JSON."""
    return value if isinstance(value, str) else _encode(value).decode()


def suppressed_json(
    pipeline: str, channel: str, rule: str, severity: str, count: int, from_ms: int, to_ms: int
) -> bytes:
    """Return what is told at the end of an interval in which alerts of a rule were suppressed.

    Args:
        pipeline: the pipeline's name.
        channel: the channel that did not get them.
        rule: whose alerts they were.
        severity: that of the last of them.
        count: how many.
        from_ms: the interval's start.
        to_ms: its end.
    """
    subject = _encode(["suppressed", pipeline, channel, rule, from_ms])
    return _encode(
        {
            "id": blake2b(subject, digest_size=16).hexdigest(),
            "pipeline": pipeline,
            "rule": rule,
            "severity": severity,
            "status": "suppressed",
            "raised_ms": to_ms,
            "suppressed": count,
            "from_ms": from_ms,
            "to_ms": to_ms,
        }
    )
