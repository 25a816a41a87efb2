"""From a typed expression to a polars expression that evaluates whole columns.

Each argument appears once in what it becomes: an expression that repeated its operands would double with each
level of nesting. Where polars has no operator that does, a small function over the batch's columns stands in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add, and_, eq, ge, gt, le, lt, mul, or_, sub
from typing import Final

import numpy as np
import polars as pl

from operators.expressions.types import Typed

POLARS_TYPES: Final[dict[str, pl.DataType]] = {
    "string": pl.String(),
    "long": pl.Int64(),
    "double": pl.Float64(),
    "bool": pl.Boolean(),
}
"""The polars type of each scalar type."""

_SIMPLE: Final[dict[str, Callable[..., pl.Expr]]] = {
    "=": eq,
    "<": lt,
    "<=": le,
    ">": gt,
    ">=": ge,
    "not": lambda operand: ~operand,
    "is null": lambda operand: operand.is_null(),
    "to double": lambda operand: operand.cast(pl.Float64),
    "coalesce()": lambda *operands: pl.coalesce(*operands),
    "length()": lambda text: text.str.len_chars().cast(pl.Int64),
    "lower()": lambda text: text.str.to_lowercase(),
    "upper()": lambda text: text.str.to_uppercase(),
    "starts_with()": lambda text, prefix: text.str.starts_with(prefix),
}
_ARITHMETIC: Final[dict[str, Callable[..., pl.Expr]]] = {
    "+": add,
    "-": sub,
    "*": mul,
    "negate": lambda operand: operand * -1,  # polars cannot negate 128 bits
    "abs()": lambda operand: operand.abs(),
}


def translate(typed: Typed) -> pl.Expr:
    """Makes the polars expression.

    Args:
        typed: The checked tree; no part of it of type null.

    Returns:
        An elementwise expression of the polars type that belongs to ``typed.type``.
    """
    if typed.operator == "column":
        return pl.col(str(typed.value))
    if typed.operator == "literal":
        return pl.lit(typed.value, dtype=POLARS_TYPES[typed.type])
    if typed.operator == "in":
        return _within(typed)
    if typed.operator == "like":
        return _like(translate(typed.arguments[0]), typed.arguments[1].value)
    operands = [translate(argument) for argument in typed.arguments]
    if typed.operator in ("and", "or"):
        return _balanced(and_ if typed.operator == "and" else or_, operands)
    if typed.operator == "%":
        return pl.map_batches(
            operands,
            _remainder,
            return_dtype=POLARS_TYPES[typed.type],
            is_elementwise=True,
            returns_scalar=False,
        )
    if typed.operator == "/":
        return _finite(operands[0] / operands[1])
    if typed.operator in _ARITHMETIC:
        return _fitting(_ARITHMETIC[typed.operator], operands, typed.type)
    return _SIMPLE[typed.operator](*operands)


def _balanced(join: Callable[[pl.Expr, pl.Expr], pl.Expr], operands: Sequence[pl.Expr]) -> pl.Expr:
    """Joins a chain as a tree of least depth."""
    if len(operands) <= 2:
        return reduce(join, operands)
    middle = len(operands) // 2
    return join(_balanced(join, operands[:middle]), _balanced(join, operands[middle:]))


def _fitting(operation: Callable[..., pl.Expr], operands: Sequence[pl.Expr], type_: str) -> pl.Expr:
    """Arithmetic whose result is null where it does not fit; longs are computed in 128 bits to find out."""
    if type_ == "double":
        return _finite(operation(*operands))
    wide = operation(*(operand.cast(pl.Int128) for operand in operands))
    return wide.cast(pl.Int64, strict=False)


def _finite(result: pl.Expr) -> pl.Expr:
    return result.map_batches(_null_unless_finite, return_dtype=pl.Float64, is_elementwise=True)


def _null_unless_finite(result: pl.Series) -> pl.Series:
    finite = result.is_finite()
    return result if finite.all() else result.set(~finite, None)


def _remainder(operands: Sequence[pl.Series]) -> pl.Series:
    """The remainder with the sign of the dividend, which polars does not have; null for a zero divisor."""
    dividend, divisor = operands
    if dividend.dtype == pl.Float64:
        with np.errstate(invalid="ignore"):
            # A null is NaN here, and null again below.
            remainder = np.fmod(dividend.to_numpy(), divisor.to_numpy())
        return _null_unless_finite(pl.Series(remainder))
    floored = dividend % divisor
    same_sign = (floored == 0) | ((floored < 0) == (dividend < 0))
    # Totals in results may be Int128.
    return floored.zip_with(same_sign, floored - divisor).cast(pl.Int64, strict=False)


def _within(typed: Typed) -> pl.Expr:
    operand, *items = typed.arguments
    values = [item.value for item in items if item.value is not None]
    listed = pl.lit(pl.Series(values, dtype=POLARS_TYPES[operand.type])).implode()
    found = translate(operand).is_in(listed)
    # Not found among values and a null is unknown; found is true all the same.
    return found if len(values) == len(items) else found | pl.lit(None, dtype=pl.Boolean)


def _like(text: pl.Expr, pattern: object) -> pl.Expr:
    """Matches a pattern of ``%`` and ``_``; the common shapes need no regular expression."""
    pattern = str(pattern)
    inner = pattern.strip("%")
    if "_" not in pattern and "%" not in inner:
        before, after = pattern.startswith("%"), pattern.endswith("%")
        if not before and not after:
            return text == pl.lit(inner)
        if before and after:
            return text.str.contains(inner, literal=True)
        return text.str.ends_with(inner) if before else text.str.starts_with(inner)
    parts = {"%": ".*", "_": "."}
    regex = "".join(parts.get(part) or pl.escape_regex(part) for part in re.split("([%_])", pattern))
    return text.str.contains(rf"\A(?s:{regex})\z")
