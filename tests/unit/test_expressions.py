from __future__ import annotations

import threading

import polars as pl
import pytest

from operators.expressions import ExpressionError, compile_expression
from operators.expressions.syntax import MAX_DEPTH, MAX_LENGTH

COLUMNS = {"a": "long", "b": "long", "x": "double", "s": "string", "p": "bool", "tags": "list", "in": "long"}
BIG = 2**63 - 1


def evaluate(text: str, **values: object) -> object:
    """The value of an expression for one row; columns that are not given are null."""
    types = {"a": pl.Int64, "b": pl.Int64, "x": pl.Float64, "s": pl.String, "p": pl.Boolean, "in": pl.Int64}
    frame = pl.DataFrame({name: pl.Series([values.get(name)], dtype=type_) for name, type_ in types.items()})
    frame = frame.with_columns(tags=pl.Series([values.get("tags")], dtype=pl.List(pl.String)))
    return compile_expression(text, COLUMNS).evaluate(frame).to_list()[0]


@pytest.mark.parametrize(
    ("text", "truth"),
    [
        ("null and true", None),
        ("null and false", False),
        ("null or true", True),
        ("null or false", None),
        ("not null", None),
        ("null = null", None),
        ("null is null", True),
        ("1 in (1, null)", True),
        ("2 in (1, null)", None),
        ("2 not in (1, null)", None),
        ("null in (1, 2)", None),
        ("1 between 1 and null", None),
        ("2 between 3 and null", False),
        ("1 + null is null", True),
        ("coalesce(null, 2, 3) = 2", True),
    ],
)
def test_logic_has_three_values(text: str, truth: bool | None) -> None:
    assert compile_expression(text, {}).evaluate(pl.DataFrame({"any": [1]})).to_list() == [truth]


@pytest.mark.parametrize(
    ("a", "b", "remainder"),
    [
        (7, 2, 1),
        (-7, 2, -1),
        (7, -2, 1),
        (-7, -2, -1),
        (6, 3, 0),
        (-6, 3, 0),
        (5, 0, None),
        (-BIG - 1, -1, 0),
    ],
)
def test_the_remainder_has_the_sign_of_the_dividend(a: int, b: int, remainder: int | None) -> None:
    assert evaluate("a % b", a=a, b=b) == remainder
    if abs(a) < 100:
        assert evaluate("(a + 0.0) % b", a=a, b=b) == remainder


def test_a_quotient_is_a_double_and_one_by_zero_is_null() -> None:
    assert evaluate("a / b", a=7, b=2) == 3.5
    assert compile_expression("a / b", COLUMNS).type == "double"
    assert evaluate("a / b", a=7, b=0) is None
    assert evaluate("x / 0.0", x=-1.0) is None
    assert evaluate("x / 0", x=0.0) is None


