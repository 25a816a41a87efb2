"""What pydantic finds wrong, in the words that all messages here have."""

from __future__ import annotations

import re

_SHOULD_HAVE = re.compile(r"^(String|List|Tuple|Set|Dictionary) should have ")
_KINDS = {"String": "text", "List": "a list", "Tuple": "a list", "Set": "a list", "Dictionary": "a mapping"}


def in_own_words(message: str) -> str:
    """Return the message of a pydantic error as it is told to users.

    >>> in_own_words("String should have at least 1 character")
    'expected text with at least 1 character'
    >>> in_own_words("Input should be greater than 0")
    'expected greater than 0'
    """
    message = message.removeprefix("Value error, ").replace("Input should be", "expected")
    return _SHOULD_HAVE.sub(lambda found: f"expected {_KINDS[found[1]]} with ", message)
