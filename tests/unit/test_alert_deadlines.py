"""Receivers that never come to an end: the exchange is over at the channel's `timeout`, whatever they do."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alerting import alert, live, spec_of
from receivers import Receiver, receiver
from waiting import wait_for

from operators.alerts.alert_spec import AlertsSpec
from operators.alerts.alertmanager import Alertmanager
from operators.alerts.channel import Message, Outcome, ToldAlert
from operators.alerts.email import Email
from operators.alerts.told import read_told
from operators.alerts.webhook import Webhook

MOST_S = 15
"""Much longer than the timeout of one second, and only half as long as the receiver goes on."""


@pytest.fixture
def endless(tmp_path: Path) -> Iterator[Receiver]:
    with receiver("endless", tmp_path) as started:
        yield started


def message(text: str = "") -> Message:
    told = alert(1, text=text)
    return Message((ToldAlert(read_told(told), told),), {})


def channel(kind: str, port: int, **options: Any) -> Webhook | Alertmanager | Email:
    """Return a channel of this kind; `webhooks` and `mails` are encrypted ones."""
    scheme = "https" if kind.endswith("s") else "http"
    usual: dict[str, Any] = {
        "type": kind.removesuffix("s"), "timeout": "1s", "url": f"{scheme}://127.0.0.1:{port}/",
    }  # fmt: skip
    if kind.startswith("mail"):
        security = "tls" if kind == "mails" else "none"
        usual = {
            "type": "email", "timeout": "1s", "host": "127.0.0.1", "port": port, "security": security,
            "from": "a@example.org", "to": ["b@example.org"],
        }  # fmt: skip
    deliver = [{"name": "slow", **usual, **options}]
    (spec,) = AlertsSpec.model_validate({"deliver": deliver}).deliver
    return {"webhook": Webhook, "alertmanager": Alertmanager, "email": Email}[spec.type](spec)


@pytest.mark.parametrize(
    ("kind", "mood"),
    [
        ("webhook", "silent"),
        ("webhook", "header"),
        ("webhook", "interim"),
        ("alertmanager", "header"),
        ("webhooks", "silent"),
        ("webhooks", "handshake"),
        ("mail", "silent"),
        ("mail", "greeting"),
        ("mail", "greetings"),
        ("mails", "handshake"),
    ],
)
def test_an_exchange_that_never_ends_is_ended_at_its_deadline(
    endless: Receiver, kind: str, mood: str
) -> None:
    endless.behave(mood)
    began_s = time.monotonic()
    assert channel(kind, endless.port).send(message()) == Outcome("retry", "timed out")
    assert time.monotonic() - began_s < MOST_S
    assert endless.got() == [{"mood": mood}]


def test_a_receiver_that_does_not_read_the_request_is_left_at_the_deadline(endless: Receiver) -> None:
    endless.behave("silent")
    began_s = time.monotonic()
    outcome = channel("webhook", endless.port).send(message("x" * 20_000_000))
    assert outcome == Outcome("retry", "timed out") and time.monotonic() - began_s < MOST_S


def test_the_body_of_an_answer_is_not_waited_for(endless: Receiver) -> None:
    endless.behave("body")
    began_s = time.monotonic()
    assert channel("webhook", endless.port, timeout="5m").send(message()) == Outcome("accepted")
    assert time.monotonic() - began_s < MOST_S


def test_a_mail_server_that_says_more_and_more_is_left_when_it_said_too_much(endless: Receiver) -> None:
    endless.behave("flood")
    began_s = time.monotonic()
    outcome = channel("mail", endless.port, timeout="5m").send(message())
    assert outcome == Outcome("retry", "no answer: SMTPServerDisconnected")
    assert time.monotonic() - began_s < MOST_S


@pytest.mark.parametrize("kind", ["webhook", "mail"])
def test_a_name_that_is_never_found_is_not_waited_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answered.wait(2 * MOST_S) and [])
    monkeypatch.setattr(socket, "getfqdn", lambda *_: answered.wait(2 * MOST_S) and "x")
    began_s = time.monotonic()
    try:
        assert channel(kind, 1).send(message()) == Outcome("retry", "timed out")
    finally:
        answered.set()
    assert time.monotonic() - began_s < MOST_S


def test_of_several_addresses_one_that_does_not_answer_leaves_time_for_the_next(
    endless: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = [socket.socket() for _ in range(3)]  # more than wait to be taken; the next one waits for ever
    for one in waiting:
        one.setblocking(False)
        one.connect_ex(full.getsockname())
    tcp = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
    found = [(*tcp, full.getsockname()), (*tcp, ("127.0.0.1", endless.port))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    try:
        assert channel("webhook", 1, timeout="4s").send(message()) == Outcome("accepted")
    finally:
        for one in (full, *waiting):
            one.close()


def test_after_exchanges_that_never_end_the_channel_delivers_again(endless: Receiver) -> None:
    endless.behave("header")
    usual = {"url": f"http://127.0.0.1:{endless.port}/", "timeout": "200ms", "back_off": "20ms"}
    with live(spec_of({**usual, "breaker_pause": "50ms"}, group_wait="0s")) as running:
        running.send(alert(1))
        wait_for(lambda: running.work() or len(endless.got()) > 2, "attempts")
        endless.behave("ok")
        wait_for(running.work, "delivery")
    assert running.runner.delivered == 1 and running.dead == []
