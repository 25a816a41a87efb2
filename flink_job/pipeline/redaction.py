"""Replaces environment variables in a pipeline file; redacts them, --set values and secrets from messages.

A message shows a variable as written, `${NAME}`, never its value. Values of `--set` are not repeated, nor are
values of keys that hold passwords, URLs with credentials or HTTP headers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
MAX_CHARACTERS = 20_000_000
"""Limit for the characters of all strings of a pipeline file together, after substitution."""
REDACTED = "***"
_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|jaas|authorization|user[._]?info|api_?key|private"
    r"|ssl\.(key|keystore\.key|keystore\.certificate)",
    re.IGNORECASE,
)
_SECRET_CHANNEL_KEYS = frozenset(("url", "headers", "user", "host", "from", "to"))
_PUBLIC_ALERT_KEYS = frozenset(("name", "rules", "severities"))
_PUBLIC_SECTIONS = ("event", "metrics", "enrich", "features", "rules", "decide")
"""Sections without secrets: their keys are often column names, which may look like those of secrets."""
_URL_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+(?=@)")
_MIN_SUBSTRING = 8
"""Characters from which on a text is redacted even inside a word; a shorter one may be part of any word."""
_MIN_WORD = 4
_PIECE_LENGTH = 4
_TRUNCATED_LENGTH = 59
"""Characters of a text, after the opening quote, that are left where a message truncates it with `!r:.60`."""
_MARK = "\0"


@dataclass(frozen=True)
class FromSet:
    """Marks a value in the document that came from `--set`."""

    value: Any


@dataclass(frozen=True, eq=False)
class Placeholder:
    """A placeholder that messages show instead of a redacted value."""

    text: str

    def __repr__(self) -> str:
        """Return the placeholder text, without quotes."""
        return self.text


_BY_SET, _SECRET = Placeholder("what --set gives"), Placeholder("something else")
_MISPLACED = Placeholder("something else")
"""Placeholder of a value whose key is not that of a secret, but where one is easily put by mistake."""


@dataclass
class SubstitutedDocument:
    """A pipeline document with variables substituted, and the same document as messages may show it.

    Attributes:
        values: the document with variables substituted, for validation.
        shown: the same document with a `Placeholder` for each redacted value.
        replacements: each text that validation messages must not contain, and its replacement.
        secrets: those of them that messages about a valid pipeline must not contain either: values of
            variables, and secrets.
    """

    values: Any = None
    shown: Any = None
    replacements: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def redact(self, text: str) -> str:
        """Redact values of variables and of --set, and secrets, from a message."""
        return _redact(text, self.replacements)

    def redact_pieces(self, text: str, values: Any, shown: Any) -> str:
        """Redact every run of four characters of the hidden values of one place from a message about it."""
        forms = (form for value in _redacted_texts(values, shown) for form in _spellings(value))
        pieces = {
            form[start : start + _PIECE_LENGTH]
            for form in forms
            for start in range(len(form) - _PIECE_LENGTH + 1)
        }
        starred = list(text)
        for start in range(len(text)):
            if text[start : start + _PIECE_LENGTH] in pieces:
                starred[start : start + _PIECE_LENGTH] = [_MARK] * _PIECE_LENGTH
        return re.sub(f"{_MARK}+", lambda _: REDACTED, "".join(starred))


_last_document = SubstitutedDocument()


def without_secrets(text: str) -> str:
    """Redact variable values and secrets of the last loaded pipeline from a message.

    Names and addresses that the file itself or `--set` gives stay: they are what such a message is about.
    """
    return _redact(text, _last_document.secrets)


def substitute(document: Any, environment: Mapping[str, str]) -> SubstitutedDocument:
    """Substitute the environment variables of a document, and collect what messages must not show.

    Args:
        document: the pipeline file as read, with a `FromSet` around each value of `--set`.
        environment: the values of variables by name.

    Raises:
        ValueError: a variable is not set, or there are more than `MAX_CHARACTERS` in all.
    """
    global _last_document
    substitution = _Substitution(environment)
    substitution.document.values, substitution.document.shown = substitution.read(document, (), None)
    _last_document = substitution.document
    return substitution.document


class _Substitution:
    """One recursive pass over a document that substitutes variables and collects replacements."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.document = SubstitutedDocument()
        self._environment = environment
        self._left = MAX_CHARACTERS

    def read(self, value: Any, keys: tuple[str | int, ...], hidden: Placeholder | None) -> tuple[Any, Any]:
        """Return a value with its variables substituted, and its redacted form for messages."""
        if isinstance(value, FromSet):
            return self.read(value.value, keys, hidden or _BY_SET)
        if hidden is None and not _is_expected_container(keys, value):
            hidden = _placeholder_at(keys)
        if isinstance(value, dict):
            read = {key: self.read(item, (*keys, key), hidden) for key, item in value.items()}
            for key in value if hidden in (_BY_SET, _SECRET) else ():
                self._add_replacement(str(key), keys, REDACTED)
            shown = {key: item[1] for key, item in read.items()}
            return {key: item[0] for key, item in read.items()}, hidden or shown
        if isinstance(value, list):
            items = [self.read(item, (*keys, number), hidden) for number, item in enumerate(value)]
            return [item for item, _ in items], hidden or [shown for _, shown in items]
        if not isinstance(value, str):
            if hidden in (_BY_SET, _SECRET) and value is not None and not isinstance(value, bool):
                self._add_replacement(str(value), keys, REDACTED)
            return value, hidden or value
        return self._text(value, keys, hidden)

    def _text(self, written: str, keys: tuple[str | int, ...], hidden: Placeholder | None) -> tuple[str, Any]:
        came_from_outside = False

        def replacement(match: re.Match[str]) -> str:
            nonlocal came_from_outside
            name, default = match[1], match[2]
            if name not in self._environment:
                if default is None:
                    raise ValueError(
                        f"the environment variable {name} is not set; set it or write ${{{name}:-default}}"
                    )
                return default
            came_from_outside = True
            value = self._environment[name]
            self._count_characters(len(value))
            self._add_replacement(value, keys, f"${{{name}}}", from_outside=True)
            return value

        text = VARIABLE.sub(replacement, written)
        self._count_characters(len(written))
        if hidden is _MISPLACED and came_from_outside:
            hidden = _SECRET
        if hidden in (_BY_SET, _SECRET) or came_from_outside:
            self._add_replacement(text, keys, REDACTED if hidden else written, came_from_outside)
        shown = _URL_CREDENTIALS.sub(REDACTED, written)
        for credentials in _URL_CREDENTIALS.findall(written):
            for secret in (credentials, credentials.partition(":")[2]):
                self._add_replacement(secret, ("secret",), REDACTED)
        return text, hidden or shown

    def _add_replacement(
        self, text: str, keys: tuple[str | int, ...], told: str, from_outside: bool = False
    ) -> None:
        if not text.strip():
            return
        self.document.replacements.setdefault(text, told)
        if from_outside or _is_secret(keys):
            self.document.secrets.setdefault(text, told)

    def _count_characters(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise ValueError(f"expected at most {MAX_CHARACTERS:,} characters, variables replaced; got more")


def _placeholder_at(keys: tuple[str | int, ...]) -> Placeholder | None:
    """Return the placeholder for values under these keys; None where messages may show them."""
    if not keys or keys[0] in _PUBLIC_SECTIONS:
        return None
    if _is_secret(keys):
        return _SECRET
    may_be = "properties" in keys or (keys[0] == "alerts" and _PUBLIC_ALERT_KEYS.isdisjoint(keys))
    return _MISPLACED if may_be else None


def _is_secret(keys: tuple[str | int, ...]) -> bool:
    """Return whether values under these keys are secrets, which no message may show."""
    of_channels = keys[:1] == ("alerts",) and not _SECRET_CHANNEL_KEYS.isdisjoint(keys)
    return of_channels or any(isinstance(key, str) and _SECRET_KEY.search(key) for key in keys)


def _is_expected_container(keys: tuple[str | int, ...], value: Any) -> bool:
    """Return whether this is a mapping or list that belongs here, so that only its entries need redacting."""
    if keys == ("alerts", "deliver"):
        return isinstance(value, list)
    of_channel = len(keys) == 3 and keys[:2] == ("alerts", "deliver")
    expected = keys == ("alerts",) or of_channel or keys[-1:] in (("headers",), ("properties",))
    return expected and isinstance(value, dict)


def _redacted_texts(value: Any, shown: Any) -> list[str]:
    """Return the texts and numbers of a value that its redacted form does not show."""
    if isinstance(value, dict):
        below = [
            (item, shown if isinstance(shown, Placeholder) else shown[key]) for key, item in value.items()
        ]
        keys = [str(key) for key in value] if isinstance(shown, Placeholder) else []
        return keys + [text for pair in below for text in _redacted_texts(*pair)]
    if isinstance(value, list):
        shown_items = [shown] * len(value) if isinstance(shown, Placeholder) else shown
        return [text for pair in zip(value, shown_items, strict=True) for text in _redacted_texts(*pair)]
    is_shown = value is None or isinstance(value, bool) or value == shown
    return [] if is_shown else [str(value)]


def _redact(message: str, texts: Mapping[str, str]) -> str:
    """Replace texts in a message, the longest first."""
    told = {form: instead for text, instead in texts.items() for form in _spellings(text) if form in message}
    if not told:
        return message
    several = "|".join(_pattern(form) for form in sorted(told, key=len, reverse=True))
    return re.sub(several, lambda found: told[found[0]], message)


def _spellings(text: str) -> set[str]:
    """Return the forms in which a text may occur in a message: plain, escaped, truncated, upper case."""
    whole = {text, repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    cut = {form[:_TRUNCATED_LENGTH] for form in whole}
    return whole | cut | ({text.upper()} if len(text) >= _MIN_SUBSTRING else set())


def _pattern(form: str) -> str:
    if len(form) >= _MIN_SUBSTRING:
        return re.escape(form)
    if len(form) >= _MIN_WORD:
        return rf"(?<!\w){re.escape(form)}(?!\w)"
    return rf"(?:(?<=got )|(?<=['\".])){re.escape(form)}(?=['\".:]|$)"
