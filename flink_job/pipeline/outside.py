"""What a pipeline file takes from outside of it, and how messages speak of that and of secrets.

A message shows what the file says: `${NAME}`, not what the variable holds. What `--set` gives is not
repeated, and neither is what stands where passwords, addresses with keys in them and headers do.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
MAX_CHARACTERS = 20_000_000
"""Characters of all texts of a pipeline file, variables replaced."""
STARS = "***"
_SECRET_KEY = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|jaas|authorization|user[._]?info|api_?key|private"
    r"|ssl\.(key|keystore\.key|keystore\.certificate)",
    re.IGNORECASE,
)
_OF_CHANNELS = frozenset(("url", "headers", "user", "host", "from", "to"))
_NAMES = frozenset(("name", "rules", "severities"))
_OF_EVENTS = ("event", "metrics", "enrich", "features", "rules", "decide")
"""Sections whose keys are often names of columns, and never secrets."""
_CREDENTIALS = re.compile(r"(?<=://)[^\s/@]+(?=@)")
_ALWAYS_HIDDEN = 8
"""Characters of a text that is hidden within words too; a shorter one could be a part of any word."""
_NEVER_A_WORD = 4
_PIECE = 4
_CUT = 59
"""Characters that are left of a text which `!r:.60` cuts."""
_STARRED = "\0"


@dataclass(frozen=True)
class FromSet:
    """A value of `--set`, at its place in the document."""

    value: Any


@dataclass(frozen=True, eq=False)
class Hidden:
    """Stands for a value where messages look for one to show."""

    told: str

    def __repr__(self) -> str:
        """Return the words for it."""
        return self.told


_BY_SET, _SECRET = Hidden("what --set gives"), Hidden("something else")
_MISPLACED = Hidden("something else")
"""Stands for a value that is no secret by its key, but where a secret is easily put by mistake."""


@dataclass
class Given:
    """A pipeline file with what it takes from outside.

    Attributes:
        values: the document as it is checked.
        shown: the same document as messages may show it; in places there is something `Hidden`.
        texts: what may be in no message, and what is told instead.
        secrets: those of them that may be in no message either once the pipeline is right: what came from
            variables, and secrets.
    """

    values: Any = None
    shown: Any = None
    texts: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)

    def hide(self, text: str) -> str:
        """Return a message without what came from outside and without secrets."""
        return _without(text, self.texts)

    def hide_pieces(self, text: str, values: Any, shown: Any) -> str:
        """Return a message about a place without any four characters of what is hidden there."""
        forms = (form for value in _differing(values, shown) for form in _forms(value))
        pieces = {form[start : start + _PIECE] for form in forms for start in range(len(form) - _PIECE + 1)}
        starred = list(text)
        for start in range(len(text)):
            if text[start : start + _PIECE] in pieces:
                starred[start : start + _PIECE] = [_STARRED] * _PIECE
        return re.sub(f"{_STARRED}+", lambda _: STARS, "".join(starred))


_last = Given()


def without_secrets(text: str) -> str:
    """Return a message about a pipeline that was read without what variables hold and without secrets.

    It is the pipeline that this process read last. Names and addresses of the file and of `--set` stay: they
    are what such a message is about.
    """
    return _without(text, _last.secrets)


def take_in(document: Any, environment: Mapping[str, str]) -> Given:
    """Replace the variables of a document, and note what messages may not show.

    Args:
        document: the pipeline file as read, with a `FromSet` wherever `--set` put something.
        environment: what variables stand for.

    Raises:
        ValueError: where a variable is not set, or the texts are too long in all.
    """
    global _last
    reader = _Reader(environment)
    reader.given.values, reader.given.shown = reader.read(document, (), None)
    _last = reader.given
    return reader.given


class _Reader:
    """Goes through a document once."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.given = Given()
        self._environment = environment
        self._left = MAX_CHARACTERS

    def read(self, value: Any, keys: tuple[str | int, ...], hidden: Hidden | None) -> tuple[Any, Any]:
        """Return a value with its variables replaced, and what messages may show of it."""
        if isinstance(value, FromSet):
            return self.read(value.value, keys, hidden or _BY_SET)
        if hidden is None and not _keeps_its_keys(keys, value):
            hidden = _hidden_at(keys)
        if isinstance(value, dict):
            read = {key: self.read(item, (*keys, key), hidden) for key, item in value.items()}
            for key in value if hidden in (_BY_SET, _SECRET) else ():
                self._note(str(key), keys, STARS)
            shown = {key: item[1] for key, item in read.items()}
            return {key: item[0] for key, item in read.items()}, hidden or shown
        if isinstance(value, list):
            items = [self.read(item, (*keys, number), hidden) for number, item in enumerate(value)]
            return [item for item, _ in items], hidden or [shown for _, shown in items]
        if not isinstance(value, str):
            if hidden in (_BY_SET, _SECRET) and value is not None and not isinstance(value, bool):
                self._note(str(value), keys, STARS)
            return value, hidden or value
        return self._text(value, keys, hidden)

    def _text(self, written: str, keys: tuple[str | int, ...], hidden: Hidden | None) -> tuple[str, Any]:
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
            self._spend(len(value))
            self._note(value, keys, f"${{{name}}}", from_outside=True)
            return value

        text = VARIABLE.sub(replacement, written)
        self._spend(len(written))
        if hidden is _MISPLACED and came_from_outside:
            hidden = _SECRET
        if hidden in (_BY_SET, _SECRET) or came_from_outside:
            self._note(text, keys, STARS if hidden else written, came_from_outside)
        shown = _CREDENTIALS.sub(STARS, written)
        for credentials in _CREDENTIALS.findall(written):
            for secret in (credentials, credentials.partition(":")[2]):
                self._note(secret, ("secret",), STARS)
        return text, hidden or shown

    def _note(self, text: str, keys: tuple[str | int, ...], told: str, from_outside: bool = False) -> None:
        if not text.strip():
            return
        self.given.texts.setdefault(text, told)
        if from_outside or _is_secret(keys):
            self.given.secrets.setdefault(text, told)

    def _spend(self, characters: int) -> None:
        self._left -= characters
        if self._left < 0:
            raise ValueError(f"expected at most {MAX_CHARACTERS:,} characters, variables replaced; got more")


