"""The layout of a line of JSON: what is the same in every line like it, and where the values are."""

from __future__ import annotations

import re
from typing import NamedTuple

from operators.parsing.strict_json import Leaf

_TOKEN = re.compile(rb'"[^"]*"|[{}\[\],: ]|[^"{}\[\],: ]+')
LONGEST_LITERAL = 64
"""Bytes that a literal may have: it is compared in one window."""

_LONGEST_LINE = 8192
_MOST_SLOTS = 128


class Slot(NamedTuple):
    """A value of a layout.

    Attributes:
        quoted: whether the value stands between quotes.
        leaf: number of the declared leaf it belongs to, or None.
        type: string, long, double or bool; `null` where only null may stand; `any` for undeclared values.
        size: bytes of the value in the line the layout was learned from.
    """

    quoted: bool
    leaf: int | None
    type: str
    size: int


class Template(NamedTuple):
    """A layout: `literals[0] value literals[1] value ... literals[-1]`.

    The literals hold keys, punctuation and spaces, the quotes of quoted values included. A line made of
    these literals, of quoted values without quote, backslash or control character, and of well-formed
    unquoted ones, is the same JSON document but for the values.
    """

    literals: tuple[bytes, ...]
    slots: tuple[Slot, ...]


def learn_template(line: bytes, leaves: list[Leaf]) -> Template | None:
    """Takes the layout of one line.

    Args:
        line: one event that the strict decoder accepts, in valid UTF-8, without backslash or control
            character.
        leaves: the declared leaves.

    Returns:
        The layout, or None if it is not worth one: too long, no value, or a key twice in one object.
    """
    if len(line) > _LONGEST_LINE:
        return None
    reader = _Reader(leaves)
    for token in _TOKEN.findall(line):
        if not reader.take(token):
            return None
    literals = (*reader.literals, bytes(reader.literal))
    if not 0 < len(reader.slots) <= _MOST_SLOTS or max(map(len, literals)) > LONGEST_LITERAL:
        return None
    return Template(literals, tuple(reader.slots))


class _Reader:
    """Walks over the tokens of a line that is known to be valid."""

    def __init__(self, leaves: list[Leaf]) -> None:
        self.literals: list[bytes] = []
        self.slots: list[Slot] = []
        self.literal = bytearray()
        self._leaf_of = {leaf.path: number for number, leaf in enumerate(leaves)}
        self._types = [leaf.type for leaf in leaves]
        self._inner = {leaf.path[:depth] for leaf in leaves for depth in range(1, len(leaf.path))}
        self._open: list[tuple[tuple[str, ...] | None, set[bytes] | None]] = []
        self._path: tuple[str, ...] | None = ()
        self._wants_key = False

    def take(self, token: bytes) -> bool:
        """Takes the next token; false if the line makes no template."""
        if token in (b"{", b"["):
            is_object = token == b"{"
            self._open.append((self._path, set()) if is_object else (None, None))
            self._wants_key = is_object
            if not is_object:
                self._path = None
        elif token in (b"}", b"]"):
            self._open.pop()
            self._wants_key = False
        elif token == b",":
            self._wants_key = self._open[-1][1] is not None
        elif token[:1] == b'"' and self._wants_key:
            return self._take_key(token)
        elif token not in (b":", b" "):
            self._take_value(token)
            return True
        self.literal += token
        return True

    def _take_key(self, token: bytes) -> bool:
        path, keys = self._open[-1]
        if keys is None or token in keys:
            return False
        keys.add(token)
        self._path = None if path is None else (*path, token[1:-1].decode())
        self._wants_key = False
        self.literal += token
        return True

    def _take_value(self, token: bytes) -> None:
        quoted = token[:1] == b'"'
        path = self._path if self._open[-1][1] is not None else None
        leaf = None if path is None else self._leaf_of.get(path)
        if leaf is not None:
            # A null in the place of a string has no quotes: nothing else may stand there.
            kind = "null" if self._types[leaf] == "string" and not quoted else self._types[leaf]
        else:
            kind = "null" if path in self._inner else "any"
        self.literals.append(bytes(self.literal + (b'"' if quoted else b"")))
        self.literal = bytearray(b'"' if quoted else b"")
        self.slots.append(Slot(quoted, leaf, kind, len(token) - 2 * quoted))
