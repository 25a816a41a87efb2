"""Alerts as JSON to an address of the user's.

    {"alerts": [...], "suppressed": {"rule": 12}, "group": {"rule": "rule"}}

`alerts` are as the job makes them, `suppressed` says how many others there were, by rule. A request has these
headers beside those of the pipeline file:

| header | value |
|---|---|
| `Idempotency-Key` | the same each time the same message is sent |
| `X-Sketchstream-Timestamp` | when it was sent: seconds since 1970 |
| `X-Sketchstream-Signature` | `sha256=` and the HMAC-SHA256, in hex, of the timestamp, a dot and the body |

A receiver that has the secret makes the signature of what it got, compares the two in constant time, and
refuses messages whose timestamp is some minutes old, since they may have been recorded.
"""

from __future__ import annotations

import hmac
import time

import msgspec

from operators.alerts.alert_spec import WebhookSpec
from operators.alerts.channel import Clock, Message, Outcome
from operators.alerts.http_post import HttpPost


class Webhook:
    """Sends messages to a webhook.

    Args:
        spec: its options.
        clock: the wall clock.
    """

    def __init__(self, spec: WebhookSpec, clock: Clock = time.time) -> None:
        """Connect to nothing yet."""
        headers = {name: value.get_secret_value() for name, value in spec.headers.items()}
        self._post = HttpPost(spec.url.get_secret_value(), headers, spec.timeout, spec.ca_file, clock)
        self._secret, self._clock = spec.secret, clock

    def send(self, message: Message) -> Outcome:
        """Send a message and wait for the answer."""
        body = webhook_body(message)
        timestamp = str(int(self._clock()))
        headers = {"Idempotency-Key": message.key, "X-Sketchstream-Timestamp": timestamp}
        if self._secret is not None:
            signed = timestamp.encode() + b"." + body
            signature = hmac.digest(self._secret.get_secret_value().encode(), signed, "sha256").hex()
            headers["X-Sketchstream-Signature"] = f"sha256={signature}"
        return self._post.post(body, headers)


def webhook_body(message: Message) -> bytes:
    """Return the body of a message's request."""
    return msgspec.json.encode(
        {
            "alerts": [msgspec.Raw(alert.text) for alert in message.real()],
            "suppressed": message.suppressed(),
            "group": message.group,
        }
    )
