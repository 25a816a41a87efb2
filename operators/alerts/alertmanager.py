"""Alerts to a Prometheus Alertmanager, by its API v2.

An alert is named by its labels there: `alertname` is the rule, and beside `severity` and `pipeline` there is
one for each column of its key. All that is said of the same key by the same rule is one alert.

Alertmanager takes an alert for resolved at its `endsAt`. One that has an end to come is told anew, with a
later `endsAt`, until it is resolved; one on an event, which has no end, ends by itself.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Any

import msgspec

from operators.alerts.alert_spec import AlertmanagerSpec
from operators.alerts.channel import Clock, Message, Outcome, ToldAlert
from operators.alerts.http_post import HttpPost
from operators.alerts.told import Told, written_time, written_value

SUPPRESSED = "AlertsSuppressed"
_PATH = "/api/v2/alerts"
_NOT_IN_NAMES = re.compile("[^A-Za-z0-9_]")


class Alertmanager:
    """Sends messages to an Alertmanager.

    Args:
        spec: its options.
        clock: the wall clock.
    """

    def __init__(self, spec: AlertmanagerSpec, clock: Clock = time.time) -> None:
        """Connect to nothing yet."""
        headers = {name: value.get_secret_value() for name, value in spec.headers.items()}
        url = spec.url.get_secret_value().rstrip("/") + _PATH
        self._post = HttpPost(url, headers, spec.timeout, spec.ca_file, clock)
        self._hold_ms, self._clock = spec.hold, clock

    def send(self, message: Message) -> Outcome:
        """Send a message and wait for the answer."""
        now_ms = int(self._clock() * 1000)
        body = [posted_alert(alert, now_ms, self._hold_ms) for alert in message.alerts]
        return self._post.post(msgspec.json.encode(body), {"Idempotency-Key": message.key})


def posted_alert(alert: ToldAlert, now_ms: int, hold_ms: int) -> dict[str, Any]:
    """Return an alert as Alertmanager wants it.

    Args:
        alert: the alert.
        now_ms: the wall clock.
        hold_ms: how long it is to be shown where no more is heard of it.
    """
    told = alert.told
    if told.status == "suppressed":
        return {
            "labels": _labels(SUPPRESSED, told, {"rule": told.rule}),
            "annotations": {"summary": f"{told.suppressed} more alerts of the rule {told.rule}"},
            "startsAt": written_time(told.from_ms),
            "endsAt": written_time(now_ms + hold_ms),
        }
    first = alert.began or told
    ends_ms = max(told.raised_ms, first.raised_ms) if told.status == "resolved" else now_ms + hold_ms
    return {
        "labels": _labels(first.rule, first, first.key),
        "annotations": _annotations(told),
        "startsAt": written_time(min(first.raised_ms, ends_ms)),
        "endsAt": written_time(ends_ms),
    }


def _labels(name: str, told: Told, key: Mapping[str, Any]) -> dict[str, str]:
    labels = {"alertname": name, "severity": told.severity, "pipeline": told.pipeline}
    for column, value in sorted(key.items()):
        label = _NOT_IN_NAMES.sub("_", column)
        if not label or label[0].isdigit() or label in labels:
            label = f"key_{label}"
        while label in labels:
            label += "_"
        if value is not None and (text := written_value(value)):
            labels[label] = text
    return labels


def _annotations(told: Told) -> dict[str, str]:
    about = ", ".join(f"{name} {written_value(value)}" for name, value in told.key.items())
    annotations = {
        "summary": told.text or (f"{told.rule}: {about}" if about else told.rule),
        "values": msgspec.json.encode(told.values).decode(),
        "alert_id": told.id,
    }
    if told.text is not None:
        annotations["text"] = told.text
    if told.event_time_ms is not None:
        annotations["event_time"] = written_time(told.event_time_ms)
    return annotations
