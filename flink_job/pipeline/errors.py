"""Turns pydantic's errors into lines that name the key, what is wrong with it and what is allowed."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import ValidationError

from flink_job.pipeline.spec import Pipeline
from operators.own_words import in_own_words

_SHOWN = 60
_SECRETIVE = ("alerts", "deliver")


def explain(problem: ValidationError, document: dict[str, Any]) -> list[str]:
    """Return one line a mistake.

    Args:
        problem: what pydantic found.
        document: the pipeline file as read.
    """
    schema = Pipeline.model_json_schema()
    errors = problem.errors(include_url=False)
    told = (error for error in errors if not _follows(error, errors))
    return list(dict.fromkeys(_line(error, document, schema) for error in told))


def _follows(error: dict[str, Any], errors: list[dict[str, Any]]) -> bool:
    """Return whether a list is called too short only because items of it that are wrong do not count."""
    depth = len(error["loc"])
    return error["type"] == "too_short" and any(
        len(other["loc"]) > depth and other["loc"][:depth] == error["loc"] for other in errors
    )


def _line(error: dict[str, Any], document: Any, schema: dict[str, Any]) -> str:
    path, here = _walk(error, document, schema)
    shown = ".".join(path)
    message = _message(error, path, here)
    return f"{shown}: {message}" if shown else message


def _message(error: dict[str, Any], path: list[str], here: dict[str, Any]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "extra_forbidden":
        return _unknown_key(path[-1], sorted(here.get("properties", {})))
    if kind == "missing":
        return "is missing"
    if kind == "union_tag_not_found":
        return f"{context['discriminator'].strip(chr(39))} is missing; expected one of {_choices(here)}"
    if kind == "union_tag_invalid":
        return f"expected one of {context['expected_tags'].replace(chr(39), '')}, got {_tag(error)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"expected {context['expected']}, got {_got(error)}"
    if kind == "string_pattern_mismatch":
        return f"expected text that matches {context['pattern']}, got {_got(error)}"
    message = in_own_words(error["msg"])
    return message if kind == "window_type" else f"{message}, got {_got(error)}"


def _unknown_key(key: str, allowed: list[str]) -> str:
    close = difflib.get_close_matches(key, allowed, n=1)
    hint = f" (did you mean {close[0]}?)" if close else ""
    return f"unknown key{hint}; allowed here: {', '.join(allowed) or 'none'}"


def _tag(error: dict[str, Any]) -> str:
    return _got(error | {"input": error["ctx"]["tag"]})


def _got(error: dict[str, Any]) -> str:
    if error["loc"][: len(_SECRETIVE)] == _SECRETIVE:
        return "something else"  # which may be an address or a password, in the wrong place
    text = repr(error["input"])
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."


def _choices(schema: dict[str, Any]) -> str:
    return ", ".join(schema.get("discriminator", {}).get("mapping", {}))


def _walk(error: dict[str, Any], document: Any, schema: dict[str, Any]) -> tuple[list[str], dict[str, Any]]:
    """Follow an error's location through the document: the keys that a user wrote, and the schema there.

    Pydantic names the branches of unions too; those are no keys of the document. For an unknown key the
    schema is that of the mapping it is in.
    """
    path: list[str] = []
    place, here, in_branch = document, schema, False
    unknown, missing = (error["type"] == kind for kind in ("extra_forbidden", "missing"))
    for number, part in enumerate(error["loc"]):
        if not in_branch and _is_tagged(here, schema):
            in_branch = True
            continue
        here, in_branch = _resolved(here, place, schema), False
        last = number == len(error["loc"]) - 1
        if last and (unknown or missing):
            return [*path, str(part)], here
        if isinstance(place, dict) and part in place:
            here = here.get("properties", {}).get(part, here.get("additionalProperties", {}))
            place = place[part]
            path.append(str(part))
        elif isinstance(place, list) and isinstance(part, int) and part < len(place):
            here, place = here.get("items", {}), place[part]
            name = place.get("name") if isinstance(place, dict) else None
            path.append(name if isinstance(name, str) else str(part))
    return path, _resolved(here, place, schema)


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
            branch = here["discriminator"].get("mapping", {}).get(tag)
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
