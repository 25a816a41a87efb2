"""The section `alerts`: what is allowed, what is said of what is not, and that nobody sees a secret."""

from __future__ import annotations

import json
import pickle
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from operators.alerts.alert_spec import AlertsSpec, EmailSpec

SECRETS = ("hook-path-9", "sign-key-9", "header-9", "am-host-9", "mail-pass-9")
HOOK = {
    "name": "ops", "type": "webhook", "url": "https://example.org/hook-path-9", "secret": "sign-key-9",
    "headers": {"Authorization": "Bearer header-9"}, "severities": ["critical"], "rules": ["big"],
}  # fmt: skip
AM = {"name": "am", "type": "alertmanager", "url": "http://am-host-9:9093"}
MAIL = {
    "name": "mail", "type": "email", "host": "mail.example.org", "user": "alerts", "password": "mail-pass-9",
    "from": "a@example.org", "to": ["b@example.org"],
}  # fmt: skip
WHOLE = {"at_most": 5, "every": "2m", "group_by": ["rule", "user"], "deliver": [HOOK, AM, MAIL]}


def spec(**channel: Any) -> AlertsSpec:
    return AlertsSpec.model_validate({"deliver": [channel]})


def errors(given: Any) -> list[str]:
    with pytest.raises(ValidationError) as raised:
        AlertsSpec.model_validate(given)
    return [error["msg"] for error in raised.value.errors()]


def test_what_is_left_out_has_the_defaults_that_are_documented() -> None:
    alerts = AlertsSpec.model_validate({"deliver": [AM]})
    (channel,) = alerts.deliver
    assert (alerts.at_most, alerts.every, alerts.group_by, alerts.group_wait) == (20, 60_000, ("rule",), 1000)
    assert (channel.timeout, channel.back_off, channel.back_off_max) == (5000, 500, 60_000)
    assert (channel.breaker_after, channel.breaker_pause, channel.hold) == (5, 30_000, 300_000)
    assert (channel.max_pending, channel.max_firing, channel.give_up) == (10_000, 10_000, 86_400_000)
    assert EmailSpec.model_validate(MAIL).security == "starttls"


def test_a_channel_takes_its_rules_and_severities_or_all() -> None:
    hook, am, _ = AlertsSpec.model_validate(WHOLE).deliver
    assert hook.takes("big", "critical") and am.takes("other", "info")
    assert not hook.takes("big", "warning") and not hook.takes("other", "critical")
    assert hook.takes("big", None) and not hook.takes("other", None)


def test_nobody_sees_a_secret_but_the_workers_that_deliver() -> None:
    alerts = AlertsSpec.model_validate(WHOLE)
    shipped = alerts.shipped()
    shown = [
        repr(alerts),
        str(alerts),
        f"{alerts.deliver}",
        repr(alerts.model_dump()),
        repr(shipped),
        str(shipped),
    ]
    shown += [
        alerts.model_dump_json(),
        repr(alerts.deliver[0].url),
        json.dumps(AlertsSpec.model_json_schema()),
    ]
    for text in shown:
        assert not [secret for secret in SECRETS if secret in text], text
    assert all(secret in shipped.get_secret_value() for secret in SECRETS)
    there = AlertsSpec.model_validate_json(pickle.loads(pickle.dumps(shipped)).get_secret_value())
    assert there == alerts and there.deliver[0].secret.get_secret_value() == "sign-key-9"


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({**HOOK, "url": "ftp://example.org/hook-path-9"}, "begins with http:// or https:// and a host"),
        ({**HOOK, "url": "https:///hook-path-9"}, "begins with http:// or https:// and a host"),
        ({**HOOK, "url": "https://x:hook-path-9/"}, "begins with http:// or https:// and a host"),
        ({**HOOK, "url": "https://x/hook-path-9\n"}, "begins with http:// or https:// and a host"),
        ({**HOOK, "url": "https://u:hook-path-9@x/"}, "use headers: Authorization"),
        ({**HOOK, "url": ["https://x/hook-path-9"]}, "expected text"),
        ({**HOOK, "secret": ""}, "expected text, got none"),
        ({**HOOK, "secret": {"k": "sign-key-9"}}, "expected text"),
        ({**HOOK, "headers": {"X": "header-9\r\nY: z"}}, "expected one line of ASCII text"),
        ({**HOOK, "headers": {"Host": "header-9"}}, "headers.Host: is set by the channel itself"),
        ({**HOOK, "headers": {"x-sketchstream-signature": "header-9"}}, "is set by the channel itself"),
        ({**HOOK, "pasword": "sign-key-9"}, "Extra inputs are not permitted"),
        ({**HOOK, "back_off": "2m"}, "back_off_max: expected back_off or longer"),
        ({**MAIL, "password": None}, "expected both user and password, or neither"),
        ({**MAIL, "user": None}, "expected both user and password, or neither"),
        ({**MAIL, "security": "none"}, "security: expected starttls or tls where there is a password"),
        ({**MAIL, "to": []}, "at least 1 item"),
        ({**MAIL, "to": ["b@example.org\nBcc: c@x"]}, "match pattern"),
        ("https://x/hook-path-9", "expected a mapping of keys such as name, type and url"),
        (["https://x/hook-path-9"], "expected a mapping of keys such as name, type and url"),
    ],
)
def test_a_wrong_channel_is_refused_without_a_word_of_its_secrets(wrong: Any, told: str) -> None:
    with pytest.raises(ValidationError) as raised:
        AlertsSpec.model_validate({"deliver": [wrong]})
    assert any(told in error["msg"] for error in raised.value.errors()), raised.value
    messages = str(raised.value) + repr([error["msg"] for error in raised.value.errors()])
    assert not [secret for secret in SECRETS if secret in messages]


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"deliver": []}, "at least 1 item"),
        (
            {"deliver": [HOOK, HOOK | {"url": "http://x"}]},
            "deliver: expected different names, got 'ops' twice",
        ),
        ({"deliver": [HOOK], "group_by": ["rule", "rule"]}, "group_by: expected different names"),
        ({"deliver": [HOOK], "at_most": 0}, "greater than or equal to 1"),
        ({"deliver": [HOOK], "every": 60}, "expected a duration such as"),
        ({"deliver": [HOOK | {"type": "pager"}]}, "'pager'"),
    ],
)
def test_a_wrong_section_is_refused(wrong: dict[str, Any], told: str) -> None:
    assert any(told in message for message in errors(wrong)), errors(wrong)


def test_its_schema_is_json_schema_and_names_every_kind_of_channel() -> None:
    schema = TypeAdapter(AlertsSpec).json_schema()
    assert {"WebhookSpec", "AlertmanagerSpec", "EmailSpec"} <= schema["$defs"].keys()
