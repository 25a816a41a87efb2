"""From the text of an expression to its syntax tree."""

from __future__ import annotations

from functools import cache
from typing import Final

from lark import Lark, Token, Transformer, UnexpectedInput, v_args
from lark.exceptions import UnexpectedCharacters, UnexpectedToken

from operators.expressions.syntax import (
    LONG_MIN,
    MAX_LENGTH,
    Call,
    Column,
    ExpressionError,
    Literal,
    Node,
    Refusal,
)

# `and` and `or` take any number of operands so that a long chain is not deep. Comparisons do not chain.
_GRAMMAR: Final = r"""
?start: any_of
?any_of: all_of (_OR all_of)*
?all_of: negation (_AND negation)*
?negation: predicate
    | NOT negation -> negation
?predicate: sum
    | sum COMPARISON sum -> binary
    | sum IS NULL -> is_null
    | sum IS NOT NULL -> is_not_null
    | sum IN "(" any_of ("," any_of)* ")" -> within
    | sum NOT IN "(" any_of ("," any_of)* ")" -> not_within
    | sum LIKE sum -> binary
    | sum NOT LIKE sum -> not_like
    | sum BETWEEN sum _AND sum -> between
    | sum NOT BETWEEN sum _AND sum -> not_between
?sum: product
    | sum (PLUS | MINUS) product -> binary
?product: unary
    | product (TIMES | DIVIDE | MODULO) unary -> binary
?unary: atom
    | MINUS unary -> negate
?atom: STRING -> string
    | LONG -> long
    | DOUBLE -> double
    | TRUE -> true
    | FALSE -> false
    | NULL -> null
    | NAME "(" [any_of ("," any_of)*] ")" -> function
    | NAME -> column
    | QUOTED -> quoted_column
    | "(" any_of ")"

_OR.2: /or\b/i
_AND.2: /and\b/i
NOT.2: /not\b/i
IS.2: /is\b/i
IN.2: /in\b/i
LIKE.2: /like\b/i
BETWEEN.2: /between\b/i
TRUE.2: /true\b/i
FALSE.2: /false\b/i
NULL.2: /null\b/i
COMPARISON: /<=|>=|<>|!=|=|<|>/
PLUS: "+"
MINUS: "-"
TIMES: "*"
DIVIDE: "/"
MODULO: "%"
STRING: /'(?:[^']|'')*'/
QUOTED: /"(?:[^"]|"")+"/
DOUBLE.1: /(?:[0-9]+\.[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[0-9]+[eE][+-]?[0-9]+/
LONG: /[0-9]+(?![\w])/
NAME: /[^\W\d]\w*/
%ignore /\s+/
"""

_VALUE: Final = "a column, a literal, a function, 'not', '-' or '('"
_NAMES: Final = {
    "_OR": "'or'",
    "_AND": "'and'",
    "COMPARISON": "a comparison (= != < <= > >=)",
    "PLUS": "'+'",
    "MINUS": "'-'",
    "TIMES": "'*'",
    "DIVIDE": "'/'",
    "MODULO": "'%'",
    "LPAR": "'('",
    "RPAR": "')'",
    "COMMA": "','",
    "$END": "the end",
}


