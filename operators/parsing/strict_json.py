"""One JSON event at a time, strictly: the meaning that every faster path must reproduce.

A declared field takes null (or absence) and exactly its own JSON type: `string` a string, `double` any
number that a double can hold, `long` a number without a fraction that fits 64 bits (so `5.0` and `1e3` are
longs), `bool` true or false. Anything else is `wrong_type`. What is not one JSON object in valid UTF-8 is
`malformed_json`. The last of equal keys wins. Undeclared values must be valid JSON and are ignored.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, NamedTuple

import msgspec

from operators.parsing.parsed import FieldPaths

_LONG_MIN, _LONG_MAX = -(2**63), 2**63 - 1
_PYTHON_TYPES: dict[str, Any] = {
    "string": str,
    "long": Annotated[int, msgspec.Meta(ge=_LONG_MIN, le=_LONG_MAX)],
    "double": float,
    "bool": bool,
}
_NULL = msgspec.Raw(b"null")
_DEEPEST_PATH = 32
_TOO_DEEP = "nested too deeply"


class Leaf(NamedTuple):
    """A declared place in the document: the keys that lead to it and its type.

    Attributes:
        path: the keys, outermost first.
        type: string, long, double or bool.
        name: the first declared field that reads it, for messages.
    """

    path: tuple[str, ...]
    type: str
    name: str


class BadEvent(ValueError):
    """An event that is no event: `reason` and `detail` of the reject it becomes."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


def plan_leaves(fields: FieldPaths) -> tuple[list[Leaf], dict[str, int]]:
    """Finds the distinct places that fields read.

    Args:
        fields: the declared fields; a path is keys separated by dots.

    Returns:
        The leaves, and for each field the number of its leaf.

    Raises:
        ValueError: two fields want one place with different types or as value and as object, or a path has
            an empty key or more than 32 keys.
    """
    leaves: list[Leaf] = []
    numbers: dict[tuple[str, ...], int] = {}
    leaf_of: dict[str, int] = {}
    for name, (dotted, type_name) in fields.items():
        path = tuple(dotted.split("."))
        if not all(path) or len(path) > _DEEPEST_PATH:
            raise ValueError(f"field {name}: expected a path of 1 to 32 keys such as a.b, got {dotted!r}")
        if path not in numbers:
            numbers[path] = len(leaves)
            leaves.append(Leaf(path, type_name, name))
        leaf_of[name] = numbers[path]
        if leaves[leaf_of[name]].type != type_name:
            first = leaves[leaf_of[name]]
            got = f"{first.type} and {type_name}"
            raise ValueError(f"fields {first.name} and {name}: expected one type for {dotted}, got {got}")
    for path, number in numbers.items():
        for depth in range(1, len(path)):
            if path[:depth] in numbers:
                names = f"{leaves[numbers[path[:depth]]].name} and {leaves[number].name}"
                place = ".".join(path[:depth])
                raise ValueError(f"fields {names}: {place} cannot be both a value and an object")
    return leaves, leaf_of


class StrictJson:
    """Decodes single events into the values of the declared leaves."""

    def __init__(self, leaves: list[Leaf]) -> None:
        self._root = _Node(leaves, list(range(len(leaves))), depth=0)
        self._leaves = leaves
        self._decode = msgspec.json.Decoder(self._root.typed).decode

    def decode(self, raw: bytes) -> Any:
        """Decodes one event.

        Args:
            raw: the bytes of one JSON document.

        Returns:
            A record to be given to `columns`.

        Raises:
            BadEvent: the event is a reject.
        """
        if not raw.isascii():
            _check_utf8(raw)
        try:
            return self._decode(raw)
        except msgspec.ValidationError:
            return self._root.build(self._explain(raw))
        except msgspec.DecodeError as error:
            raise BadEvent("malformed_json", _cause(error)) from None
        except RecursionError:
            raise BadEvent("malformed_json", _TOO_DEEP) from None

    def columns(self, records: list[Any]) -> list[list[Any]]:
        """Turns decoded records into one list of Python values a leaf, in the order of the leaves."""
        columns: list[list[Any]] = [[] for _ in self._leaves]
        self._root.collect(records, columns)
        return columns

    def _explain(self, raw: bytes) -> dict[int, Any]:
        """Reads leaf by leaf, slowly: says what is wrong, or finds that nothing is (the last key wins)."""
        tokens: dict[int, bytes] = {}
        wrong: dict[int, str] = {}
        self._root.find(raw, tokens, wrong)
        values: dict[int, Any] = {}
        for number, leaf in enumerate(self._leaves):
            if number in wrong:
                raise BadEvent("wrong_type", f"field {leaf.name}: {wrong[number]}")
            values[number] = _leaf_value(leaf, tokens.get(number, b"null"))
        return values