def _hidden_at(keys: tuple[str | int, ...]) -> Hidden | None:
    """Return what messages about mistakes tell of what stands there; None where they show it."""
    if not keys or keys[0] in _OF_EVENTS:
        return None
    if _is_secret(keys):
        return _SECRET
    may_be = "properties" in keys or (keys[0] == "alerts" and _NAMES.isdisjoint(keys))
    return _MISPLACED if may_be else None


def _is_secret(keys: tuple[str | int, ...]) -> bool:
    """Return whether what stands there is shown in no message at all."""
    of_channels = keys[:1] == ("alerts",) and not _OF_CHANNELS.isdisjoint(keys)
    return of_channels or any(isinstance(key, str) and _SECRET_KEY.search(key) for key in keys)


def _keeps_its_keys(keys: tuple[str | int, ...], value: Any) -> bool:
    """Return whether a mapping or list where secrets are is one that should be there."""
    if keys == ("alerts", "deliver"):
        return isinstance(value, list)
    of_channel = len(keys) == 3 and keys[:2] == ("alerts", "deliver")
    expected = keys == ("alerts",) or of_channel or keys[-1:] in (("headers",), ("properties",))
    return expected and isinstance(value, dict)


def _differing(value: Any, shown: Any) -> list[str]:
    """Return the texts and numbers of a place that messages may not show."""
    if isinstance(value, dict):
        below = [(item, shown if isinstance(shown, Hidden) else shown[key]) for key, item in value.items()]
        keys = [str(key) for key in value] if isinstance(shown, Hidden) else []
        return keys + [text for pair in below for text in _differing(*pair)]
    if isinstance(value, list):
        shown_items = [shown] * len(value) if isinstance(shown, Hidden) else shown
        return [text for pair in zip(value, shown_items, strict=True) for text in _differing(*pair)]
    is_shown = value is None or isinstance(value, bool) or value == shown
    return [] if is_shown else [str(value)]


def _without(message: str, texts: Mapping[str, str]) -> str:
    """Return a message in which texts are replaced by what is told instead, the longest first."""
    told = {form: instead for text, instead in texts.items() for form in _forms(text) if form in message}
    if not told:
        return message
    several = "|".join(_pattern(form) for form in sorted(told, key=len, reverse=True))
    return re.sub(several, lambda found: told[found[0]], message)


def _forms(text: str) -> set[str]:
    """Return the ways in which a text may be written into a message."""
    whole = {text, repr(text)[1:-1], json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    cut = {form[:_CUT] for form in whole}
    return whole | cut | ({text.upper()} if len(text) >= _ALWAYS_HIDDEN else set())


def _pattern(form: str) -> str:
    if len(form) >= _ALWAYS_HIDDEN:
        return re.escape(form)
    if len(form) >= _NEVER_A_WORD:
        return rf"(?<!\w){re.escape(form)}(?!\w)"
    return rf"(?:(?<=got )|(?<=['\".])){re.escape(form)}(?=['\".:]|$)"
