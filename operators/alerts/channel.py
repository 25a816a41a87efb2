"""What every way of telling alerts has in common: the message that it sends and what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import Any, Literal, Protocol

import msgspec

from operators.alerts.told import Told

Clock = Callable[[], float]
"""The wall clock in seconds."""


@dataclass(frozen=True)
class ToldAlert:
    """An alert as it is sent.

    Attributes:
        told: what it says.
        text: the same, the JSON object that it came as.
        began: of a resolved one: the alert as it began; None where that is not known.
    """

    told: Told
    text: bytes
    began: Told | None = None


@dataclass(frozen=True)
class Message:
    """Alerts that travel together.

    Attributes:
        alerts: the alerts; those of status `suppressed` tell how many others there were.
        group: what they have in common.
    """

    alerts: tuple[ToldAlert, ...]
    group: Mapping[str, Any]

    @cached_property
    def key(self) -> str:
        """The same whenever the same alerts are sent in one message, and different for others."""
        named = msgspec.json.encode([[alert.told.id, alert.told.status] for alert in self.alerts])
        return blake2b(named, digest_size=16).hexdigest()

    def real(self) -> list[ToldAlert]:
        """Return the alerts that do not just tell of others."""
        return [alert for alert in self.alerts if alert.told.status != "suppressed"]

    def suppressed(self) -> dict[str, int]:
        """Return how many alerts were suppressed, by rule."""
        counts: dict[str, int] = {}
        for alert in self.alerts:
            if alert.told.status == "suppressed":
                counts[alert.told.rule] = counts.get(alert.told.rule, 0) + alert.told.suppressed
        return counts


@dataclass(frozen=True)
class Outcome:
    """What became of a message.

    Attributes:
        kind: `accepted`: the receiver has it; `retry`: it may have it or not; `refused`: it does not want it.
        detail: why; has no secrets.
        wait_ms: how long the receiver wants to be left alone.
    """

    kind: Literal["accepted", "retry", "refused"]
    detail: str = ""
    wait_ms: int | None = None


class Channel(Protocol):
    """Sends messages to one receiver, from one thread."""

    def send(self, message: Message) -> Outcome:
        """Send a message and wait for the answer; both together take at most the channel's `timeout`."""
