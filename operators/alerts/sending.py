"""Sends the messages of one channel in a thread of its own, so that the job never waits for a receiver."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any, Protocol

from operators.alerts.alert_spec import AlertmanagerSpec, ChannelSpec, WebhookSpec
from operators.alerts.alertmanager import Alertmanager
from operators.alerts.channel import Channel, Message, Outcome
from operators.alerts.email import Email
from operators.alerts.webhook import Webhook


class Sender(Protocol):
    """Sends messages and tells later what became of them."""

    def hand(self, about: Any, message: Message) -> None:
        """Take a message; messages are sent one after another."""

    def collect(self) -> list[tuple[Any, Outcome]]:
        """Return what became of messages since it was asked last, each with what it is `about`."""


class SendingThread:
    """A `Sender` with a thread, which is started with the first message and never keeps a process alive.

    Args:
        name: the channel's name.
        connect: makes the channel, in that thread.
    """

    def __init__(self, name: str, connect: Callable[[], Channel]) -> None:
        """Start nothing yet."""
        self._name, self._connect = name, connect
        self._handed: SimpleQueue[tuple[Any, Message] | None] = SimpleQueue()
        self._outcomes: SimpleQueue[tuple[Any, Outcome]] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def hand(self, about: Any, message: Message) -> None:
        """Take a message."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=f"alerts-{self._name}", daemon=True)
            self._thread.start()
        self._handed.put((about, message))

    def collect(self) -> list[tuple[Any, Outcome]]:
        """Return what became of messages since it was asked last."""
        outcomes = []
        while True:
            try:
                outcomes.append(self._outcomes.get_nowait())
            except Empty:
                return outcomes

    def close(self) -> None:
        """Send nothing more; a message that is being sent is not waited for."""
        self._is_closed = True
        self._handed.put(None)

    def _run(self) -> None:
        channel: Channel | None = None
        while (handed := self._handed.get()) is not None and not self._is_closed:
            about, message = handed
            try:
                if channel is None:
                    channel = self._connect()
                outcome = channel.send(message)
            except Exception as problem:  # or the alert would be on its way for ever
                # Not what it says: that may have an address or a password in it.
                outcome = Outcome("retry", f"not sent: {type(problem).__name__}")
            self._outcomes.put((about, outcome))


def sending_thread(spec: ChannelSpec) -> SendingThread:
    """Return what sends the messages of a channel."""
    return SendingThread(spec.name, lambda: _connected(spec))


def _connected(spec: ChannelSpec) -> Channel:
    if isinstance(spec, WebhookSpec):
        return Webhook(spec)
    if isinstance(spec, AlertmanagerSpec):
        return Alertmanager(spec)
    return Email(spec)
