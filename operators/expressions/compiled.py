"""An expression ready to be evaluated on batches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

import polars as pl

from operators.expressions.necessary import Alternatives, alternatives
from operators.expressions.parser import parse
from operators.expressions.syntax import ExpressionError, Refusal
from operators.expressions.translate import translate
from operators.expressions.types import Typed, check, coerce


class Expression:
    """An expression that was checked against its columns; made by ``compile_expression``."""

    def __init__(self, text: str, typed: Typed) -> None:
        """Keeps what was checked.

        Args:
            text: The expression as written.
            typed: Its checked tree.
        """
        self.text = text
        self.type = typed.type
        """string, long, double, bool, or list for the bare name of a multi-valued column."""
        self.columns = frozenset(_names(typed))
        """The columns it reads."""
        self.necessary: Alternatives = alternatives(typed) if self.type == "bool" else ((),)
        """Of a condition: what must hold of the columns of events for one of which it is true."""
        self._expr = translate(typed)

    def polars(self) -> pl.Expr:
        """The polars expression: elementwise, of the type that belongs to ``type``.

        Use it where polars spreads a constant over the rows, as ``with_columns`` and ``filter`` do.
        """
        return self._expr

    def evaluate(self, frame: pl.DataFrame) -> pl.Series:
        """Evaluates it on every row.

        Args:
            frame: A batch with the columns that it reads: String, Int64, Float64, Boolean, or a List.

        Returns:
            One value a row, null where SQL says so.
        """
        values = frame.select_seq(self._expr).to_series()
        # Polars answers once for all rows where it finds the result to be constant.
        return values if len(values) == frame.height else values.new_from_index(0, frame.height)

    def __repr__(self) -> str:
        """The text and the type."""
        return f"Expression({self.text!r}, {self.type})"


def compile_expression(
    text: str,
    columns: Mapping[str, str],
    expect: str | None = None,
    constants: Mapping[str, float] = MappingProxyType({}),
) -> Expression:
    """Parses an expression and checks it against the columns there are.

    Args:
        text: The expression.
        columns: The type of each column: string, long, double, bool, or list for a multi-valued one.
        expect: The type it must have, or None for any. Where it is double, a long is taken as one.
        constants: Names that stand for a double; they hide columns.

    Returns:
        The expression, ready for batches.

    Raises:
        ExpressionError: With the position of the problem and what is allowed there.

    >>> positive = compile_expression("value >= 0", {"value": "double"}, expect="bool")
    >>> positive.evaluate(pl.DataFrame({"value": [1.5, -1.0, None]})).to_list()
    [True, False, None]
    """
    node = parse(text)
    try:
        typed = check(node, columns, constants)
    except Refusal as refusal:
        raise ExpressionError(text, refusal.position, refusal.problem) from None
    fits = expect is None or typed.type in (expect, "null") or (typed.type, expect) == ("long", "double")
    if not fits:
        raise ExpressionError(text, 0, f"expected an expression of type {expect}, got {typed.type}")
    if typed.type == "null" and expect is None:
        raise ExpressionError(text, 0, "expected an expression that can have a value, got null")
    return Expression(text, typed if expect is None else coerce(typed, expect))


def _names(typed: Typed) -> Iterator[str]:
    if typed.operator == "column":
        yield str(typed.value)
    for argument in typed.arguments:
        yield from _names(argument)
