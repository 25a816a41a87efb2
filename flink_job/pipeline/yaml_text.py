"""Parses untrusted YAML with size limits; errors are one line with line and column, without values."""

from __future__ import annotations

import itertools
import re
from typing import Any

import yaml
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from yaml.reader import ReaderError

MAX_LENGTH = 2_000_000
"""Limit for the characters of a YAML text."""
MAX_DEPTH = 100
"""Limit for the nesting of lists and mappings."""
MAX_VALUES = 100_000
"""Limit for the number of values and keys, with aliases expanded."""
MAX_CHARACTERS = 10 * MAX_LENGTH
"""Limit for the characters of all values and keys, with aliases expanded."""
_MAX_NUMBER_LENGTH = 400
_TAG = "tag:yaml.org,2002:"
_KINDS = {
    "null": "null", "bool": "true or false", "int": "a number", "float": "a number", "timestamp": "a time",
    "str": "text", "seq": "a list", "map": "a mapping",
}  # fmt: skip
# PyYAML quotes what it found: a token (<scalar>), a character, or a name that may be part of a secret.
_QUOTED_NAME = re.compile(r""" (?:['"])(?!<|\\?.['"]).*""", re.DOTALL)


class YamlProblem(ValueError):
    """A text that is invalid YAML or exceeds a limit."""


def read_yaml(text: str) -> Any:
    """Parse a YAML text into mappings, lists, strings, numbers, booleans, dates and None.

    Aliases share one object. Tags other than those of JSON values and timestamps are refused, as are
    duplicate keys.

    Raises:
        YamlProblem: with line and column; the message contains nothing of the text except a duplicate key.
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
        if not isinstance(problem, _Refused):
            told = "an anchor of this name was there before" if "anchor" in (problem.context or "") else told
            told = f"{problem.context}, {told}" if told.startswith("but ") else told
            told = _QUOTED_NAME.sub("", told)
        raise YamlProblem(f"line {mark.line + 1}, column {mark.column + 1}: {told}") from None


class _Refused(ConstructorError):
    """Valid YAML that this reader refuses, with a message of its own rather than PyYAML's."""

    def __init__(self, problem: str, node: Node) -> None:
        super().__init__(None, None, problem, node.start_mark)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with limits on depth and size; it refuses duplicate keys and unknown tags."""

    depth = 0
    left = MAX_VALUES

    def compose_node(self, parent: Node | None, index: Any) -> Node | None:
        """Compose one node; refuse it beyond the depth or value limit."""
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
        """Compose the document; refuse it where it exceeds a limit with its aliases expanded."""
        node = super().get_single_node()
        if node is not None:
            _measure(node, {})
        return node

    def construct_object(self, node: Node, deep: bool = False) -> Any:
        """Construct a value; any error of a PyYAML constructor is raised with line and column."""
        kind = node.tag.removeprefix(_TAG)
        if kind in ("merge", "value"):  # a bare << or = used as a plain string
            kind, node.tag = "str", f"{_TAG}str"
        if kind not in _KINDS:
            raise _Refused("unknown tag; expected plain text, numbers, lists and mappings", node)
        if kind in ("int", "float") and len(str(node.value)) > _MAX_NUMBER_LENGTH:
            raise _Refused(f"expected a number of at most {_MAX_NUMBER_LENGTH} digits", node)
        try:
            return super().construct_object(node, deep)
        except yaml.YAMLError:
            raise
        except Exception:  # PyYAML's constructors raise ValueError, KeyError, AttributeError and more
            told = f"cannot be read as {_KINDS[kind]}; put it in quotes if it is text"
            raise _Refused(told, node) from None

    def mapping(self, node: MappingNode) -> dict[Any, Any]:
        """Construct a mapping; a duplicate key is an error, where PyYAML keeps the last one."""
        own: set[Any] = set()
        for key_node, _ in node.value:
            if key_node.tag == f"{_TAG}merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str | int | float | bool | None):
                raise _Refused("expected a word as key, got something else", key_node)
            if key in own:
                raise _Refused(f"key {key!r:.60} is there twice", key_node)
            own.add(key)
        self.flatten_mapping(node)  # merged keys come first, so that the mapping's own keys override them
        return {
            self.construct_object(key, deep=True): self.construct_object(value, deep=True)
            for key, value in node.value
        }


_Loader.add_constructor(f"{_TAG}map", _Loader.mapping)


def _measure(node: Node, known: dict[Node, tuple[int, int] | None]) -> tuple[int, int]:
    """Return the number of values and characters of a node, each alias counted every time it is used."""
    if node in known:
        size = known[node]
        if size is None:
            raise _Refused("a value that contains itself", node)
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
            raise _Refused(f"expected at most {most:,} {of}, aliases written out; got more", node)
    known[node] = size
    return size
