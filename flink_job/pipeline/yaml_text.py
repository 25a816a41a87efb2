"""Reads YAML that may be wrong in any way: what cannot be used is told in one line, with line and column."""

from __future__ import annotations

import itertools
import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

MAX_LENGTH = 2_000_000
"""Characters of a text."""
MAX_DEPTH = 100
"""Levels of lists and mappings within each other."""
MAX_VALUES = 100_000
"""Values and keys, with each alias counted as what it stands for."""
MAX_CHARACTERS = 10 * MAX_LENGTH
"""Characters of all values and keys, with each alias counted as what it stands for."""
_MAX_NUMBER_LENGTH = 400
_TAG = "tag:yaml.org,2002:"
_KINDS = {
    "null": "null", "bool": "true or false", "int": "a number", "float": "a number", "timestamp": "a time",
    "str": "text", "seq": "a list", "map": "a mapping",
}  # fmt: skip
# PyYAML quotes what it found: a token (<scalar>), a character, or a name that may be part of a secret.
_QUOTED_NAME = re.compile(r""" (?:['"])(?!<|\\?.['"]).*""", re.DOTALL)


class YamlProblem(ValueError):
    """A text that is no YAML, or more than can be read."""


def read_yaml(text: str) -> Any:
    """Return what a text says: mappings, lists, texts, numbers, truth values, dates, None.

    A value that is named by several aliases is one object. There is no other tag than those of JSON's values
    and of times, and no key twice in a mapping.

    Raises:
        YamlProblem: with line and column; what the text says there is not in the message, but for a key that
            is there twice.
    """
    if len(text) > MAX_LENGTH:
        raise YamlProblem(f"expected at most {MAX_LENGTH:,} characters, got {len(text):,}")
    try:
        return yaml.load(text, Loader=_Loader)
    except ReaderError as problem:
        before = text[: problem.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        told = f"character U+{problem.character:04X} is not allowed"
        raise YamlProblem(f"line {line}, column {column}: {told}") from None
    except yaml.MarkedYAMLError as problem:
        mark, told = problem.problem_mark or problem.context_mark, problem.problem or problem.context
        if not isinstance(problem, _Wrong):
            told = "an anchor of this name was there before" if "anchor" in (problem.context or "") else told
            told = f"{problem.context}, {told}" if told.startswith("but ") else told
            told = _QUOTED_NAME.sub("", told)
        raise YamlProblem(f"line {mark.line + 1}, column {mark.column + 1}: {told}") from None


class _Wrong(ConstructorError):
    """What is refused here, in words of our own."""

    def __init__(self, problem: str, node: Node) -> None:
        super().__init__(None, None, problem, node.start_mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with bounds, and without surprises."""

    depth = 0
    left = MAX_VALUES

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Read one value, unless it is nested too deep or one too many."""
        self.depth, self.left = self.depth + 1, self.left - 1
        if self.left < 0:
            mark = self.peek_event().start_mark
            raise ConstructorError(None, None, f"expected at most {MAX_VALUES:,} values, got more", mark)
        if self.depth > MAX_DEPTH:
            mark = self.peek_event().start_mark
            raise ConstructorError(None, None, f"expected at most {MAX_DEPTH} levels, got more", mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self) -> Node | None:
        """Read the document, unless it is too much once its aliases stand for what they name."""
        node = super().get_single_node()
        if node is not None:
            _measure(node, {})
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Make a value; what PyYAML cannot make of a scalar is told by its place, whatever it raises."""
        kind = node.tag.removeprefix(_TAG)
        if kind in ("merge", "value"):  # a bare << or = that stands for itself
            kind, node.tag = "str", f"{_TAG}str"
        if kind not in _KINDS:
            raise _Wrong("unknown tag; expected plain text, numbers, lists and mappings", node)
        if kind in ("int", "float") and len(str(node.value)) > _MAX_NUMBER_LENGTH:
            raise _Wrong(f"expected a number of at most {_MAX_NUMBER_LENGTH} digits", node)
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception:  # ValueError, KeyError, AttributeError: whatever its constructors stumble over
            told = f"cannot be read as {_KINDS[kind]}; put it in quotes if it is text"
            raise _Wrong(told, node) from None

    def mapping(self, node: MappingNode) -> dict[Any, Any]:
        """Make a mapping: a key that is there twice is an error, not the last one."""
        own: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_TAG}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise _Wrong("expected a word as key, got something else", key_node)
            if key in own:
                raise _Wrong(f"key {key!r:.60} is there twice", key_node)
            own.add(key)
        self.flatten_mapping(node)  # what is merged comes first, so that own values take its place
        return {
            self.construct_object(key, deep=True): self.construct_object(value, deep=True)
            for key, value in node.value
        }


_Loader.add_constructor(f"{_TAG}map", _Loader.mapping)


def _measure(node: Node, known: dict[Node, tuple[int, int] | None]) -> tuple[int, int]:
    """Return how many values and characters a node stands for, aliases as often as they are named."""
    if node in known:
        size = known[node]
        if size is None:
            raise _Wrong("a value that contains itself", node)
        return size
    known[node] = None
    if isinstance(node, ScalarNode):
        size = 1, len(node.value)
    else:
        parts = node.value if isinstance(node, SequenceNode) else itertools.chain(*node.value)
        sizes = [_measure(part, known) for part in parts]
        size = 1 + sum(values for values, _ in sizes), sum(characters for _, characters in sizes)
    for found, most, of in zip(size, (MAX_VALUES, MAX_CHARACTERS), ("values", "characters"), strict=True):
        if found > most:
            raise _Wrong(f"expected at most {most:,} {of}, aliases written out; got more", node)
    known[node] = size
    return size
