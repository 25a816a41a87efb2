"""Webhooks against a real HTTP server in another process that fails, hangs and loses answers."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alerting import StateMap, alert, live, result_alert, spec_of
from certificates import localhost_pem
from receivers import Receiver, receiver
from waiting import wait_for

from operators.alerts.channel import Message, Outcome, ToldAlert
from operators.alerts.http_post import HttpPost
from operators.alerts.told import read_told, suppressed_json
from operators.alerts.webhook import Webhook

FAST = {
    "timeout": "1s",
    "back_off": "20ms",
    "back_off_max": "50ms",
    "breaker_after": 4,
    "breaker_pause": "200ms",
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Receiver]:
    with receiver("http", tmp_path) as started:
        yield started


def webhook(server: Receiver, **options: Any) -> dict[str, Any]:
    return {"url": f"http://127.0.0.1:{server.port}/hook", **FAST, **options}


def message(*texts: bytes, group: dict[str, Any] | None = None) -> Message:
    return Message(tuple(ToldAlert(read_told(text), text) for text in texts), group or {})


def send(server: Receiver, *texts: bytes, **options: Any) -> Outcome:
    channel = spec_of(webhook(server, **options)).deliver[0]
    return Webhook(channel).send(message(*texts, group={"rule": "big"}))


def names(requests: list[dict[str, Any]]) -> Counter[tuple[str, str]]:
    bodies = [json.loads(one["body"]) for one in requests]
    return Counter((one["id"], one["status"]) for body in bodies for one in body["alerts"])


def test_a_request_has_the_alerts_as_they_came_their_group_and_how_many_there_were_besides(
    server: Receiver,
) -> None:
    told = suppressed_json("shop", "ops", "big", "warning", 12, 0, 60_000)
    assert send(server, alert(1, text="größer"), alert(2), told) == Outcome("accepted")
    (request,) = server.got()
    assert json.loads(request["body"]) == {
        "alerts": [json.loads(alert(1, text="größer")), json.loads(alert(2))],
        "suppressed": {"big": 12},
        "group": {"rule": "big"},
    }
    assert request["path"] == "/hook" and request["headers"]["content-type"] == "application/json"
    assert len(request["headers"]["idempotency-key"]) == 32
    assert "x-sketchstream-signature" not in request["headers"]


def test_openssl_makes_the_same_signature_of_timestamp_and_body(server: Receiver, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is missing: sudo apt-get install -y openssl")
    send(server, alert(1, text="größer"), secret="s3cret key")
    (request,) = server.got()
    timestamp = request["headers"]["x-sketchstream-timestamp"]
    assert abs(int(timestamp) - time.time()) < 10
    (tmp_path / "signed").write_bytes(timestamp.encode() + b"." + request["body"].encode())
    command = ["openssl", "dgst", "-sha256", "-hmac", "s3cret key", tmp_path / "signed"]
    made = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()[-1]
    assert request["headers"]["x-sketchstream-signature"] == f"sha256={made}"


def test_a_verifier_written_from_the_definition_of_hmac_takes_it_and_refuses_what_was_changed(
    server: Receiver,
) -> None:
    send(server, alert(1), secret="k" * 100)
    (request,) = server.got()

    def verifies(body: bytes, timestamp: str, key: bytes) -> bool:
        block = hashlib.sha256(key).digest().ljust(64, b"\0") if len(key) > 64 else key.ljust(64, b"\0")
        inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + timestamp.encode() + b"." + body)
        outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block) + inner.digest())
        return request["headers"]["x-sketchstream-signature"] == "sha256=" + outer.hexdigest()

    body, timestamp = request["body"].encode(), request["headers"]["x-sketchstream-timestamp"]
    assert verifies(body, timestamp, b"k" * 100)
    assert not verifies(body + b" ", timestamp, b"k" * 100)
    assert not verifies(body, str(int(timestamp) + 1), b"k" * 100)
    assert not verifies(body, timestamp, b"k" * 99)


def test_headers_of_the_user_are_sent(server: Receiver) -> None:
    login = base64.b64encode(b"user:password").decode()
    send(server, alert(1), headers={"Authorization": f"Basic {login}"})
    assert server.got()[0]["headers"]["authorization"] == f"Basic {login}"


@pytest.mark.parametrize(
    ("mood", "outcome"),
    [
        ("204", Outcome("accepted")),
        ("301", Outcome("refused", "HTTP 301")),
        ("400", Outcome("refused", "HTTP 400")),
        ("401", Outcome("refused", "HTTP 401")),
        ("408", Outcome("retry", "HTTP 408")),
        ("425", Outcome("retry", "HTTP 425")),
        ("429 7", Outcome("retry", "HTTP 429", 7000)),
        ("429 999999999", Outcome("retry", "HTTP 429", 3_600_000)),
        ("500", Outcome("retry", "HTTP 500")),
        ("503 Fri, 31 Dec 1999 23:59:59 GMT", Outcome("retry", "HTTP 503", 0)),
        ("503 soon", Outcome("retry", "HTTP 503")),
        ("hang", Outcome("retry", "timed out")),
    ],
)
def test_what_an_answer_means(server: Receiver, mood: str, outcome: Outcome) -> None:
    server.behave(mood)
    assert send(server, alert(1)) == outcome


def test_an_address_may_have_letters_that_requests_cannot_have(server: Receiver) -> None:
    send(server, alert(1), url=f"http://127.0.0.1:{server.port}/größe/a b%20c?q=ö&r=1#part")
    send(server, alert(1), url=f"http://127.0.0.1:{server.port}?q=1")
    assert [request["path"] for request in server.got()] == [
        "/gr%C3%B6%C3%9Fe/a%20b%20c?q=%C3%B6&r=1",
        "/?q=1",
    ]
    assert {request["headers"]["host"] for request in server.got()} == {f"127.0.0.1:{server.port}"}


def test_an_answer_that_points_elsewhere_is_not_followed(server: Receiver) -> None:
    server.behave("307 /elsewhere")
    assert send(server, alert(1), secret="k") == Outcome("refused", "HTTP 307")
    assert [request["path"] for request in server.got()] == ["/hook"]


NOW_S = 1_000_000_000.0
HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("said", "wait_ms"),
    [
        ("Sun, 09 Sep 2001 01:46:55 GMT", 15_000),
        ("Sunday, 09-Sep-01 01:46:55 GMT", 15_000),
        ("Sun Sep  9 01:46:55 2001", 15_000),
        ("Sun, 09 Sep 2001 03:46:55 +0200", 15_000),
        ("Sun, 09 Sep 2001 01:46:30 GMT", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", HOUR_MS),
        ("Mon, 01 Jan 0001 00:00:00 -0000", 0),
        ("Sun, 09 Sep 2001 01:46:55 +9999", None),
        ("Sun, 99 Sep 2001 01:46:55 GMT", None),
        ("0", 0),
        (" 0000000000012 ", 12_000),
        ("3600", HOUR_MS),
        ("3601", HOUR_MS),
        ("999999999", HOUR_MS),
        ("9" * 20_000, HOUR_MS),
        ("-5", None),
        ("1.5", None),
        ("1e3", None),
        ("\u0665", None),
        ("", None),
        ("soon", None),
    ],
)
def test_how_long_a_receiver_wants_to_be_left_alone_is_at_most_an_hour(
    said: str, wait_ms: int | None
) -> None:
    assert HttpPost("http://localhost:1/", {}, 100, None, lambda: NOW_S)._wait_ms(said) == wait_ms


def test_no_answer_is_no_refusal_and_says_nothing_of_the_address(server: Receiver) -> None:
    server.behave("lose")
    lost = send(server, alert(1))
    assert (lost.kind, lost.detail.partition(":")[0]) == ("retry", "no answer")
    server.stop()
    gone = send(server, alert(1))
    assert gone.kind == "retry" and "127.0.0.1" not in gone.detail and "hook" not in gone.detail


def test_tls_is_checked_against_the_certificates_that_are_trusted(tmp_path: Path) -> None:
    pem = localhost_pem()
    with receiver("http", tmp_path, str(pem)) as server:
        url = f"https://localhost:{server.port}/"
        assert send(server, alert(1), url=url, ca_file=str(pem)) == Outcome("accepted")
        assert send(server, alert(1), url=url) == Outcome("retry", "no answer: SSLCertVerificationError")
        assert len(server.got()) == 1


def test_whatever_the_receiver_does_no_alert_is_lost_and_none_comes_twice_once_it_was_taken(
    server: Receiver,
) -> None:
    wanted = Counter()
    with live(spec_of(webhook(server), group_wait="10ms", group_by=["user"], at_most=1000)) as running:
        for number, mood in enumerate(["ok", "500", "lose", "hang", "429", "ok"]):
            server.behave(mood)
            for which in range(5):
                running.send(result_alert(number * 5 + which, key={"user": which % 3}))
                wanted[f"{number * 5 + which:0>8}", "firing"] = 1
            until_s = time.monotonic() + 0.4
            while time.monotonic() < until_s:
                running.work()
                time.sleep(0.005)
        wait_for(running.work, "all to be delivered")
    assert names(server.taken()) == wanted and running.dead == []
    taken_at: dict[tuple[str, str], int] = {}
    for place, request in enumerate(server.got()):
        for name in names([request]):
            assert name not in taken_at, "sent again though it was taken"
            if request["mood"] == "ok":
                taken_at[name] = place
    assert len(server.got()) > len(server.taken())


def test_after_a_crash_what_was_taken_but_not_noted_comes_once_more_under_the_same_key(
    server: Receiver,
) -> None:
    spec = spec_of(webhook(server, secret="k"), group_wait="0s", at_most=1000)
    with live(spec) as running:
        running.send(*(result_alert(number) for number in range(3)))
        wait_for(lambda: running.work() or len(server.got()), "a message")
        saved = StateMap(running.held)  # as a checkpoint has it that was made before the end of it was heard
        left = running.runner.pending
        wait_for(running.work, "all to be delivered")
    first = [request["headers"]["idempotency-key"] for request in server.got()]
    with live(spec, saved) as running:
        wait_for(running.work, "all to be delivered again")
    again = [request["headers"]["idempotency-key"] for request in server.got()][len(first) :]
    assert len(first) == 3 and again == first[3 - left :]
    with live(spec, running.held) as running:
        time.sleep(0.1)
        running.work()
    assert len(server.got()) == 3 + left
    assert names(server.got()).keys() == {(f"{number:0>8}", "firing") for number in range(3)}


def test_the_job_is_never_held_up_by_a_receiver_that_hangs(server: Receiver) -> None:
    server.behave("hang")
    with live(spec_of(webhook(server, timeout="5s"), group_wait="0s", at_most=1000)) as running:
        began_s = time.monotonic()
        running.send(*(alert(number) for number in range(300)))
        for _ in range(20):
            running.work()
        assert time.monotonic() - began_s < 5 and running.runner.pending == 300


def test_a_channel_that_breaks_in_another_way_is_tried_again_and_says_nothing_secret() -> None:
    spec = spec_of({"ca_file": "/nowhere/ca.pem", **FAST, "url": "https://x/secret-path"}, group_wait="0s")
    with live(spec) as running:
        running.send(alert(1))
        wait_for(lambda: running.work() or running.runner.retried > 2, "attempts")
        ((about, outcome),) = wait_for(running.thread.collect, "an outcome")
    assert about.attempts > 0 and outcome == Outcome("retry", "not sent: FileNotFoundError")
