"""The pipeline file's `alerts`: who is told of alerts, how, and how many at most.

Addresses, passwords and headers are secrets: they are in no text that this module makes but in `shipped`,
which goes to the workers that deliver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from operators.alerts.secrets import REVEALED, HeaderValue, HttpUrl, Secret
from operators.durations import DurationMs
from operators.rules.rule_spec import RULE_NAME
from operators.section import Section

CHANNEL_NAME = "^[A-Za-z_][A-Za-z0-9_-]{0,63}$"
_Severity = Literal["info", "warning", "critical"]
_RuleName = Annotated[str, Field(pattern=RULE_NAME)]
_HeaderName = Annotated[str, Field(pattern="^[A-Za-z0-9-]{1,100}$")]
_Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@[A-Za-z0-9.-]{1,253}$")]
_LEAST_MS, _MOST_MS = 10, 300_000
_OWN_HEADERS = frozenset({"content-type", "content-length", "transfer-encoding", "host", "idempotency-key"})


class _Channel(Section):
    """Options of every alert channel: which alerts it takes, timeouts, retries and limits.

    `severities` and `rules` say which alerts it takes, all by default. `timeout` is how long one delivery
    may take in all. `ca_file` has the certificates to trust, default: those of the system. A failed delivery
    is retried after `back_off`, doubled each time up to `back_off_max`, minus a random jitter of up to half.
    After `breaker_after` failures in a row a circuit breaker sends nothing for `breaker_pause`, then one
    message as a probe. An alert that waits longer than `give_up`, and the oldest of more than `max_pending`,
    become dead letters. `max_firing` limits how many alerts may be firing (not yet resolved) at a time.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    name: Annotated[str, Field(pattern=CHANNEL_NAME)]
    severities: Annotated[tuple[_Severity, ...], Field(min_length=1)] | None = None
    rules: Annotated[tuple[_RuleName, ...], Field(min_length=1)] | None = None
    ca_file: str | None = Field(None, min_length=1)
    timeout: DurationMs = Field("5s", ge=_LEAST_MS, le=_MOST_MS, validate_default=True)
    back_off: DurationMs = Field("500ms", ge=1, validate_default=True)
    back_off_max: DurationMs = Field("1m", ge=1, validate_default=True)
    breaker_after: int = Field(5, ge=1, le=1000)
    breaker_pause: DurationMs = Field("30s", ge=1, validate_default=True)
    max_pending: int = Field(10_000, ge=1, le=1_000_000)
    max_firing: int = Field(10_000, ge=1, le=1_000_000)
    give_up: DurationMs = Field("1d", ge=1, validate_default=True)

    @model_validator(mode="after")
    def _back_off_grows(self) -> _Channel:
        if self.back_off_max < self.back_off:
            raise ValueError("back_off_max: expected back_off or longer")
        return self

    def takes(self, rule: str, severity: str | None) -> bool:
        """Return whether alerts of this rule go to this channel, of this severity or, with None, of any."""
        wanted = self.rules is None or rule in self.rules
        return wanted and (severity is None or self.severities is None or severity in self.severities)


class _HttpChannel(_Channel):
    """A channel over HTTP."""

    url: HttpUrl
    headers: Mapping[_HeaderName, HeaderValue] = {}

    @model_validator(mode="after")
    def _headers_are_the_users(self) -> _HttpChannel:
        for name in self.headers:
            if name.lower() in _OWN_HEADERS or name.lower().startswith("x-sketchstream-"):
                raise ValueError(f"headers.{name}: is set by the channel itself")
        return self


class WebhookSpec(_HttpChannel):
    """POSTs JSON to `url`, signed with `secret`."""

    type: Literal["webhook"]
    secret: Secret | None = None


class AlertmanagerSpec(_HttpChannel):
    """Tells a Prometheus Alertmanager at `url`.

    `hold` is how long it goes on to show an alert that it hears nothing more of. One that has an end to come
    is told again three times as often.
    """

    type: Literal["alertmanager"]
    hold: DurationMs = Field("5m", ge=3000, validate_default=True)


class EmailSpec(_Channel):
    """Options of a channel that sends mail over SMTP; `timeout` allows for servers that greet late."""

    type: Literal["email"]
    timeout: DurationMs = Field("30s", ge=_LEAST_MS, le=_MOST_MS, validate_default=True)
    host: Annotated[str, Field(pattern=r"^[^\s/:@]{1,253}$")]
    port: int | None = Field(None, ge=1, le=65535, description="Default: 25, starttls 587, tls 465.")
    security: Literal["none", "starttls", "tls"] = "starttls"
    user: Annotated[str, Field(min_length=1)] | None = None
    password: Secret | None = None
    sender: _Address = Field(alias="from")
    to: Annotated[tuple[_Address, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _login_is_whole_and_hidden(self) -> EmailSpec:
        if (self.user is None) != (self.password is None):
            raise ValueError("expected both user and password, or neither")
        if self.user is not None and self.security == "none":
            raise ValueError("security: expected starttls or tls where there is a password, got none")
        return self


def _is_mapping(given: object) -> object:
    # Said here, without what was given: it may be an address with a secret in it.
    if not isinstance(given, dict | BaseModel):
        raise ValueError("expected a mapping of keys such as name, type and url")
    return given


ChannelSpec = WebhookSpec | AlertmanagerSpec | EmailSpec
_OneChannel = Annotated[Annotated[ChannelSpec, Field(discriminator="type")], BeforeValidator(_is_mapping)]


class AlertsSpec(Section):
    """Who is told of alerts.

    In each `every`, by the wall clock, at most `at_most` alerts of one rule go to one channel; how many more
    there were is told at its end. Alerts that are the same in all of `group_by`, which are `rule`, `severity`
    and columns of their keys, and come within `group_wait` travel in one message; each alone with `0s`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
    at_most: int = Field(20, ge=1, le=1_000_000)
    every: DurationMs = Field("1m", ge=1, validate_default=True)
    group_by: tuple[Annotated[str, Field(min_length=1)], ...] = ("rule",)
    group_wait: DurationMs = Field("1s", le=3_600_000, validate_default=True)
    deliver: Annotated[tuple[_OneChannel, ...], Field(min_length=1)]

    @model_validator(mode="after")
    def _names_differ(self) -> AlertsSpec:
        names = [channel.name for channel in self.deliver]
        for key, given in (("deliver", names), ("group_by", list(self.group_by))):
            twice = next((name for name in given if given.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"{key}: expected different names, got {twice!r} twice")
        return self

    def shipped(self) -> SecretStr:
        """Return all of it as JSON, secrets included, for the workers that deliver."""
        return SecretStr(self.model_dump_json(by_alias=True, context=REVEALED))
