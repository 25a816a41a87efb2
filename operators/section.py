"""Base model of pipeline file sections, which does not accept booleans as numbers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel, BeforeValidator, model_validator
from pydantic.fields import FieldInfo


class Section(BaseModel):
    """A section of the pipeline file; pydantic alone would accept true and false as 1 and 0."""

    @model_validator(mode="before")
    @classmethod
    def _refuse_booleans_as_numbers(cls, given: Any) -> Any:
        """Replace booleans in number fields by the texts true and false, which validation then refuses."""
        if not isinstance(given, dict) or not any(map(_has_booleans, given.values())):
            return given
        fields = {key: field for name, field in cls.model_fields.items() for key in (name, field.alias)}
        return {
            key: _booleans_as_text(value) if key in fields and _is_for_numbers(fields[key]) else value
            for key, value in given.items()
        }


def _has_booleans(value: Any) -> bool:
    return isinstance(value, bool) or (isinstance(value, list | tuple) and any(map(_has_booleans, value)))


def _booleans_as_text(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_booleans_as_text(item) for item in value]
    return str(value).lower() if isinstance(value, bool) else value


def _is_for_numbers(field: FieldInfo) -> bool:
    """Return whether a field takes numbers but no booleans, and has no before-validator of its own."""
    kinds = {*_types_in(field.annotation), *map(type, field.metadata)}
    return not kinds.isdisjoint((int, float)) and kinds.isdisjoint((bool, BeforeValidator))


def _types_in(annotation: Any) -> Iterator[type]:
    """Yield the types in a (generic) annotation; for values in it, as in a Literal, their types."""
    yield annotation if isinstance(annotation, type) else type(annotation)
    for part in get_args(annotation):
        yield from _types_in(part)