def integral_long(text: str) -> int | None:
    """Reads the text of a number exactly as a 64-bit integer.

    Args:
        text: a decimal number, with a fraction or an exponent or without.

    Returns:
        The integer, or None if the number has a fraction, does not fit, or is no number.
    """
    try:
        number = Decimal(text)
        if (
            not number.is_finite()
            or not _LONG_MIN <= number <= _LONG_MAX
            or number != number.to_integral_value()
        ):
            return None
        return int(number)
    except (InvalidOperation, ValueError):
        return None


class _Node:
    """An object of the document that holds leaves: what to decode it with, fast (typed) and slowly (raw)."""

    def __init__(self, leaves: list[Leaf], numbers: list[int], depth: int) -> None:
        keys: dict[str, list[int]] = {}
        for number in numbers:
            keys.setdefault(leaves[number].path[depth], []).append(number)
        self._leaf_of: dict[str, int] = {}
        self._children: dict[str, tuple[_Node, list[int]]] = {}
        self._path = ".".join(leaves[numbers[0]].path[:depth])
        typed: list[tuple[str, Any, Any]] = []
        raw: list[tuple[str, Any, Any]] = []
        for position, below in enumerate(keys.values()):
            attribute = f"f{position}"
            if len(leaves[below[0]].path) == depth + 1:
                self._leaf_of[attribute] = below[0]
                typed.append((attribute, _PYTHON_TYPES[leaves[below[0]].type] | None, None))
            else:
                child = _Node(leaves, below, depth + 1)
                self._children[attribute] = (child, below)
                typed.append((attribute, child.typed | None, None))
            raw.append((attribute, msgspec.Raw, _NULL))
        rename = {f"f{position}": key for position, key in enumerate(keys)}
        self.typed = msgspec.defstruct("Event", typed, rename=rename, gc=False)
        self._raw = msgspec.json.Decoder(msgspec.defstruct("RawEvent", raw, rename=rename, gc=False))

    def find(self, raw: bytes, tokens: dict[int, bytes], wrong: dict[int, str]) -> None:
        """Collects the token of every leaf under this object, which `raw` is."""
        try:
            record = self._raw.decode(raw)
        except msgspec.ValidationError:
            raise BadEvent("malformed_json", f"expected an object, got {_json_type(raw.lstrip())}") from None
        except msgspec.DecodeError as error:
            raise BadEvent("malformed_json", _cause(error)) from None
        except RecursionError:
            raise BadEvent("malformed_json", _TOO_DEEP) from None
        for attribute, number in self._leaf_of.items():
            tokens[number] = bytes(getattr(record, attribute))
        for attribute, (child, below) in self._children.items():
            token = bytes(getattr(record, attribute))
            if token.startswith(b"{"):
                child.find(token, tokens, wrong)
            elif token != b"null":
                wrong.update(
                    dict.fromkeys(below, f"expected an object at {child._path}, got {_json_type(token)}")
                )

    def build(self, values: dict[int, Any]) -> Any:
        """Makes the record that the typed decoder would have made of these values."""
        attributes = {attribute: values[number] for attribute, number in self._leaf_of.items()}
        for attribute, (child, _) in self._children.items():
            attributes[attribute] = child.build(values)
        return self.typed(**attributes)

    def collect(self, records: list[Any], columns: list[list[Any]]) -> None:
        """Fills the columns of the leaves under this object; a record may be None."""
        for attribute, number in self._leaf_of.items():
            columns[number] = [getattr(record, attribute, None) for record in records]
        for attribute, (child, _) in self._children.items():
            child.collect([getattr(record, attribute, None) for record in records], columns)


def _leaf_value(leaf: Leaf, token: bytes) -> Any:
    if token == b"null":
        return None
    try:
        return msgspec.json.decode(token, type=_PYTHON_TYPES[leaf.type])
    except msgspec.DecodeError:
        got = _json_type(token)
    if got == "number":
        value = integral_long(token.decode()) if leaf.type == "long" else None
        if value is not None:
            return value
        got = {"long": "a number with a fraction or out of range", "double": "a number out of range"}.get(
            leaf.type, got
        )
    raise BadEvent("wrong_type", f"field {leaf.name}: expected {leaf.type}, got {got}")


def _check_utf8(raw: bytes) -> None:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        raise BadEvent("malformed_json", f"invalid UTF-8 (byte {error.start})") from None


def _cause(error: msgspec.DecodeError) -> str:
    text = str(error)
    if text.startswith("Input data was truncated"):
        return "truncated"
    return text.removeprefix("JSON is malformed: ")


def _json_type(token: bytes) -> str:
    names = {b'"': "string", b"{": "object", b"[": "array", b"t": "bool", b"f": "bool", b"n": "null"}
    return names.get(token[:1], "number")
