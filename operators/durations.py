"""Durations of the pipeline file: text such as ``5m`` in, integer milliseconds inside."""

from __future__ import annotations

import re
from typing import Annotated, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

MAX_DURATION_MS: Final = 100 * 366 * 86_400_000
"""The longest duration, 100 years: the sum of a time and a duration then always fits an int64."""

_UNITS_MS: Final = {"d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1_000, "ms": 1}
_PATTERN: Final = "^[0-9]+(ms|s|m|h|d)$"
_DURATION: Final = re.compile("([0-9]{1,18})(ms|s|m|h|d)")


def parse_duration(text: str) -> int:
    """Reads a duration.

    Args:
        text: A whole number and a unit, no blank between: ``500ms``, ``5s``, ``1m``, ``2h``, ``1d``.

    Returns:
        Milliseconds, 0 to ``MAX_DURATION_MS``.

    Raises:
        ValueError: If it is anything else.

    >>> parse_duration("2h")
    7200000
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise ValueError(f"expected a duration such as 500ms, 5s, 1m, 2h or 1d, got {text!r:.60}")
    duration_ms = int(match[1]) * _UNITS_MS[match[2]]
    if duration_ms > MAX_DURATION_MS:
        raise ValueError(f"expected a duration of at most {format_duration(MAX_DURATION_MS)}, got {text!r}")
    return duration_ms


def format_duration(duration_ms: int) -> str:
    """Writes a duration in the largest unit that divides it, so that ``parse_duration`` reads it back.

    Args:
        duration_ms: Milliseconds, not negative.

    Returns:
        The text, for example ``90s`` for 90000.

    Raises:
        ValueError: If it is negative.

    >>> format_duration(90_000)
    '90s'
    """
    if duration_ms < 0:
        raise ValueError(f"expected a duration of 0 ms or more, got {duration_ms}")
    if duration_ms == 0:
        return "0s"
    unit = next(unit for unit, size_ms in _UNITS_MS.items() if duration_ms % size_ms == 0)
    return f"{duration_ms // _UNITS_MS[unit]}{unit}"


def is_off(given: object) -> bool:
    """Whether a key is switched off: the text off, or false, as which YAML reads a bare off."""
    return given is False or given == "off"


def _read_duration_or_off(given: object) -> int | None:
    if is_off(given):
        return None
    if not isinstance(given, str):
        raise ValueError(f"expected a duration such as 1h, or off, got {given!r:.60}")
    return parse_duration(given)


def _write_duration_or_off(duration_ms: int | None) -> str:
    return "off" if duration_ms is None else format_duration(duration_ms)


DurationMs = Annotated[
    int,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema({"type": "string", "pattern": _PATTERN, "examples": ["500ms", "5s", "1m", "2h", "1d"]}),
]
"""A pydantic field written as a duration and held as integer milliseconds."""

DurationMsOrOff = Annotated[
    int | None,
    BeforeValidator(_read_duration_or_off),
    PlainSerializer(_write_duration_or_off, return_type=str),
    WithJsonSchema(
        {"anyOf": [{"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d)|off)$"}, {"const": False}]}
    ),
]
"""A duration held as milliseconds, or off held as None."""
