"""Items as they come: a JSON object each, checked and turned into an id and a vector of length 1."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from operators.ingest.source_batch import Position, payload_fields
from operators.similar.answerer import Answerer, ItemId
from operators.similar.similar_spec import FileItems
from operators.similar.text_encoder import HashingEncoder, TextEncoder

BAD_ITEM, BAD_VECTOR = "bad_item", "bad_vector"
_decode = msgspec.json.Decoder().decode


class BadItem(ValueError):
    """An item that cannot be used.

    Args:
        reason: `bad_item` or `bad_vector`.
        detail: what was expected, and what was got.
    """

    def __init__(self, reason: str, detail: str) -> None:
        """Keep both apart."""
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


class ItemsProblem(ValueError):
    """Files of items that cannot be read; says which key, which file and why."""


@dataclass(frozen=True)
class ItemChange:
    """What one line or message says of an item.

    Attributes:
        item: its id.
        vector: `(d,) float32` of length 1; None where the item is taken away.
    """

    item: ItemId
    vector: np.ndarray | None


class ItemReader:
    """Reads items of one catalogue.

    Args:
        answerer: says which keys are read, and of what type ids are.
        encoder: makes vectors of texts; default: by hashing.
    """

    def __init__(self, answerer: Answerer, encoder: TextEncoder | None = None) -> None:
        """Take the keys."""
        spec = answerer.spec
        self._item, self._vector, self._text = spec.item, spec.vector, spec.text
        self._dimension, self._id_type = spec.dimension, answerer.id_type
        self._encoder = encoder or HashingEncoder(spec.dimension)

    def read(self, value: bytes | None, key: bytes | None = None) -> ItemChange:
        """Read one item.

        Args:
            value: a JSON object; None takes away the item that `key` names.
            key: the key of a message; it names the item where the object does not.

        Raises:
            BadItem: where it cannot be used.
        """
        fields = {} if value is None else _object(value)
        item = self._id(fields, key)
        if value is None:
            return ItemChange(item, None)
        name = self._vector if self._text is None else self._text
        if name not in fields:
            raise BadItem(BAD_VECTOR, f"key {name}: is missing")
        given = fields[name]
        if given is None:
            return ItemChange(item, None)
        vector = self._of_numbers(given) if self._text is None else self._of_text(given)
        return ItemChange(item, vector)

    def _id(self, fields: dict[str, Any], key: bytes | None) -> ItemId:
        if fields.get(self._item) is not None:
            return self._checked_id(fields[self._item])
        if key is None:
            raise BadItem(BAD_ITEM, f"key {self._item}: is missing")
        try:
            text = key.decode()
        except UnicodeDecodeError:
            raise BadItem(BAD_ITEM, "message key: expected text in UTF-8") from None
        if self._id_type == "string":
            return text
        try:
            return self._checked_id(int(text))
        except ValueError:
            raise BadItem(BAD_ITEM, "message key: expected a whole number, got text") from None

    def _checked_id(self, given: object) -> ItemId:
        if self._id_type == "string":
            if not isinstance(given, str):
                raise BadItem(BAD_ITEM, f"key {self._item}: expected text, got {_shown(given)}")
        elif type(given) is not int or not -(2**63) <= given < 2**63:
            raise BadItem(
                BAD_ITEM, f"key {self._item}: expected a whole number of 64 bits, got {_shown(given)}"
            )
        return given

    def _of_numbers(self, given: object) -> np.ndarray:
        where = f"key {self._vector}: expected a list of {self._dimension} numbers"
        if not isinstance(given, list):
            raise BadItem(BAD_VECTOR, f"{where}, got {_shown(given)}")
        if len(given) != self._dimension:
            raise BadItem(BAD_VECTOR, f"{where}, got {len(given)}")
        if not set(map(type, given)) <= {int, float}:
            wrong = next(entry for entry in given if type(entry) not in (int, float))
            raise BadItem(BAD_VECTOR, f"{where}, got {_shown(wrong)} in it")
        try:
            vector = np.array(given, np.float64)
        except OverflowError:
            vector = np.full(self._dimension, np.inf)
        if not np.isfinite(vector).all():
            raise BadItem(BAD_VECTOR, f"{where}, got one that is not finite")
        unit = unit_vector(vector)
        if unit is None:
            raise BadItem(BAD_VECTOR, f"{where}, not all of them 0, which is no direction")
        return unit

    def _of_text(self, given: object) -> np.ndarray:
        if not isinstance(given, str):
            raise BadItem(BAD_VECTOR, f"key {self._text}: expected text, got {_shown(given)}")
        (vector,) = self._encoder.encode([given])
        if not vector.any():
            raise BadItem(BAD_VECTOR, f"key {self._text}: expected text with a word, got {_shown(given)}")
        return vector


def unit_vector(vector: np.ndarray) -> np.ndarray | None:
    """Return a finite vector with length 1, `(d,) float32`; None where it has no direction."""
    largest = np.abs(vector).max()
    if largest == 0:
        return None
    # Squares of what is very large or small would not fit.
    scaled = vector.astype(np.float64) / largest
    return (scaled / np.linalg.norm(scaled)).astype(np.float32)


def item_paths(items: FileItems) -> list[Path]:
    """Return the files of items by name.

    Raises:
        ItemsProblem: there is none.
    """
    paths = sorted(Path(path) for path in glob(items.path, recursive=True) if Path(path).is_file())
    if not paths:
        raise ItemsProblem(f"items.path: no file matches {items.path!r}")
    return paths


def read_files(
    items: FileItems, reader: ItemReader
) -> Iterator[tuple[bytes, Position, ItemChange | BadItem]]:
    """Yield each line of the files that is not empty, where it is, and what it says or why it cannot be used.

    Raises:
        ItemsProblem: a file cannot be read.
    """
    for path in item_paths(items):
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                for number, line in enumerate(file, 1):
                    payload = line.rstrip(b"\r\n")
                    if payload.strip():
                        yield payload, {"file": str(path), "line": number}, _outcome(reader, payload)
        except (OSError, EOFError) as problem:
            raise ItemsProblem(f"items.path: {path} cannot be read: {problem}") from problem


def reject(name: str, bad: BadItem, payload: bytes | None, position: Position) -> bytes:
    """Return an item that cannot be used as the reject output has it.

    Args:
        name: of the entry whose catalogue it was for.
        bad: why.
        payload: the line, or the value of the message.
        position: where it is from.
    """
    told = {"reason": bad.reason, "detail": bad.detail, "answer": name}
    return msgspec.json.encode(told | payload_fields(payload) | position)


def _outcome(reader: ItemReader, payload: bytes) -> ItemChange | BadItem:
    try:
        return reader.read(payload)
    except BadItem as bad:
        return bad


def _object(value: bytes) -> dict[str, Any]:
    try:
        found = _decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Numbers that are not finite are no JSON; many write them all the same, and they are told as such.
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            raise BadItem(BAD_ITEM, "expected a JSON object, got none") from None
    if not isinstance(found, dict):
        raise BadItem(BAD_ITEM, f"expected a JSON object, got {_shown(found)}")
    return found


def _shown(given: object) -> str:
    """Return what was got by its type: what users wrote is in the reject's payload, not in its detail."""
    names = {
        dict: "an object", list: "a list", bool: "true or false", type(None): "null", str: "text",
    }  # fmt: skip
    return names.get(type(given), "a number")
