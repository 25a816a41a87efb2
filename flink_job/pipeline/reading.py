"""Reads a pipeline file: YAML, environment variables, overrides, and errors that say what to do."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from flink_job.pipeline.errors import explain
from flink_job.pipeline.spec import Pipeline

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")


class PipelineProblem(ValueError):
    """A pipeline file that cannot be used.

    Attributes:
        problems: one line each: the key, what is wrong with it and what is allowed.
    """

    def __init__(self, origin: str, problems: Sequence[str]) -> None:
        super().__init__("\n".join(f"{origin}: {problem}" for problem in problems))
        self.problems = list(problems)


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
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as problem:
        raise PipelineProblem(str(path), [f"cannot be read: {problem}"]) from None
    try:
        document = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as problem:
        raise PipelineProblem(str(path), [f"not YAML: {_yaml_problem(problem)}"]) from None
    if not isinstance(document, dict):
        raise PipelineProblem(str(path), ["expected a mapping of keys such as name, source, event, metrics"])
    try:
        for override in overrides:
            _override(document, override)
        document = _substitute(document, os.environ if environment is None else environment)
    except ValueError as problem:
        raise PipelineProblem(str(path), [str(problem)]) from None
    try:
        return Pipeline.model_validate(document)
    except ValidationError as problem:
        raise PipelineProblem(str(path), explain(problem, document)) from None


class _UniqueKeys(yaml.SafeLoader):
    """YAML without surprises: a key that is there twice is an error, not the last one."""


def _mapping(loader: _UniqueKeys, node: yaml.MappingNode) -> dict[Any, Any]:
    loader.flatten_mapping(node)
    seen: dict[Any, Any] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if not isinstance(key, str | int | float | bool | None):
            raise yaml.constructor.ConstructorError(
                None, None, "expected a word as key, got a list or mapping", key_node.start_mark
            )
        if key in seen:
            raise yaml.constructor.ConstructorError(
                None, None, f"key {key!r} is there twice", key_node.start_mark
            )
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_UniqueKeys.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)


def _yaml_problem(problem: yaml.YAMLError) -> str:
    mark = getattr(problem, "problem_mark", None)
    what = getattr(problem, "problem", None) or str(problem)
    return what if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {what}"


def _override(document: dict[str, Any], override: str) -> None:
    """Set one value of the document, in place."""
    path, sign, text = override.partition("=")
    if not sign or not path:
        raise ValueError(f"--set: expected KEY=VALUE such as source.path=events.json, got {override!r}")
    *parents, last = path.split(".")
    place: Any = document
    for part in parents:
        place = _step(place, part, override)
    try:
        value = yaml.load(text, Loader=_UniqueKeys)
    except yaml.YAMLError as problem:
        raise ValueError(f"--set {path}: not YAML: {_yaml_problem(problem)}") from None
    if isinstance(place, list):
        place[_index(place, last, override)] = value
    else:
        place[last] = value


def _step(place: Any, part: str, override: str) -> Any:
    if isinstance(place, list):
        return place[_index(place, part, override)]
    if place.get(part) is None:
        place[part] = {}
    if not isinstance(place[part], dict | list):
        raise ValueError(f"--set {override}: {part} is a value, not a mapping or list")
    return place[part]


def _index(items: list[Any], part: str, override: str) -> int:
    names = [item.get("name") if isinstance(item, dict) else None for item in items]
    if part in names:
        return names.index(part)
    if part.isdigit() and int(part) < len(items):
        return int(part)
    raise ValueError(f"--set {override}: expected a number below {len(items)} or a name, got {part!r}")


def _substitute(value: Any, environment: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _substitute(item, environment) for key, item in value.items()}
    if isinstance(value, list):
        return [_substitute(item, environment) for item in value]
    if not isinstance(value, str):
        return value

    def replacement(match: re.Match[str]) -> str:
        name, default = match[1], match[2]
        if name not in environment and default is None:
            raise ValueError(
                f"the environment variable {name} is not set; set it or write ${{{name}:-default}}"
            )
        return environment.get(name, default)

    return _VARIABLE.sub(replacement, value)
