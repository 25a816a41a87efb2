"""Random expressions over random rows agree with DuckDB, wherever the dialects mean the same.

Where they do not, the oracle is asked for what this language promises: arithmetic that does not fit is null.
"""

from __future__ import annotations

import math
from functools import cache

import duckdb
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.expressions import compile_expression

COLUMNS = {"a": "long", "b": "long", "x": "double", "y": "double", "s": "string", "t": "string", "p": "bool"}
POLARS = {"long": pl.Int64, "double": pl.Float64, "string": pl.String, "bool": pl.Boolean}
SQL = {"long": "BIGINT", "double": "DOUBLE", "string": "VARCHAR", "bool": "BOOLEAN"}
MACROS = """
    CREATE MACRO whole(v) AS TRY_CAST(v AS BIGINT);
    CREATE MACRO finite(v) AS CASE WHEN isfinite(v) THEN v END;
"""

longs = st.one_of(
    st.integers(-9, 9), st.integers(-9, 9), st.sampled_from([2**63 - 1, -(2**63), 2**62, -(2**32)])
)
doubles = st.one_of(st.integers(-20, 20).map(lambda n: n / 4), st.sampled_from([1e308, -1e308, 1e-300, 0.1]))
texts = st.text("aAbé日%_'\n.\\", max_size=4)
VALUES = {"long": longs, "double": doubles, "string": texts, "bool": st.booleans()}
# One value in four or so is null: with more, most expressions are null and prove nothing.
SOMETIMES_NULL = {type_: st.one_of(values, values, values, st.none()) for type_, values in VALUES.items()}
rows = st.lists(st.tuples(*(SOMETIMES_NULL[type_] for type_ in COLUMNS.values())), min_size=3, max_size=9)

Pair = tuple[str, str]  # the expression in this language, and what the oracle is asked


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def literal(type_: str, value: object) -> Pair:
    if value is None:
        return "null", f"CAST(NULL AS {SQL[type_]})"
    if type_ == "string":
        return quoted(str(value)), quoted(str(value))
    if type_ == "bool":
        return str(value).lower(), str(value).lower()
    return repr(value), f"CAST('{value!r}' AS {SQL[type_]})"


@cache
def expressions(type_: str, depth: int) -> st.SearchStrategy[Pair]:
    names = [name for name, column in COLUMNS.items() if column == type_]
    columns = st.sampled_from([(name, name) for name in names])
    leaves = columns | columns | SOMETIMES_NULL[type_].map(lambda value: literal(type_, value))
    if depth == 0:
        return leaves
    inner = {other: expressions(other, depth - 1) for other in COLUMNS.values()}
    return st.one_of(leaves, *_compound(type_, inner))


def _compound(type_: str, inner: dict[str, st.SearchStrategy[Pair]]) -> list[st.SearchStrategy[Pair]]:
    same = inner[type_]
    joined = st.tuples(same, same).map(
        lambda p: (f"coalesce({p[0][0]}, {p[1][0]})", f"coalesce({p[0][1]}, {p[1][1]})")
    )
    if type_ == "long":
        return [joined, _long_arithmetic(same), inner["string"].map(lambda p: _call("length", p))]
    if type_ == "double":
        return [joined, *_double_arithmetic(same, inner["long"])]
    if type_ == "string":
        return [joined, *(same.map(lambda p, name=name: _call(name, p)) for name in ("lower", "upper"))]
    return [joined, *_predicates(inner)]


def _call(name: str, *arguments: Pair) -> Pair:
    return tuple(f"{name}({', '.join(side)})" for side in zip(*arguments, strict=True))  # type: ignore[return-value]


def _long_arithmetic(operands: st.SearchStrategy[Pair]) -> st.SearchStrategy[Pair]:
    def make(left: Pair, operator: str, right: Pair) -> Pair:
        wide = f"{left[1]}::HUGEINT", f"{right[1]}::HUGEINT"
        if operator == "abs":
            return f"abs({left[0]})", f"whole(abs({wide[0]}))"
        if operator == "negate":
            return f"-({left[0]})", f"whole(0 - {wide[0]})"
        divisor = f"nullif({wide[1]}, 0)" if operator == "%" else wide[1]
        return f"({left[0]} {operator} {right[0]})", f"whole({wide[0]} {operator} {divisor})"

    return st.builds(make, operands, st.sampled_from(["+", "-", "*", "%", "abs", "negate"]), operands)


