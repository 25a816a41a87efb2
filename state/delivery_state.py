"""The alerts that one channel has yet to deliver, over a map of bytes to bytes.

| map | key | value |
|---|---|---|
| `deliveries` | `w`, its number, u64 big-endian | an alert that waits |
| `deliveries` | `m`, the number of its first alert | alerts that travel together, once they were sent |
| `deliveries` | `f`, the alert's id | an alert that fires and has an end to come |
| `deliveries` | `r`, the name of a rule | how many alerts of it there were in the interval at hand |

A value is a version byte, 1, and MessagePack: the fields of its class below, in order. All are read once and
then kept in memory beside their state. Such a copy is right as long as the process lives, since whoever
restores state does it in a new one.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

import msgspec

from sketches.errors import BadData
from state.message_pack import reader

_VERSION = b"\x01"
_WAITING, _MESSAGE, _FIRING, _RULE = b"w", b"m", b"f", b"r"
_NUMBER_BYTES = 8


class WalkedMap(Protocol):
    """What is asked of Flink's `MapState[bytes, bytes]`; a test gives it over a dict."""

    def put(self, key: bytes, value: bytes) -> None:
        """Store a value."""

    def remove(self, key: bytes) -> None:
        """Forget a value."""

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """Return all that there is."""


class WaitingAlert(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An alert that waits to be delivered.

    Attributes:
        came_ms: when it came, by the wall clock.
        told: the alert, a JSON object.
        began: of a resolved one: the alert as it began, a JSON object; else None.
    """

    came_ms: int
    told: bytes
    began: bytes | None


class SentMessage(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """Alerts that travel together, always the same ones.

    Attributes:
        numbers: their numbers.
        attempts: how often sending them failed.
    """

    numbers: list[int]
    attempts: int


class FiringAlert(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """An alert that fires and has an end to come: when it came, by the wall clock, and its JSON."""

    came_ms: int
    told: bytes


class RuleCount(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The alerts of a rule in an interval.

    Attributes:
        interval: the interval's number, counted from the epoch.
        passed: how many were let through.
        suppressed: how many were not.
        severity: that of the one that was suppressed last.
    """

    interval: int
    passed: int
    suppressed: int
    severity: str


_encode = msgspec.msgpack.Encoder().encode
_read_waiting, _read_message, _read_firing, _read_rule = (
    reader(type_, type_.__name__, _VERSION) for type_ in (WaitingAlert, SentMessage, FiringAlert, RuleCount)
)


class DeliveryState:
    """What the channel at hand has in state.

    Args:
        held: the map.

    Attributes:
        waiting: alerts by number, the oldest first, as they were when this was made; so are the others.
        messages: messages by the number of their first alert.
        firing: alerts by id, in the order in which they came.
        rules: counts by rule.

    Raises:
        BadData: where the bytes are of another version or harmed.
    """

    def __init__(self, held: WalkedMap) -> None:
        """Read the map."""
        self._held = held
        self.waiting: dict[int, WaitingAlert] = {}
        self.messages: dict[int, SentMessage] = {}
        self.firing: dict[str, FiringAlert] = {}
        self.rules: dict[str, RuleCount] = {}
        found = sorted(held.items())
        self._keys = [key for key, _ in found]
        for key, value in found:
            name = key[1:]
            if key[:1] == _WAITING:
                self.waiting[_number_of(key)] = _read_waiting(value)
            elif key[:1] == _MESSAGE:
                self.messages[_number_of(key)] = _read_message(value)
            elif key[:1] == _FIRING:
                self.firing[_name_of(name)] = _read_firing(value)
            elif key[:1] == _RULE:
                self.rules[_name_of(name)] = _read_rule(value)
            else:
                raise BadData(f"expected a key that begins with w, m, f or r, got {key[:1]!r}")
        self.firing = dict(sorted(self.firing.items(), key=lambda item: item[1].came_ms))
        for message in self.messages.values():
            if not message.numbers or not self.waiting.keys() >= set(message.numbers):
                raise BadData("expected a message of alerts that wait, got one without or of others")

    def clear(self) -> None:
        """Forget all that there was when this was made."""
        for key in self._keys:
            self._held.remove(key)

    def put_waiting(self, number: int, alert: WaitingAlert) -> None:
        """Write an alert that waits."""
        self._held.put(_numbered(_WAITING, number), _VERSION + _encode(alert))

    def remove_waiting(self, number: int) -> None:
        """Forget one."""
        self._held.remove(_numbered(_WAITING, number))

    def put_message(self, message: SentMessage) -> None:
        """Write a message."""
        self._held.put(_numbered(_MESSAGE, message.numbers[0]), _VERSION + _encode(message))

    def remove_message(self, message: SentMessage) -> None:
        """Forget one."""
        self._held.remove(_numbered(_MESSAGE, message.numbers[0]))

    def put_firing(self, alert_id: str, alert: FiringAlert) -> None:
        """Write an alert that fires."""
        self._held.put(_FIRING + alert_id.encode(), _VERSION + _encode(alert))

    def remove_firing(self, alert_id: str) -> None:
        """Forget one."""
        self._held.remove(_FIRING + alert_id.encode())

    def put_rule(self, rule: str, count: RuleCount) -> None:
        """Write the count of a rule."""
        self._held.put(_RULE + rule.encode(), _VERSION + _encode(count))

    def remove_rule(self, rule: str) -> None:
        """Forget one."""
        self._held.remove(_RULE + rule.encode())


def _numbered(kind: bytes, number: int) -> bytes:
    return kind + number.to_bytes(_NUMBER_BYTES, "big")


def _number_of(key: bytes) -> int:
    if len(key) != 1 + _NUMBER_BYTES:
        raise BadData(f"expected a key of {1 + _NUMBER_BYTES} bytes, got {len(key)}")
    return int.from_bytes(key[1:], "big")


def _name_of(name: bytes) -> str:
    try:
        return name.decode()
    except UnicodeDecodeError:
        raise BadData("expected a key in UTF-8, got one that is not") from None
