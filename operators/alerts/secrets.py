"""Texts of the pipeline file that nobody may see: passwords, keys, and addresses with a key in them.

They show as stars wherever they are printed, logged or written as JSON. What is wrong with one is said
without saying what it is.
"""

from __future__ import annotations

from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, SecretStr, SerializationInfo

REVEALED: Final = {"secrets": "revealed"}
"""The context of a serialization in which secrets are what they are."""
_HIDDEN = "**********"


def _is_text(given: object) -> object:
    if not isinstance(given, str | SecretStr):
        raise ValueError("expected text; put what is not text in quotes")
    if not given:
        raise ValueError("expected text, got none")
    return given


def _written(secret: SecretStr, info: SerializationInfo) -> str:
    return secret.get_secret_value() if info.context == REVEALED else _HIDDEN


def _is_http(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable or not _in_one_line(url):
        raise ValueError("expected a URL that begins with http:// or https:// and a host")
    if parts.username is not None:
        raise ValueError("expected a URL without user and password; use headers: Authorization")
    return url


def _is_header(value: SecretStr) -> SecretStr:
    if not _in_one_line(value) or not value.get_secret_value().isascii():
        raise ValueError("expected one line of ASCII text")
    return value


def _in_one_line(secret: SecretStr) -> bool:
    return secret.get_secret_value().isprintable()


Secret = Annotated[
    SecretStr,
    BeforeValidator(_is_text),
    PlainSerializer(_written, return_type=str, when_used="json"),
]
HttpUrl = Annotated[Secret, AfterValidator(_is_http)]
HeaderValue = Annotated[Secret, AfterValidator(_is_header)]