def parse(text: str) -> Node:
    """Reads an expression.

    Args:
        text: The expression, at most ``MAX_LENGTH`` characters.

    Returns:
        Its syntax tree.

    Raises:
        ExpressionError: With the position of the first thing that does not fit and what may stand there.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(text, 0, f"expected at most {MAX_LENGTH} characters, got {len(text)}")
    try:
        return _parser().parse(text)  # type: ignore[return-value]
    except Refusal as refusal:
        raise ExpressionError(text, refusal.position, refusal.problem) from None
    except UnexpectedInput as problem:
        position, message = _explain(problem, text)
        raise ExpressionError(text, position, message) from None


@v_args(inline=True)
class _Build(Transformer):
    """Makes a node of each rule as soon as it is complete, which needs no recursion over the tree."""

    def string(self, token: Token) -> Literal:
        return Literal(token[1:-1].replace("''", "'"), "string", _at(token))

    def long(self, token: Token) -> Literal:
        # One more than the largest long is let through here for the sake of its negative; the check of types
        # refuses it where no minus stands before it.
        if len(token) > 40 or int(token) > 2**63:
            raise Refusal(_at(token), "expected a long of at most 64 bits, or a double such as 1e20")
        return Literal(int(token), "long", _at(token))

    def double(self, token: Token) -> Literal:
        value = float(token)
        if value == float("inf"):
            raise Refusal(_at(token), "expected a double of at most 1.7976931348623157e308")
        return Literal(value, "double", _at(token))

    def true(self, token: Token) -> Literal:
        return Literal(True, "bool", _at(token))

    def false(self, token: Token) -> Literal:
        return Literal(False, "bool", _at(token))

    def null(self, token: Token) -> Literal:
        return Literal(None, "null", _at(token))

    def column(self, token: Token) -> Column:
        return Column(str(token), _at(token))

    def quoted_column(self, token: Token) -> Column:
        return Column(token[1:-1].replace('""', '"'), _at(token))

    def function(self, token: Token, *arguments: Node | None) -> Call:
        given = tuple(argument for argument in arguments if argument is not None)
        return Call(token.lower() + "()", given, _at(token))

    def negate(self, token: Token, operand: Node) -> Node:
        # The smallest long has no opposite: its is null, as with a column that has that value.
        if isinstance(operand, Literal) and operand.type in ("long", "double") and operand.value != LONG_MIN:
            return Literal(-operand.value, operand.type, _at(token))  # type: ignore[operator]
        return Call("negate", (operand,), _at(token))

    def binary(self, left: Node, token: Token, right: Node) -> Call:
        operator = token.lower()
        if operator in ("!=", "<>"):
            return _not(Call("=", (left, right), _at(token)))
        return Call(operator, (left, right), _at(token))

    def is_null(self, operand: Node, token: Token, _: Token) -> Call:
        return Call("is null", (operand,), _at(token))

    def is_not_null(self, operand: Node, token: Token, *_: Token) -> Call:
        return _not(Call("is null", (operand,), _at(token)))

    def within(self, operand: Node, token: Token, *items: Node) -> Call:
        return Call("in", (operand, *items), _at(token))

    def not_within(self, operand: Node, token: Token, _: Token, *items: Node) -> Call:
        return _not(Call("in", (operand, *items), _at(token)))

    def not_like(self, left: Node, token: Token, _: Token, right: Node) -> Call:
        return _not(Call("like", (left, right), _at(token)))

    def between(self, operand: Node, token: Token, low: Node, high: Node) -> Call:
        at_least = Call(">=", (operand, low), _at(token))
        return Call("and", (at_least, Call("<=", (operand, high), _at(token))), _at(token))

    def not_between(self, operand: Node, token: Token, _: Token, low: Node, high: Node) -> Call:
        return _not(self.between(operand, token, low, high))

    def negation(self, token: Token, operand: Node) -> Call:
        return Call("not", (operand,), _at(token))

    def any_of(self, *operands: Node) -> Call:
        return Call("or", operands, operands[1].position)

    def all_of(self, *operands: Node) -> Call:
        return Call("and", operands, operands[1].position)


@cache
def _parser() -> Lark:
    return Lark(_GRAMMAR, parser="lalr", lexer="basic", transformer=_Build(), maybe_placeholders=False)


def _at(token: Token) -> int:
    return token.start_pos or 0


def _not(call: Call) -> Call:
    return Call("not", (call,), call.position)


def _explain(problem: UnexpectedInput, text: str) -> tuple[int, str]:
    """The position and the message of what the parser stumbled over."""
    if isinstance(problem, UnexpectedCharacters):
        position = problem.pos_in_stream
        if text[position] in "'\"":
            return position, f"expected a closing {text[position]}, got the end"
        if text[position].isdigit():
            return position, f"expected a number, got {text[position : position + 10]!r}"
        return position, f"expected {_VALUE} or an operator, got {text[position]!r}"
    if isinstance(problem, UnexpectedToken):
        ended = problem.token.type == "$END"
        position = len(text) if ended else _at(problem.token)
        got = "the end" if ended else repr(str(problem.token))
        return position, f"expected {_allowed(problem.accepts or problem.expected)}, got {got}"
    return 0, "cannot be read"


def _allowed(terminals: set[str]) -> str:
    """What may stand at a place, in words."""
    names = {_NAMES.get(name, f"'{name.lower()}'") for name in terminals}
    if "STRING" in terminals:
        return _VALUE + (" or ')'" if "RPAR" in terminals else "")
    return ", ".join(sorted(names, key=lambda name: (name.startswith("'"), name)))
