"""What pydantic finds wrong, in the words that all messages here have."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

_SHOULD_HAVE = re.compile(r"^(String|List|Tuple|Set|Dictionary) should have ")
_AT_LEAST = re.compile(r"(at (?:least|most) [0-9]+ \w+) after validation, not [0-9]+")
_KINDS = {"String": "text", "List": "a list", "Tuple": "a list", "Set": "a list", "Dictionary": "a mapping"}
_WORDS = {
    "int": "a valid integer", "float": "a number", "finite_number": "a finite number",
    "bool": "true or false", "string": "text", "tuple": "a list", "list": "a list", "set": "a list",
    "frozen_set": "a list", "iterable": "a list", "dict": "a mapping", "mapping": "a mapping",
    "model": "a mapping", "none": "null", "invalid_key": "text as key",
}  # fmt: skip
_PART = re.compile(r"_(type|parsing|parsing_size|from_float|unicode|sub_type|attributes_type|required)$")


def plain_message(problem: Exception) -> str:
    """Return the message of an exception; for a pydantic `ValidationError` that of its first error."""
    if isinstance(problem, ValidationError):
        return in_own_words(problem.errors(include_url=False)[0])
    return str(problem)


def in_own_words(error: Mapping[str, Any]) -> str:
    """Return the message of one pydantic error in the wording used for users.

    Args:
        error: an entry of `ValidationError.errors()`.

    >>> in_own_words({"type": "int_type", "msg": "Input should be a valid integer"})
    'expected a valid integer'
    >>> in_own_words({"type": "string_too_short", "msg": "String should have at least 1 character"})
    'expected text with at least 1 character'
    >>> in_own_words({"type": "greater_than", "msg": "Input should be greater than 0"})
    'expected greater than 0'
    """
    kind = _PART.sub("", error["type"])
    if kind in _WORDS:
        return f"expected {_WORDS[kind]}"
    if kind == "missing":
        return "is missing"
    if kind == "string_pattern_mismatch":
        return f"expected text that matches {error['ctx']['pattern']}"
    message = error["msg"].removeprefix("Value error, ").replace("Input should be", "expected")
    message = _SHOULD_HAVE.sub(lambda found: f"expected {_KINDS[found[1]]} with ", message)
    return _AT_LEAST.sub(r"\1", message)
