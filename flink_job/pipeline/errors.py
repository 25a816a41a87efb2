"""Turns pydantic's errors into lines that name the key, what is wrong with it and what is allowed."""

from __future__ import annotations

import difflib
import re
from functools import cache
from typing import Any, NamedTuple

from pydantic import ValidationError

from flink_job.pipeline.redaction import REDACTED, Placeholder, SubstitutedDocument
from flink_job.pipeline.spec import Pipeline
from operators.own_words import in_own_words

_SHOWN = 60
_KEY_PREFIX = re.compile(r"[\w-]+(?:[.\[][\w-]+\]?)*(?=: )")
"""The key that a message of a custom validator may begin with."""


class _Place(NamedTuple):
    """The location of an error: keys as messages show them, value, redacted value, JSON schema."""

    path: list[str]
    value: Any
    shown: Any
    schema: dict[str, Any]


def explain(problem: ValidationError, document: SubstitutedDocument) -> list[str]:
    """Return one line for each validation error.

    Args:
        problem: pydantic's error.
        document: the pipeline document that was validated.
    """
    schema = _schema()
    # Key names and enum words are no secrets, and many messages need them.
    for word in document.replacements.keys() & _schema_words(schema):
        del document.replacements[word]
    errors = problem.errors(include_url=False)
    too_short_by_others = {error["loc"][:depth] for error in errors for depth in range(len(error["loc"]))}
    told = (
        error for error in errors if error["type"] != "too_short" or error["loc"] not in too_short_by_others
    )
    return list(dict.fromkeys(_line(error, document, schema) for error in told))


@cache
def _schema() -> dict[str, Any]:
    return Pipeline.model_json_schema()


def _schema_words(schema: Any) -> set[str]:
    """Return all property names, enum values and constants of a JSON schema."""
    if isinstance(schema, list):
        return {word for item in schema for word in _schema_words(item)}
    if not isinstance(schema, dict):
        return set()
    own = {*schema.get("properties", ()), *schema.get("enum", ()), schema.get("const")}
    below = [own, *(_schema_words(item) for item in schema.values())]
    return {word for words in below for word in words if isinstance(word, str)}


def _line(error: dict[str, Any], document: SubstitutedDocument, schema: dict[str, Any]) -> str:
    place = _walk(error, document, schema)
    message = _message(error, place, document)
    shown = ".".join(part if len(part) <= _SHOWN else part[:_SHOWN] + "..." for part in place.path)
    return f"{shown}: {message}" if shown else message


def _message(error: dict[str, Any], place: _Place, document: SubstitutedDocument) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(place.path[-1], sorted(place.schema.get("properties", {})))
    if kind == "union_tag_not_found":
        key = context["discriminator"].strip("'")
        return f"{key} is missing; expected one of {_choices(place.schema)}"
    if kind == "union_tag_invalid":
        tag = context["discriminator"].strip("'")
        shown = place.shown if isinstance(place.shown, Placeholder) else place.shown.get(tag)
        return f"expected one of {context['expected_tags'].replace(chr(39), '')}, got {_shortened(shown)}"
    if kind == "value_error":
        return _custom_message(str(context["error"]), place, document)
    message = in_own_words(error)
    return message if kind in ("window_type", "missing") else f"{message}, got {_shortened(place.shown)}"


def _custom_message(message: str, place: _Place, document: SubstitutedDocument) -> str:
    """Return the message of a custom validator with redacted values removed."""
    begins = _KEY_PREFIX.match(message)
    value, shown = place.value, place.shown
    for part in re.split(r"[.\[\]]+", begins[0]) if begins else ():
        value, shown = _child(value, shown, part)
    key, rest = (message[: begins.end()], message[begins.end() :]) if begins else ("", message)
    return document.redact(key + document.redact_pieces(rest, value, shown))


def _child(value: Any, shown: Any, part: str) -> tuple[Any, Any]:
    """Return the value and redacted value of a key, list index or entry name; unchanged if not found."""
    if isinstance(value, dict) and part in value:
        return value[part], shown if isinstance(shown, Placeholder) else shown[part]
    if isinstance(value, list):
        for number, entry in enumerate(value):
            if part == str(number) or (isinstance(entry, dict) and entry.get("name") == part):
                return entry, shown if isinstance(shown, Placeholder) else shown[number]
    return value, shown


def _unknown_key(key: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(key[:_SHOWN], allowed, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown key{hint}; allowed here: {', '.join(allowed) or 'none'}"


def _shortened(shown: Any) -> str:
    text = str(shown).lower() if isinstance(shown, bool) else repr(shown)
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _choices(schema: dict[str, Any]) -> str:
    return ", ".join(schema.get("discriminator", {}).get("mapping", {}))


def _walk(error: dict[str, Any], document: SubstitutedDocument, schema: dict[str, Any]) -> _Place:
    """Follow the location that pydantic reports through the document.

    Pydantic names the branches of unions too; those are no keys of the document. For an unknown key the
    schema is that of the mapping it is in.
    """
    path: list[str] = []
    value, shown, here, in_branch = document.values, document.shown, schema, False
    unknown, missing = (error["type"] == kind for kind in ("extra_forbidden", "missing"))
    for number, part in enumerate(error["loc"]):
        if not in_branch and _is_tagged(here, schema):
            in_branch = True
            continue
        here, in_branch = _resolved(here, value, schema), False
        known = here.get("properties", {})
        name = str(part) if part in known or missing or not isinstance(shown, Placeholder) else REDACTED
        if number == len(error["loc"]) - 1 and (unknown or missing):
            return _Place([*path, name], value, shown, here)
        if isinstance(value, dict) and part in value:
            here = known.get(part, here.get("additionalProperties", {}))
            value, shown = value[part], shown if isinstance(shown, Placeholder) else shown[part]
            path.append(name)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            here, value = here.get("items", {}), value[part]
            shown = shown if isinstance(shown, Placeholder) else shown[part]
            named = shown.get("name") if isinstance(shown, dict) else None
            path.append(named if isinstance(named, str) else str(part))
    return _Place(path, value, shown, _resolved(here, value, schema))


def _is_tagged(here: dict[str, Any], schema: dict[str, Any]) -> bool:
    """Return whether this is a union whose branch pydantic names after its tag, which may look like a key."""
    if "$ref" in here:
        here = schema["$defs"][here["$ref"].rpartition("/")[2]]
    return ("oneOf" in here and "properties" not in here) or any(
        _is_tagged(branch, schema) for branch in here.get("anyOf", ())
    )


def _resolved(here: Any, place: Any, schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema that applies to a place, references followed and the fitting branch taken."""
    while isinstance(here, dict):
        if "$ref" in here:
            here = schema["$defs"][here["$ref"].rpartition("/")[2]]
        elif "discriminator" in here and isinstance(place, dict):
            tag = place.get(here["discriminator"]["propertyName"])
            branch = here["discriminator"].get("mapping", {}).get(tag) if isinstance(tag, str) else None
            if branch is None:
                return here
            here = {"$ref": branch}
        elif "properties" not in here and ("anyOf" in here or "oneOf" in here):
            branches = [_resolved(branch, place, schema) for branch in here.get("anyOf", here.get("oneOf"))]
            keys = set(place) if isinstance(place, dict) else set()
            mappings = [branch for branch in branches if "properties" in branch]
            if not mappings:
                return here
            here = max(mappings, key=lambda branch: len(keys & set(branch["properties"])))
        else:
            return here
    return {}
