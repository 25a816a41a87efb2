"""Applies `--set KEY=VALUE` options to a pipeline document."""

from __future__ import annotations

import re
from typing import Any

from flink_job.pipeline.redaction import FromSet
from flink_job.pipeline.yaml_text import YamlProblem, read_yaml

_MAX_LEVELS = 20
# A duplicate key is part of the value here, so it is left out of the message.
_KEY_TWICE = re.compile(r"key .*(?= is there twice)", re.DOTALL)
_EXAMPLE = "KEY=VALUE such as source.path=events.json"


def override(document: dict[str, Any], given: str) -> None:
    """Set one value of the document, in place.

    Args:
        document: the pipeline file as read.
        given: `a.b=c`, where c is YAML. A list entry is addressed by its name or its index.

    Raises:
        ValueError: the key or the value is invalid; the message does not contain the value.
    """
    path, sign, text = given.partition("=")
    if not sign or not path:
        raise ValueError(f"--set: expected {_EXAMPLE}, got something else")
    *parents, last = path.split(".")
    if len(parents) > _MAX_LEVELS:
        raise ValueError(f"--set: expected at most {_MAX_LEVELS} dots in a key, got {len(parents)}")
    origin = f"--set {path:.100}"
    place: Any = document
    for part in parents:
        place = _step(place, part, origin)
    try:
        value = FromSet(read_yaml(text))
    except YamlProblem as problem:
        raise ValueError(f"{origin}: not YAML: {_KEY_TWICE.sub('a key', str(problem))}") from None
    if isinstance(place, list):
        place[_index(place, last, origin)] = value
    else:
        place[last] = value


def _step(place: Any, part: str, origin: str) -> Any:
    if isinstance(place, list):
        number = _index(place, part, origin)
        place[number] = _copied(place[number])
        inner = place[number]
    else:
        if place.get(part) is None:
            place[part] = {}
        place[part] = _copied(place[part])
        inner = place[part]
    if isinstance(inner, FromSet):
        inner = inner.value
    if not isinstance(inner, dict | list):
        raise ValueError(f"{origin}: {part} is a value, not a mapping or list")
    return inner


def _copied(value: Any) -> Any:
    """Copy a mapping or list, as YAML aliases elsewhere may share it and must not change with it."""
    return value.copy() if isinstance(value, dict | list) else value


def _index(items: list[Any], part: str, origin: str) -> int:
    entries = [item.value if isinstance(item, FromSet) else item for item in items]
    names = [entry.get("name") if isinstance(entry, dict) else None for entry in entries]
    if part in names:
        return names.index(part)
    if part.isdecimal() and len(part) < 10 and int(part) < len(items):
        return int(part)
    raise ValueError(f"{origin}: expected a number below {len(items)} or a name, got {part!r:.60}")
