"""Reads a pipeline file: YAML, environment variables, overrides, and errors that say what to do."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from flink_job.pipeline.errors import explain
from flink_job.pipeline.overrides import override
from flink_job.pipeline.redaction import substitute
from flink_job.pipeline.spec import Pipeline
from flink_job.pipeline.yaml_text import MAX_LENGTH, YamlProblem, read_yaml

_LINES, _LINE = 20, 600
"""The most problems that a message lists, and the most characters of each."""


class PipelineProblem(ValueError):
    """A pipeline file that cannot be used.

    Attributes:
        problems: one line each: the key, what is wrong with it and what is allowed; beyond the limit of lines
            the last one is the count of the rest.
    """

    def __init__(self, origin: str, problems: Sequence[str]) -> None:
        told = [_in_one_line(problem) for problem in problems[:_LINES]]
        if len(problems) > _LINES:
            told.append(f"and {len(problems) - _LINES:,} more")
        super().__init__("\n".join(f"{origin}: {problem}" for problem in told))
        self.problems = told


def load_pipeline(
    path: Path, overrides: Sequence[str] = (), environment: Mapping[str, str] | None = None
) -> Pipeline:
    """Read and check a pipeline file.

    Args:
        path: the file.
        overrides: `a.b=c`: values that take the place of those in the file; c is YAML. A metric is named by
            its name or its number.
        environment: what `${NAME}` and `${NAME:-default}` stand for; default: the process's own.

    Raises:
        PipelineProblem: with everything that is wrong.
    """
    try:
        document = read_yaml(_text_of(path))
    except (OSError, UnicodeDecodeError) as problem:
        raise PipelineProblem(str(path), [f"cannot be read: {problem}"]) from None
    except YamlProblem as problem:
        raise PipelineProblem(str(path), [f"not YAML: {problem}"]) from None
    if not isinstance(document, dict):
        raise PipelineProblem(str(path), ["expected a mapping of keys such as name, source, event, metrics"])
    try:
        for given in overrides:
            override(document, given)
        taken = substitute(document, os.environ if environment is None else environment)
    except ValueError as problem:
        raise PipelineProblem(str(path), [str(problem)]) from None
    try:
        return Pipeline.model_validate(taken.values)
    except ValidationError as problem:
        raise PipelineProblem(str(path), explain(problem, taken)) from None


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(4 * MAX_LENGTH + 1)
    if len(content) > 4 * MAX_LENGTH:
        raise YamlProblem(f"expected at most {4 * MAX_LENGTH:,} bytes, got more")
    return content.decode("utf-8")


def _in_one_line(problem: str) -> str:
    """Escape line breaks and control characters in a problem, and cut the middle out of a long one."""
    if len(problem) > _LINE:
        problem = f"{problem[: _LINE * 2 // 3]}...{problem[-_LINE // 3 :]}"
    return "".join(character if character.isprintable() else repr(character)[1:-1] for character in problem)