@pytest.mark.parametrize(
    ("text", "a", "value"),
    [
        ("a + 1", BIG, None),
        ("a - 2", -BIG, None),
        ("a * 2", BIG // 2 + 1, None),
        ("a * a", -BIG - 1, None),
        ("-a", -BIG - 1, None),
        ("abs(a)", -BIG - 1, None),
        ("a + 1", BIG - 1, BIG),
        ("a - 1", -BIG, -BIG - 1),
        ("-a", BIG, -BIG),
        ("a = -9223372036854775808", -BIG - 1, True),
        ("-(-9223372036854775808)", 0, None),
    ],
)
def test_a_long_that_does_not_fit_is_null_and_never_wraps(text: str, a: int, value: object) -> None:
    assert evaluate(text, a=a) == value


def test_a_double_that_is_not_finite_is_null() -> None:
    assert evaluate("x * 10", x=1e308) is None
    assert evaluate("x - x", x=float("inf")) is None
    assert evaluate("x * 10 > 5", x=1e308) is None


def test_precedence_is_that_of_sql() -> None:
    assert evaluate("1 + 2 * 3 = 7 and not 1 = 2 or false") is True
    assert evaluate("2 - 1 - 1 = 0") is True
    assert evaluate("12 / 2 / 3 = 2") is True
    assert evaluate("-a + 3 = 1", a=2) is True
    assert evaluate("not p and p", p=False) is False
    assert evaluate("true or true and false") is True


@pytest.mark.parametrize(
    ("text", "pattern", "matches"),
    [
        ("abc", "abc", True),
        ("abc", "a%", True),
        ("abc", "%c", True),
        ("abc", "%b%", True),
        ("abc", "a_c", True),
        ("abc", "b", False),
        ("abc", "a_", False),
        ("ABC", "a%", False),
        ("a.c", "a.c", True),
        ("abc", "a.c", False),
        ("a\nb\nc", "a%c", True),
        ("a\nc", "a_c", True),
        ("", "%", True),
        ("", "_", False),
        ("日本", "__", True),
        ("a[b](c)*+?{1}|^$\\ #-<>&~", "a[b](c)*+?{1}|^$\\ #-<>&~", True),
        ("xa[b](c)*+?{1}|^$\\ #-<>&~", "_a[b](c)*+?{1}|^$\\ #-<>&~", True),
        ("aab", "a%b%", True),
        ("ab", "a%%b", True),
        ("é", "_", True),
    ],
)
def test_like_matches_the_whole_text_and_only_its_two_wildcards(
    text: str, pattern: str, matches: bool
) -> None:
    assert evaluate(f"s like '{pattern}'", s=text) is matches
    assert evaluate(f"s not like '{pattern}'", s=text) is not matches
    assert evaluate(f"s like '{pattern}'") is None


def test_functions_on_texts() -> None:
    assert evaluate("length(s)", s="日本é") == 3
    assert evaluate("length(s)", s="") == 0
    assert evaluate("upper(s)", s="aé") == "AÉ"
    assert evaluate("LOWER(s)", s="AÉ") == "aé"
    assert evaluate("starts_with(s, 'a.')", s="a.b") is True
    assert evaluate("starts_with(s, 'a.')", s="aab") is False
    assert evaluate("starts_with('abc', s)", s="ab") is True
    assert evaluate("starts_with(s, '')") is None


def test_a_doubled_quote_is_a_quote() -> None:
    assert evaluate("s = 'it''s'", s="it's") is True
    assert evaluate("s = ''''", s="'") is True
    assert evaluate("s = ''", s="") is True


def test_keywords_ignore_case_and_columns_do_not() -> None:
    assert evaluate("A IS NOT NULL OR a iS NuLl".replace("A IS", "a IS")) is True
    with pytest.raises(ExpressionError, match="unknown column 'A', expected one of: a, b"):
        compile_expression("A = 1", {"a": "long", "b": "long"})


def test_a_column_named_like_a_keyword_goes_in_double_quotes() -> None:
    assert evaluate('"in" = 3', **{"in": 3}) is True
    assert compile_expression('"odd ""name"""', {'odd "name"': "long"}).columns == {'odd "name"'}


def test_a_name_that_begins_like_a_keyword_is_a_name() -> None:
    columns = {"order_id": "long", "android": "bool", "isbn": "string", "nothing": "bool", "inn": "long"}
    text = "order_id = 1 and android or isbn = 'x' or nothing and inn = 2"
    assert compile_expression(text, columns).columns == set(columns)


def test_a_multi_valued_column_can_be_asked_for_null_only() -> None:
    assert evaluate("tags is null") is True
    assert evaluate("tags is not null", tags=[]) is True
    for text in ("tags = 'a'", "tags in ('a')", "lower(tags)", "coalesce(tags, 'a')", "not tags", "tags + 1"):
        with pytest.raises(ExpressionError, match="list"):
            compile_expression(text, COLUMNS)


def test_long_and_double_are_both_numbers() -> None:
    assert evaluate("a = 1.0", a=1) is True
    assert evaluate("a < x", a=1, x=1.5) is True
    assert evaluate("a in (1.5, 2)", a=2) is True
    assert evaluate("coalesce(x, a)", a=2) == 2.0
    assert compile_expression("a + x", COLUMNS).type == "double"
    assert compile_expression("a", COLUMNS, expect="double").type == "double"
    assert compile_expression("a + b", COLUMNS).type == "long"


@pytest.mark.parametrize("height", [0, 1, 3])
@pytest.mark.parametrize("text", ["true", "1 + 1", "a in (1, 2)", "a % b", "5 % a", "x / 2", "a = 1 or true"])
def test_there_is_one_value_a_row_whatever_the_batch(text: str, height: int) -> None:
    types = {"a": pl.Int64, "b": pl.Int64, "x": pl.Float64}
    frame = pl.DataFrame({name: pl.Series([1] * height, dtype=type_) for name, type_ in types.items()})
    assert len(compile_expression(text, COLUMNS).evaluate(frame)) == height


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "valeu >= 0",
            r"unknown column 'valeu', did you mean value\? expected one of: s, value \(at character 1 ",
        ),
        (
            "length(s) > 1 and lowr(s) = 'a'",
            r"unknown function 'lowr', did you mean lower\? .*\(at character 19 ",
        ),
        ("sum(value)", "expected one of: abs, coalesce, length, lower, starts_with, upper"),
        ("value = 's'", "'=' expects two of one type, got double and string"),
        ("value in (1, 's')", "'in' expects two of one type, got double and string"),
        ("s + 1", r"'\+' expects long or double, got string"),
        ("not value", "'not' expects bool, got double"),
        ("value and true", "'and' expects bool, got double"),
        ("true < false", "'<' expects string or long or double, got bool"),
        ("lower(value)", r"lower\(\) expects string, got double"),
        ("lower(s, s)", r"lower\(\) expects 1 argument, got 2"),
        ("abs()", r"abs\(\) expects 1 argument, got 0"),
        ("coalesce()", r"coalesce\(\) expects at least 1 argument, got 0"),
        ("s like s", "expected a text in single quotes as the pattern"),
        ("value in (value)", "expected literals in the list of 'in'"),
        ("value >= ", r"expected a column, a literal, a function, 'not', '-' or '\(', got the end"),
        ("value = 1 = 2", "got '=' .at character 11"),
        ("(value = 1", r"expected '\)', got the end"),
        ("s = 'abc", "expected a closing ', got the end"),
        ("value = 12x", "expected a number, got '12x'"),
        ("value ? 1", r"got '\?' .at character 7"),
        ("", "got the end"),
        ("9223372036854775808 = value", "expected a long of at most 64 bits"),
        ("value = 1e999", "expected a double of at most"),
        ("null", "expected an expression that can have a value, got null"),
    ],
)
def test_a_wrong_expression_says_where_and_what_is_allowed(text: str, message: str) -> None:
    with pytest.raises(ExpressionError, match=message):
        compile_expression(text, {"value": "double", "s": "string"})


