"""Alerts by mail, against a real mail server in another process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from alerting import alert
from certificates import localhost_pem
from receivers import Receiver, receiver

from operators.alerts.alert_spec import AlertsSpec
from operators.alerts.channel import Message, Outcome, ToldAlert
from operators.alerts.email import Email, mail
from operators.alerts.told import read_told, suppressed_json


def email(server: Receiver, **options: Any) -> Email:
    usual = {
        "type": "email", "host": "localhost", "port": server.port, "security": "none",
        "from": "sketchstream@example.org", "to": ["ann@example.org", "bob@example.org"], "timeout": "1s",
    }  # fmt: skip
    channel = {"name": "mail", **usual, **options}
    return Email(AlertsSpec.model_validate({"deliver": [channel]}).deliver[0])


def message(*texts: bytes) -> Message:
    return Message(tuple(ToldAlert(read_told(text), text) for text in texts), {})


TWO = message(alert(1, text="Größe 5\nmore"), alert(2, "resolved", severity="critical", values={"n": None}))


def test_a_mail_says_which_alerts_and_goes_to_all_receivers(tmp_path: Path) -> None:
    with receiver("smtp", tmp_path, "none") as server:
        assert email(server).send(TWO) == Outcome("accepted")
        (got,) = server.got()
    assert got["from"] == "sketchstream@example.org" and got["to"] == ["ann@example.org", "bob@example.org"]
    assert got["headers"]["subject"] == "[critical] big: 1 firing, 1 resolved"
    assert got["headers"]["message-id"] == f"<{TWO.key}@example.org>"
    assert got["headers"]["content-type"].startswith("text/plain")
    assert got["body"].splitlines() == [
        "big (warning) firing: Größe 5", "more", "  user: u1", "  amount: 12.5",
        "  event time: 2023-11-14T22:13:20.000Z", "  raised: 2023-11-14T22:13:20.500Z", "  alert: 00000001",
        "",
        "big (critical) resolved", "  user: u2", "  n: null",
        "  event time: 2023-11-14T22:13:20.000Z", "  raised: 2023-11-14T22:13:20.500Z", "  alert: 00000002",
    ]  # fmt: skip
    assert (got["encrypted"], got["user"]) == (False, None)


@pytest.mark.parametrize("security", ["starttls", "tls"])
def test_a_mail_goes_encrypted_and_with_a_login(tmp_path: Path, security: str) -> None:
    pem = str(localhost_pem())
    login = {"security": security, "user": "alerts", "password": "mail-secret"}
    with receiver("smtp", tmp_path, security, pem) as server:
        assert email(server, ca_file=pem, **login).send(TWO) == Outcome("accepted")
        untrusted = email(server, **login).send(TWO)
        wrong = email(server, ca_file=pem, **login | {"password": "other"}).send(TWO)
        (got,) = server.got()
    assert (got["encrypted"], got["user"]) == (True, "alerts")
    assert (untrusted.kind, untrusted.detail) == ("retry", "no answer: SSLCertVerificationError")
    assert wrong == Outcome("refused", "SMTP 535")


@pytest.mark.parametrize(
    ("mood", "outcome"),
    [
        ("451", Outcome("retry", "SMTP 451")),
        ("554", Outcome("refused", "SMTP 554")),
        ("hang", Outcome("retry", "timed out")),
        ("lose", Outcome("retry", "no answer: SMTPServerDisconnected")),
    ],
)
def test_what_the_servers_answer_means(tmp_path: Path, mood: str, outcome: Outcome) -> None:
    with receiver("smtp", tmp_path, "none") as server:
        server.behave(mood)
        assert email(server).send(TWO) == outcome


def test_a_receiver_that_is_not_there_costs_the_others_nothing_and_is_told(tmp_path: Path) -> None:
    with receiver("smtp", tmp_path, "none") as server:
        outcome = email(server, to=["nobody@example.org", "ann@example.org"]).send(TWO)
        alone = email(server, to=["nobody@example.org"]).send(TWO)
        (got,) = server.got()
    assert got["to"] == ["ann@example.org"]
    assert outcome == Outcome("accepted", "not taken for nobody@example.org (550)")
    assert alone == Outcome("refused", "SMTP 550")


def test_a_server_without_starttls_gets_nothing(tmp_path: Path) -> None:
    with receiver("smtp", tmp_path, "none") as server:
        outcome = email(server, security="starttls").send(TWO)
        assert outcome.kind == "refused" and server.got() == []
        server.stop()
        assert email(server).send(TWO) == Outcome("retry", "no answer: ConnectionRefusedError")


def test_a_mail_on_suppressed_alerts_says_how_many_and_many_rules_are_cut_short() -> None:
    told = suppressed_json("shop", "mail", "big", "warning", 980, 0, 60_000)
    letter = mail(message(told), "a@x.org", ("b@x.org",), 0.0)
    assert letter["Subject"] == "big: 980 more alerts"
    assert letter.get_content() == (
        "big: 980 more alerts between 1970-01-01T00:00:00.000Z and 1970-01-01T00:01:00.000Z were not sent.\n"
    )
    many = mail(message(*(alert(n, rule=f"rule_{n}") for n in range(6))), "a@x.org", ("b@x.org",), 0.0)
    assert many["Subject"] == "[warning] rule_0, rule_1, rule_2 and 3 more: 6 firing"
