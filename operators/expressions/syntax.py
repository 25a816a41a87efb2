"""What an expression is made of, before it is known which columns there are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, TypeAlias

MAX_LENGTH: Final = 10_000
"""Characters of an expression."""

MAX_DEPTH: Final = 100
"""Levels of nesting; a chain of ``and`` or of ``or`` is one level, however long."""

LONG_MIN: Final = -(2**63)
LONG_MAX: Final = 2**63 - 1
"""The longs that there are: 64 bits."""

_EXCERPT: Final = 60


class ExpressionError(ValueError):
    """An expression that cannot be used, with the place and what is allowed there."""

    def __init__(self, text: str, position: int, problem: str) -> None:
        """Builds the message.

        Args:
            text: The whole expression.
            position: Where the problem is, characters from 0.
            problem: What is wrong and what is allowed.
        """
        super().__init__(f"{problem} (at character {position + 1} of {_excerpt(text, position)})")
        self.position = position
        self.problem = problem


class Refusal(Exception):
    """A problem at a position; the parser's entry point makes it an ExpressionError with the text."""

    def __init__(self, position: int, problem: str) -> None:
        """Keeps the position (characters from 0) and the problem."""
        super().__init__(problem)
        self.position = position
        self.problem = problem


@dataclass(frozen=True)
class Literal:
    """A value written in the expression; ``type`` is string, long, double, bool or null."""

    value: str | int | float | bool | None
    type: str
    position: int = field(compare=False)
    depth: int = field(default=1, init=False, compare=False)


@dataclass(frozen=True)
class Column:
    """A name that stands for a column."""

    name: str
    position: int = field(compare=False)
    depth: int = field(default=1, init=False, compare=False)


@dataclass(frozen=True)
class Call:
    """An operator or function over arguments.

    Operators go by their sign or word (``+``, ``<=``, ``and``, ``in``, ``like``, ``is null``), unary minus by
    ``negate``. ``not in``, ``!=`` and their like are no calls of their own but ``not`` over the positive one,
    which three-valued logic allows. The name of a function ends in ``()``.
    """

    operator: str
    arguments: tuple[Node, ...]
    position: int = field(compare=False)
    depth: int = field(default=0, init=False, compare=False)

    def __post_init__(self) -> None:
        """Refuses what is nested too deep, at the moment it gets too deep: nothing ever recurses further."""
        depth = 1 + max((argument.depth for argument in self.arguments), default=0)
        if depth > MAX_DEPTH:
            raise Refusal(self.position, f"expected at most {MAX_DEPTH} levels of nesting, got more")
        object.__setattr__(self, "depth", depth)


Node: TypeAlias = Literal | Column | Call


def _excerpt(text: str, position: int) -> str:
    """The expression, or the part around the position where it is long."""
    if len(text) <= 2 * _EXCERPT:
        return repr(text)
    start = max(0, position - _EXCERPT)
    return f"...{text[start : position + _EXCERPT]!r}..."
