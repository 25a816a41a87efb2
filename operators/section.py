"""What every part of the pipeline file that holds numbers has in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, BeforeValidator, model_validator
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """A part of the pipeline file: true and false are no numbers in it, as they would be for pydantic."""

    @model_validator(mode="before")
    @classmethod
    def _truth_is_no_number(cls, given: Any) -> Any:
        """Give fields for numbers the words true and false, which are then refused as any other word."""
        if not isinstance(given, dict) or not any(map(_has_truths, given.values())):
            return given
        fields = {key: field for name, field in cls.model_fields.items() for key in (name, field.alias)}
        return {
            key: _in_words(value) if key in fields and _is_for_numbers(fields[key]) else value
            for key, value in given.items()
        }


def _has_truths(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_has_truths, value)))


def _in_words(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_in_words(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else value


def _is_for_numbers(field: FieldInfo) -> bool:
    """Return whether a field takes numbers and no truth values, and does not read what is given by itself."""
    kinds = {*_kinds(field.annotation), *map(type, field.metadata)}
    return not kinds.isdisjoint((int, float)) and kinds.isdisjoint((bool, BeforeValidator))


def _kinds(annotation: Any) -> Iterator[type]:
    """Yield the types that a type is made of; of values in it, such as those of a literal, their types."""
    yield annotation if isinstance(annotation, type) else type(annotation)
    for part in get_args(annotation):
        yield from _kinds(part)
