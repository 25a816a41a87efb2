"""Alerts as Alertmanager gets them: names, times, and what happens to those of several alerts."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from alerting import alert, result_alert

from operators.alerts.alertmanager import posted_alert
from operators.alerts.channel import ToldAlert
from operators.alerts.told import read_told, suppressed_json, written_time

NOW_MS, HOLD_MS = 1_700_000_100_000, 300_000


def posted(text: bytes, began: bytes | None = None) -> dict[str, Any]:
    told = ToldAlert(read_told(text), text, None if began is None else read_told(began))
    return posted_alert(told, NOW_MS, HOLD_MS)


def test_an_alert_on_an_event_ends_by_itself_after_the_hold() -> None:
    assert posted(alert(1, text="12.5 is much")) == {
        "labels": {"alertname": "big", "severity": "warning", "pipeline": "shop", "user": "u1"},
        "annotations": {
            "summary": "12.5 is much", "text": "12.5 is much", "values": '{"amount":12.5}',
            "alert_id": "00000001", "event_time": "2023-11-14T22:13:20.000Z",
        },
        "startsAt": "2023-11-14T22:13:20.500Z",
        "endsAt": "2023-11-14T22:20:00.000Z",
    }  # fmt: skip


def test_an_end_has_the_labels_and_start_of_its_beginning() -> None:
    began = result_alert(1, raised_ms=1_700_000_000_000)
    ended = posted(result_alert(1, "resolved", severity="critical", raised_ms=1_700_000_060_000), began)
    assert ended["labels"] == posted(began)["labels"] and ended["labels"]["severity"] == "warning"
    assert (ended["startsAt"], ended["endsAt"]) == ("2023-11-14T22:13:20.000Z", "2023-11-14T22:14:20.000Z")


def test_an_end_is_never_before_its_beginning_whatever_the_clocks_said() -> None:
    began = result_alert(1, raised_ms=1_700_000_000_000)
    ended = posted(result_alert(1, "resolved", raised_ms=1_600_000_000_000), began)
    assert ended["startsAt"] == ended["endsAt"] == "2023-11-14T22:13:20.000Z"


def test_columns_become_labels_whatever_they_are_called_and_hold() -> None:
    key = {
        "a-b": 1,
        "a_b": 2.5,
        "9": True,
        "severity": "mine",
        "alertname": "x",
        "größe": "ö",
        "none": None,
        "": "e",
    }
    labels = posted(alert(1, key=key))["labels"]
    assert labels == {
        "alertname": "big", "severity": "warning", "pipeline": "shop", "a_b": "1", "key_a_b": "2.5",
        "key_9": "true", "key_severity": "mine", "key_alertname": "x", "gr__e": "ö", "key_": "e",
    }  # fmt: skip


def test_how_many_were_suppressed_is_an_alert_of_its_own() -> None:
    told = posted(suppressed_json("shop", "am", "big", "critical", 7, NOW_MS - 60_000, NOW_MS))
    assert told["labels"] == {
        "alertname": "AlertsSuppressed", "rule": "big", "severity": "critical", "pipeline": "shop",
    }  # fmt: skip
    assert told["annotations"] == {"summary": "7 more alerts of the rule big"}
    assert told["endsAt"] == "2023-11-14T22:20:00.000Z"


def test_without_a_text_the_summary_names_rule_and_key() -> None:
    assert posted(alert(1, key={"user": "u1", "n": 5}))["annotations"]["summary"] == "big: user u1, n 5"
    assert posted(alert(1, key={}))["annotations"]["summary"] == "big"


def test_times_are_written_with_four_digits_of_year_whatever_they_are() -> None:
    for time_ms in (0, -1, 1_700_000_000_123, -62_135_596_800_000, 253_402_300_799_999):
        whole = datetime(1970, 1, 1, tzinfo=timezone.utc).timestamp() * 1000 + time_ms
        read = datetime.strptime(written_time(time_ms), "%Y-%m-%dT%H:%M:%S.%fZ")
        assert round((read - datetime(1970, 1, 1)).total_seconds() * 1000) == whole
    assert written_time(10**18) == "9999-12-31T23:59:59.999Z"
    assert written_time(-(2**63)) == "0001-01-01T00:00:00.000Z"