def _double_arithmetic(
    doubles: st.SearchStrategy[Pair], longs: st.SearchStrategy[Pair]
) -> list[st.SearchStrategy[Pair]]:
    def make(left: Pair, operator: str, right: Pair) -> Pair:
        divisor = f"nullif({right[1]}::DOUBLE, 0)" if operator in "/%" else f"{right[1]}::DOUBLE"
        return f"({left[0]} {operator} {right[0]})", f"finite({left[1]}::DOUBLE {operator} {divisor})"

    signs = st.sampled_from(["+", "-", "*", "/", "%"])
    return [
        st.builds(make, doubles, signs, doubles),
        st.builds(make, doubles, signs, longs),
        st.builds(make, longs, st.just("/"), longs),
        doubles.map(lambda p: (f"abs(-({p[0]}))", f"abs(-({p[1]}))")),
    ]


def _predicates(inner: dict[str, st.SearchStrategy[Pair]]) -> list[st.SearchStrategy[Pair]]:
    def binary(left: Pair, operator: str, right: Pair) -> Pair:
        return f"({left[0]} {operator} {right[0]})", f"({left[1]} {operator} {right[1]})"

    def within(operand: Pair, word: str, type_: str, items: list[object]) -> Pair:
        written = [literal(type_, item) for item in items]
        lists = [", ".join(side) for side in zip(*written, strict=True)]
        return f"({operand[0]} {word} ({lists[0]}))", f"({operand[1]} {word} ({lists[1]}))"

    bools = inner["bool"]
    comparisons = st.sampled_from(["=", "!=", "<>", "<", "<=", ">", ">="])
    words, nulls = st.sampled_from(["in", "NOT IN"]), st.sampled_from(["is null", "IS NOT NULL"])
    made = [
        st.builds(binary, bools, st.sampled_from(["and", "or", "AND", "="]), bools),
        bools.map(lambda p: (f"(not {p[0]})", f"(not {p[1]})")),
        st.builds(binary, inner["long"], comparisons, inner["double"]),
        st.builds(
            binary,
            inner["string"],
            st.sampled_from(["like", "not like"]),
            texts.map(lambda t: (quoted(t),) * 2),
        ),
        st.builds(lambda s, t: _call("starts_with", s, t), inner["string"], inner["string"]),
    ]
    for type_ in ("long", "double", "string"):
        some = inner[type_]
        items = st.lists(SOMETIMES_NULL[type_], min_size=1, max_size=4)
        made += [
            st.builds(binary, some, comparisons, some),
            st.builds(within, some, words, st.just(type_), items),
            st.builds(lambda p, word: (f"({p[0]} {word})", f"({p[1]} {word})"), some, nulls),
            st.builds(
                lambda v, low, high: tuple(f"({v[i]} between {low[i]} and {high[i]})" for i in (0, 1)),
                some,
                some,
                some,
            ),
        ]
    return made


@cache
def oracle() -> duckdb.DuckDBPyConnection:
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(MACROS)
    return connection


def same(ours: object, theirs: object) -> bool:
    if isinstance(ours, float) and isinstance(theirs, float):
        return math.isclose(ours, theirs, rel_tol=1e-12, abs_tol=1e-300)
    return ours == theirs and type(ours) is type(theirs)


@settings(max_examples=800, deadline=None)
@given(
    rows=rows,
    case=st.sampled_from(["bool", "bool", "long", "long", "double", "string"]).flatmap(
        lambda type_: st.tuples(st.just(type_), expressions(type_, 3))
    ),
)
def test_random_expressions_agree_with_an_sql_engine(
    rows: list[tuple[object, ...]], case: tuple[str, Pair]
) -> None:
    type_, (text, asked) = case
    schema = {name: POLARS[column] for name, column in COLUMNS.items()}
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    ours = compile_expression(text, COLUMNS, expect=type_).evaluate(frame).to_list()
    cells = ", ".join(
        "("
        + ", ".join(literal(column, value)[1] for column, value in zip(COLUMNS.values(), row, strict=True))
        + ")"
        for row in rows
    )
    query = f"SELECT {asked} FROM (VALUES {cells}) events({', '.join(COLUMNS)})"
    theirs = [row[0] for row in oracle().execute(query).fetchall()]
    assert all(same(*both) for both in zip(ours, theirs, strict=True)), (text, ours, theirs)
