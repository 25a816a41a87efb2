"""Text that may be YAML: what is read, and that nothing wrong in it is more than one line with its place."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from flink_job.cli import main
from flink_job.pipeline.reading import PipelineProblem, load_pipeline
from flink_job.pipeline.yaml_text import MAX_DEPTH, MAX_LENGTH, YamlProblem, read_yaml

RIGHT = Path(__file__).parent.parent.parent / "pipelines" / "fraud.yaml"
NINE_LINES = "a0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 9)
)
MERGED = "a0: &a0 {x: 1, y: 2}\n" + "".join(
    f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 9)
)
LONG_TEXTS = f"a: &a {'x' * 100_000}\nb: [{', '.join(['*a'] * 1000)}]\n"
WRONG = [
    (NINE_LINES, "line 6, column 5: expected at most 100,000 values, aliases written out; got more"),
    (MERGED, "expected at most 100,000 values"),
    (LONG_TEXTS, "expected at most 20,000,000 characters, aliases written out"),
    ("a: [" + "1," * 100_000 + "]", "line 1, column 199999: expected at most 100,000 values, got more"),
    ("a: " + "[" * 300 + "]" * 300, "line 1, column 103: expected at most 100 levels"),
    ("a: " + "{a: " * 300 + "}" * 300, "expected at most 100 levels"),
    ("a: !!int abc", "line 1, column 4: cannot be read as a number; put it in quotes"),
    ("a: !!float abc", "line 1, column 4: cannot be read as a number"),
    ("a: !!bool abc", "line 1, column 4: cannot be read as true or false"),
    ("a: !!timestamp abc", "line 1, column 4: cannot be read as a time"),
    ("a: !!binary '#'", "line 1, column 4: unknown tag"),
    ("a: !!set {b}", "line 1, column 4: unknown tag"),
    ("a: !!python/name:os.system x", "line 1, column 4: unknown tag"),
    ("a: !!int [1]", "line 1, column 4: expected a scalar node"),
    ("name: 2026-02-31", "line 1, column 7: cannot be read as a time; put it in quotes if it is text"),
    ("name: 2026-02-01T25:00:00Z", "line 1, column 7: cannot be read as a time"),
    ("a: 0x_", "line 1, column 4: cannot be read as a number"),
    ("a: 0b_", "line 1, column 4: cannot be read as a number"),
    (f"a: {'9' * 20_000}", "line 1, column 4: expected a number of at most 400 digits"),
    (f"a: 0x{'f' * 20_000}", "line 1, column 4: expected a number of at most 400 digits"),
    ("a: &a [*a]", "line 1, column 4: a value that contains itself"),
    ("a: &a {b: {c: *a}}", "line 1, column 4: a value that contains itself"),
    ("? [a]\n: 1", "line 1, column 3: expected a word as key"),
    ("? 2026-01-01\n: 1", "line 1, column 3: expected a word as key"),
    ("a: 1\na: 2", "line 2, column 1: key 'a' is there twice"),
    ("<<: 1", "line 1, column 5: expected a mapping or list of mappings for merging"),
    ("password: *s3cr3t", "line 1, column 11: found undefined alias"),
    ("password: !s3cr3t x", "line 1, column 11: unknown tag"),
    ("a: &s3cr3t 1\nb: &s3cr3t 2", "line 2, column 4: an anchor of this name was there before"),
    ("a: \x00", "line 1, column 4: character U+0000 is not allowed"),
    ("a: b\n\tc: d", "line 2, column 1: found character '\\t' that cannot start any token"),
    ("--- a\n--- b", "line 2, column 1: expected a single document in the stream"),
    ("x" * (MAX_LENGTH + 1), "expected at most 2,000,000 characters, got 2,000,001"),
]  # fmt: skip
SHORT = [(text, told) for text, told in WRONG if len(text) < 100_000]


@pytest.mark.parametrize(("text", "told"), WRONG, ids=[told[:50] for _, told in WRONG])
def test_what_cannot_be_read_is_told_in_one_line_with_its_place(text: str, told: str) -> None:
    began = time.process_time()
    with pytest.raises(YamlProblem) as raised:
        read_yaml(text)
    assert told in str(raised.value) and "\n" not in str(raised.value) and "s3cr3t" not in str(raised.value)
    assert time.process_time() - began < 30


@pytest.mark.parametrize(("text", "told"), SHORT, ids=[told[:50] for _, told in SHORT])
def test_the_command_ends_with_two_where_the_file_or_set_has_it(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(text)
    ran = CliRunner().invoke(main, ["check", str(path)])
    assert ran.exit_code == 2 and ran.output.startswith(f"{path}: not YAML: ") and told in ran.output
    assert len(ran.output.splitlines()) == 1 and "Traceback" not in ran.output and "s3cr3t" not in ran.output
    path.write_text("name: shop")
    ran = CliRunner().invoke(main, ["check", str(path), "--set", f"source.path={text}"])
    assert ran.exit_code == 2 and f"{path}: --set source.path: not YAML: line" in ran.output
    assert len(ran.output.splitlines()) == 1 and "Traceback" not in ran.output and "s3cr3t" not in ran.output


@pytest.mark.parametrize(
    "text",
    [
        "base: &base {x: 1, y: [2]}\na: *base\nb: {<<: *base, z: 3}\nc: {<<: [*base, {y: 5, w: 6}]}\n",
        "base: &base {x: 1, y: 2}\na: {<<: *base, x: 3}",
        "a: [1, -0x1f, 0o17, 1_000, 1.5e3, .inf, true, no, null, ~, 2026-01-01, 2026-01-01T10:00:00Z, 1:30]",
        "a: 'x'\nb: \"\\u00e9\"\nc: |\n  two\n  lines\nd: >-\n  one\n  line\n", 
        "a: &x text\nb: [*x, *x]", "", "a", "[]",
        "a: " + "[" * (MAX_DEPTH - 2) + "]" * (MAX_DEPTH - 2),
    ],
)  # fmt: skip
def test_what_is_right_is_read_as_pyyaml_reads_it(text: str) -> None:
    assert read_yaml(text) == yaml.safe_load(text)


def test_a_bare_equals_sign_and_merge_sign_are_text() -> None:
    assert read_yaml("delimiter: =\nother: <<") == {"delimiter": "=", "other": "<<"}


def test_what_set_puts_below_an_alias_changes_only_that_place(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        "name: shop\nsource: {type: file, path: e}\n"
        "event: {fields: {ts: long}, time: {field: ts, unit: ms}}\n"
        "metrics:\n- &n {name: n, kind: count, windows: [{tumbling: 1m}]}\n- {<<: *n, name: m}\n"
    )
    pipeline = load_pipeline(path, ["metrics.m.windows.0.tumbling=5m"])
    assert [metric.windows[0].tumbling for metric in pipeline.metrics] == [60_000, 300_000]


def test_twenty_problems_are_told_and_the_rest_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    path.write_text(json.dumps({f"key{n}{'x' * 900 if n < 9 else ''}": n for n in range(2000)}))
    ran = CliRunner().invoke(main, ["check", str(path)])
    lines = ran.output.splitlines()
    # Source, event and name are missing besides.
    assert ran.exit_code == 2 and len(lines) == 21 and lines[-1] == f"{path}: and 1,983 more"
    assert len(ran.output) < 20 * 1000


def test_a_file_without_end_is_not_read_to_its_end() -> None:
    ran = CliRunner().invoke(main, ["check", "/dev/zero"])
    assert (ran.exit_code, ran.output) == (
        2,
        "/dev/zero: not YAML: expected at most 8,000,000 bytes, got more\n",
    )


def test_a_key_of_set_may_not_be_nested_without_end(tmp_path: Path) -> None:
    ran = CliRunner().invoke(main, ["check", str(RIGHT), "--set", "a" + ".a" * 5000 + "=1"])
    assert ran.exit_code == 2 and "expected at most 20 dots in a key" in ran.output


YAML_LIKE = st.lists(
    st.sampled_from([
        "a", "b", ": ", "- ", "\n", "  ", "[", "]", "{", "}", ", ", "&a ", "*a", "<<: ",
        "!!int ", "!!float ", "!!str ",
        "!!timestamp ", "!", "? ", "|\n", ">\n", "'", '"', "#", "%", "@", "0x", "0b", "_", "1",
        ":30", "2026-02-3", ".",
        "e9", "-", "=", "~", "true", "${A}", "${", "}", "---\n", "...\n", "\t", "é", "\x85", "\ufeff",
        "name", "metrics",
        "event", "source", "alerts",
    ]),
    max_size=40,
).map("".join)  # fmt: skip


def only_a_problem(path: Path, *overrides: str) -> None:
    """Expect that a file is right or told as wrong, shortly."""
    try:
        load_pipeline(path, overrides, {"A": "it's"})
    except PipelineProblem as problem:
        assert len(str(problem)) < 20_000 and "pydantic" not in str(problem)
        assert len(str(problem).splitlines()) == len(problem.problems) <= 21


@settings(max_examples=100, deadline=None)
@given(YAML_LIKE)
def test_any_text_is_read_or_told_as_wrong(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8")
    only_a_problem(path)
    only_a_problem(RIGHT, f"source.path={text}")


VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(["5m", "count"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_right_file_with_anything_in_one_place_is_read_or_told_as_wrong(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    document = yaml.safe_load(RIGHT.read_text())
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(VALUES)
    path = tmp_path_factory.getbasetemp() / "changed.yaml"
    path.write_text(yaml.safe_dump(document, allow_unicode=True), encoding="utf-8")
    only_a_problem(path)
