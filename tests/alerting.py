"""What the tests of alerts share: alerts, a receiver that fails as it is told to, a run in manual time."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from operators.alerts.alert_spec import AlertsSpec
from operators.alerts.channel import Message, Outcome
from operators.alerts.delivery_runner import DeliveryRunner
from operators.alerts.sending import sending_thread
from state.delivery_state import DeliveryState

NEVER_MS = 10**15


class StateMap(dict):
    """A map of bytes to bytes in memory."""

    def put(self, key: bytes, value: bytes) -> None:
        assert isinstance(key, bytes) and isinstance(value, bytes)
        self[key] = value

    def remove(self, key: bytes) -> None:
        self.pop(key, None)


def alert(number: int | str, status: str = "firing", rule: str = "big", **more: Any) -> bytes:
    """Return an alert as `operators.rules.alerts` writes it."""
    told = {
        "id": f"{number:0>8}", "pipeline": "shop", "rule": rule, "version": 1, "severity": "warning",
        "status": status, "key": {"user": f"u{number}"}, "values": {"amount": 12.5},
        "event_time_ms": 1_700_000_000_000, "raised_ms": 1_700_000_000_500,
    }  # fmt: skip
    return json.dumps(told | more).encode()


def result_alert(number: int | str, status: str = "firing", rule: str = "slow", **more: Any) -> bytes:
    """Return an alert of a rule on results, which has an end to come."""
    return alert(number, status, rule, metric="requests", **more)


def spec_of(channel: dict[str, Any] | None = None, **alerts: Any) -> AlertsSpec:
    """Return options with one channel, a webhook by default."""
    usual = {"name": "ops", "type": "webhook", "url": "http://localhost:1/"}
    return AlertsSpec.model_validate({"deliver": [usual | (channel or {})], **alerts})


@dataclass
class Sending:
    """A message that was handed over: when, when its outcome is known, and what it is."""

    about: Any
    message: Message
    handed_ms: int
    known_ms: int
    outcome: Outcome
    life: int
    got: bool = False
    collected_ms: int | None = None

    @property
    def names(self) -> list[tuple[str, str]]:
        return [(one.told.id, one.told.status) for one in self.message.alerts]


@dataclass
class Receiver:
    """The other end: sends nothing, notes everything; one message at a time, as a thread would.

    Attributes:
        behave: tells of a message at a time how long it takes, what the sender hears, and whether the
            receiver got it.
        sendings: all that was ever handed over.
    """

    behave: Callable[[int, Message], tuple[int, Outcome, bool]] = lambda _, __: (1, Outcome("accepted"), True)
    sendings: list[Sending] = field(default_factory=list)
    now_ms: int = 0
    life: int = 0
    free_ms: int = 0

    def hand(self, about: Any, message: Message) -> None:
        takes_ms, outcome, got = self.behave(self.now_ms, message)
        self.free_ms = max(self.free_ms, self.now_ms) + takes_ms
        self.sendings.append(Sending(about, message, self.now_ms, self.free_ms, outcome, self.life, got))

    def collect(self) -> list[tuple[Any, Outcome]]:
        done = [
            one
            for one in self.sendings
            if one.life == self.life and one.collected_ms is None and one.known_ms <= self.now_ms
        ]
        for one in done:
            one.collected_ms = self.now_ms
        return [(one.about, one.outcome) for one in done]

    def got(self) -> list[tuple[str, str]]:
        """Return id and status of all that it got, in order."""
        return [name for one in self.sendings if one.got for name in one.names]


class Delivery:
    """A runner with a clock of its own."""

    def __init__(
        self, spec: AlertsSpec, receiver: Receiver | None = None, random: Callable[[], float] = lambda: 0.0
    ) -> None:
        self.spec, self.receiver, self._random = spec, receiver or Receiver(), random
        self.held, self.now_ms = StateMap(), 0
        self.dead: list[dict[str, Any]] = []
        self.go_on_from(self.held)

    def go_on_from(self, held: StateMap) -> None:
        """Be a new process with this state."""
        self.held = StateMap(held)
        self.receiver.life += 1
        self.receiver.free_ms = self.now_ms
        self.runner = DeliveryRunner(
            self.spec, self.spec.deliver[0], "shop", DeliveryState(self.held), self.receiver, self._random
        )

    def send(self, *alerts: bytes) -> None:
        for one in alerts:
            self._tell(self.runner.on_alert(one, self.now_ms))

    def until(self, to_ms: int) -> None:
        """Let time go on, calling the runner when it wants to be called."""
        while (next_ms := self.runner.next_ms(self.now_ms)) is not None and next_ms <= to_ms:
            self.now_ms = max(self.now_ms + 1, next_ms)
            self.receiver.now_ms = self.now_ms
            self._tell(self.runner.on_time(self.now_ms))
        self.now_ms = max(self.now_ms, to_ms)
        self.receiver.now_ms = self.now_ms

    def wait(self, for_ms: int) -> None:
        self.until(self.now_ms + for_ms)

    def _tell(self, letters: list[bytes]) -> None:
        self.dead += map(json.loads, letters)


class Live:
    """A runner with its thread, in real time."""

    def __init__(self, spec: AlertsSpec, held: StateMap | None = None) -> None:
        self.held, self.dead = StateMap() if held is None else StateMap(held), []
        self.thread = sending_thread(spec.deliver[0])
        self.runner = DeliveryRunner(
            spec, spec.deliver[0], "shop", DeliveryState(self.held), self.thread, lambda: 0.5
        )

    def send(self, *texts: bytes) -> None:
        for text in texts:
            self.dead += self.runner.on_alert(text, int(time.time() * 1000))

    def work(self) -> bool:
        self.dead += self.runner.on_time(int(time.time() * 1000))
        return self.runner.pending == 0


@contextmanager
def live(spec: AlertsSpec, held: StateMap | None = None) -> Iterator[Live]:
    started = Live(spec, held)
    try:
        yield started
    finally:
        started.thread.close()
