"""Which types an expression may combine, and what comes of it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from operators.expressions.syntax import LONG_MAX, LONG_MIN, Call, Column, Literal, Node, Refusal

SCALAR_TYPES: Final = ("string", "long", "double", "bool")
"""Types of a column with one value an event; a multi-valued one is of type ``list``."""


@dataclass(frozen=True)
class Typed:
    """A node whose type is known and whose arguments have the types that its operator wants.

    ``operator`` is that of the call, or ``literal`` or ``column`` (with ``value`` the value or the name), or
    ``to double``. No type is null: a null literal has the type its surroundings want.
    """

    operator: str
    type: str
    arguments: tuple[Typed, ...] = ()
    value: str | int | float | bool | None = None


def check(node: Node, columns: Mapping[str, str], constants: Mapping[str, float]) -> Typed:
    """Finds the type of an expression.

    Args:
        node: The syntax tree.
        columns: The type of each column: string, long, double, bool, or list.
        constants: Names that stand for a double; they hide columns.

    Returns:
        The typed tree; of type ``null`` only where the whole expression is the literal null.

    Raises:
        Refusal: Where a column or function does not exist or types do not fit.
    """
    if isinstance(node, Literal):
        if node.type == "long" and not LONG_MIN <= node.value <= LONG_MAX:  # type: ignore[operator]
            raise Refusal(node.position, "expected a long of at most 64 bits, or a double such as 1e20")
        return Typed("literal", node.type, value=node.value)
    if isinstance(node, Column):
        if node.name in constants:
            return Typed("literal", "double", value=constants[node.name])
        if node.name not in columns:
            raise Refusal(node.position, _unknown("column", node.name, [*columns, *constants]))
        return Typed("column", columns[node.name], value=node.name)
    rule = _RULES.get(node.operator)
    if rule is None:
        functions = [name for name in _RULES if name.endswith("()")]
        raise Refusal(node.position, _unknown("function", node.operator, functions))
    return rule(node, [check(argument, columns, constants) for argument in node.arguments])


def coerce(typed: Typed, wanted: str) -> Typed:
    """The same with the wanted type, which must be its own, or double for a long, or any for null."""
    if typed.type == wanted:
        return typed
    if typed.type == "null":
        return Typed("literal", wanted)
    if typed.operator == "literal":
        return Typed("literal", wanted, value=float(typed.value))  # type: ignore[arg-type]
    return Typed("to double", wanted, (typed,))


def _logic(call: Call, arguments: list[Typed]) -> Typed:
    return _call(call, arguments, "bool", "bool")


def _arithmetic(call: Call, arguments: list[Typed]) -> Typed:
    wanted = _unify(call, arguments, ("long", "double"), default="long")
    return _call(call, arguments, wanted, wanted)


def _division(call: Call, arguments: list[Typed]) -> Typed:
    _unify(call, arguments, ("long", "double"), default="long")
    return _call(call, arguments, "double", "double")


def _equality(call: Call, arguments: list[Typed]) -> Typed:
    return _call(call, arguments, _unify(call, arguments, SCALAR_TYPES), "bool")


def _order(call: Call, arguments: list[Typed]) -> Typed:
    return _call(call, arguments, _unify(call, arguments, ("string", "long", "double")), "bool")


def _membership(call: Call, arguments: list[Typed]) -> Typed:
    for item, node in zip(arguments[1:], call.arguments[1:], strict=True):
        if item.operator != "literal":
            raise Refusal(
                node.position, "expected literals in the list of 'in'; compare columns with '=' and 'or'"
            )
    return _equality(call, arguments)


def _pattern(call: Call, arguments: list[Typed]) -> Typed:
    if arguments[1].operator != "literal" or arguments[1].type != "string":
        raise Refusal(call.arguments[1].position, "expected a text in single quotes as the pattern of 'like'")
    return _call(call, arguments, "string", "bool")


def _is_null(call: Call, arguments: list[Typed]) -> Typed:
    typed = arguments[0]
    return Typed("is null", "bool", (coerce(typed, "string") if typed.type == "null" else typed,))


def _coalesce(call: Call, arguments: list[Typed]) -> Typed:
    if not arguments:
        raise Refusal(call.position, "coalesce() expects at least 1 argument, got 0")
    wanted = _unify(call, arguments, SCALAR_TYPES, default="null")
    return Typed("literal", "null") if wanted == "null" else _call(call, arguments, wanted, wanted)


def _function(wanted: tuple[str, ...], result: str) -> Callable[[Call, list[Typed]], Typed]:
    """The rule of a function of fixed argument types."""

    def rule(call: Call, arguments: list[Typed]) -> Typed:
        _count(call, len(wanted))
        given = [
            _fit(call, typed, node, type_)
            for typed, node, type_ in zip(arguments, call.arguments, wanted, strict=True)
        ]
        return Typed(call.operator, result, tuple(given))

    return rule


def _abs(call: Call, arguments: list[Typed]) -> Typed:
    _count(call, 1)
    return _arithmetic(call, arguments)


_RULES: Final[dict[str, Callable[[Call, list[Typed]], Typed]]] = {
    "and": _logic,
    "or": _logic,
    "not": _logic,
    "=": _equality,
    "<": _order,
    "<=": _order,
    ">": _order,
    ">=": _order,
    "+": _arithmetic,
    "-": _arithmetic,
    "*": _arithmetic,
    "/": _division,
    "%": _arithmetic,
    "negate": _arithmetic,
    "in": _membership,
    "like": _pattern,
    "is null": _is_null,
    "abs()": _abs,
    "coalesce()": _coalesce,
    "length()": _function(("string",), "long"),
    "lower()": _function(("string",), "string"),
    "starts_with()": _function(("string", "string"), "bool"),
    "upper()": _function(("string",), "string"),
}


def _call(call: Call, arguments: list[Typed], wanted: str, result: str) -> Typed:
    given = [_fit(call, typed, node, wanted) for typed, node in zip(arguments, call.arguments, strict=True)]
    return Typed(call.operator, result, tuple(given))


def _fit(call: Call, typed: Typed, node: Node, wanted: str) -> Typed:
    if typed.type not in (wanted, "null") and (typed.type, wanted) != ("long", "double"):
        raise Refusal(node.position, f"{_sign(call)} expects {wanted}, got {typed.type}")
    return coerce(typed, wanted)


def _unify(call: Call, arguments: Sequence[Typed], allowed: Sequence[str], default: str = "string") -> str:
    """The one type that all arguments can take; the default where all are null."""
    found = None
    for typed, node in zip(arguments, call.arguments, strict=True):
        if typed.type == "null":
            continue
        if typed.type not in allowed:
            raise Refusal(node.position, f"{_sign(call)} expects {' or '.join(allowed)}, got {typed.type}")
        if found in (None, typed.type):
            found = typed.type
        elif {found, typed.type} == {"long", "double"}:
            found = "double"
        else:
            raise Refusal(
                node.position, f"{_sign(call)} expects two of one type, got {found} and {typed.type}"
            )
    return found or default


def _count(call: Call, expected: int) -> None:
    if len(call.arguments) != expected:
        plural = "argument" if expected == 1 else "arguments"
        raise Refusal(call.position, f"{_sign(call)} expects {expected} {plural}, got {len(call.arguments)}")


def _sign(call: Call) -> str:
    if call.operator == "negate":
        return "'-'"
    return call.operator if call.operator.endswith("()") else f"'{call.operator}'"


def _unknown(what: str, name: str, existing: Mapping[str, str] | Sequence[str]) -> str:
    """The message for a name that does not exist: the closest match, and all that do."""
    shown = {candidate.removesuffix("()"): None for candidate in existing}
    close = difflib.get_close_matches(name.removesuffix("()"), shown, n=1)
    hint = f", did you mean {close[0]}?" if close else ","
    return f"unknown {what} {name.removesuffix('()')!r}{hint} expected one of: {', '.join(sorted(shown))}"