def test_the_expected_type_is_checked() -> None:
    with pytest.raises(ExpressionError, match="expected an expression of type bool, got long"):
        compile_expression("a + 1", COLUMNS, expect="bool")


@pytest.mark.parametrize("text", ["not " * 5000 + "p", "(" * 4000 + "p", "-" * 5000 + "a", "a" + "+1" * 4000])
def test_deep_nesting_is_a_clear_error(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"levels of nesting|got the end|at most 10000 characters"):
        compile_expression(text, COLUMNS)


def test_too_long_a_text_is_refused() -> None:
    with pytest.raises(ExpressionError, match="expected at most 10000 characters, got 10001"):
        compile_expression("a" * (MAX_LENGTH + 1), COLUMNS)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("not " * (MAX_DEPTH - 2) + "p", True),
        ("a" + " % 7" * (MAX_DEPTH - 1), 1),
        ("x" + " / 1" * (MAX_DEPTH - 1), 1.0),
        (" or ".join(f"a = {n}" for n in range(900)), True),
        ("(" * 4000 + "p" + ")" * 4000, True),
    ],
)
def test_the_deepest_that_is_allowed_runs_in_a_small_thread(text: str, value: object) -> None:
    results: list[object] = []
    size = threading.stack_size(512 * 1024)
    try:
        thread = threading.Thread(target=lambda: results.append(evaluate(text, a=1, x=1.0, p=True)))
        thread.start()
        thread.join()
    finally:
        threading.stack_size(size)
    assert results == [value]
