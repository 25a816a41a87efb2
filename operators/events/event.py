"""The ``event`` section of the pipeline file: what an event is and when it happened."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal, get_args

import polars as pl
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    PlainSerializer,
    WithJsonSchema,
    field_validator,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from operators.durations import DurationMs, DurationMsOrOff, is_off
from operators.events.event_time import (
    NUMERIC_UNITS,
    format_time,
    pattern_names_offset,
    pattern_problem,
    read_event_time,
    zone_exists,
)
from operators.expressions import ExpressionError, compile_expression

ColumnType = Literal["string", "long", "double", "bool"]
"""Type of a field."""

_NAME: Final = re.compile(r"[^\W\d]\w*")


def _read_min_time(given: object) -> int | None:
    """Epoch milliseconds of a date or date-time (a local one is UTC), None for off."""
    if is_off(given):
        return None
    # YAML makes a date or date-time of a bare one.
    text = given.isoformat() if isinstance(given, date) else given
    if isinstance(text, str):
        (time_ms,) = read_event_time(pl.Series([text if len(text) > 10 else f"{text}T00:00:00"]), "iso8601")
        if time_ms is not None:
            return time_ms
    raise ValueError(f"expected a date such as 1970-01-01, a date-time, or off, got {given!r:.60}")


def _write_min_time(time_ms: int | None) -> str:
    return "off" if time_ms is None else format_time(time_ms)


MinTimeMs = Annotated[
    int | None,
    BeforeValidator(_read_min_time),
    PlainSerializer(_write_min_time, return_type=str),
    WithJsonSchema({"anyOf": [{"type": "string", "examples": ["1970-01-01", "off"]}, {"const": False}]}),
]
"""A date or date-time held as epoch milliseconds, or off held as None."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class FieldSpec(_Section):
    """A field of the payload: where it is and its type."""

    path: str = Field(min_length=1, description="Name in the payload; dots lead into nested objects.")
    type: ColumnType

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """A bare type is a field too, which the section it is in spells out."""
        spelled_out = handler.resolve_ref_schema(handler(core_schema))
        return {"anyOf": [{"type": "string", "enum": list(get_args(ColumnType))}, spelled_out]}


class DeriveSpec(_Section):
    """A column made from columns: ``{expr}`` or ``{from, extract, all}``."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["expr"]}, {"required": ["from", "extract"]}]},
        serialize_by_alias=True,
        populate_by_name=False,
    )

    expr: str | None = None
    source: str | None = Field(default=None, alias="from")
    extract: str | None = Field(default=None, description="A regular expression; its group is the value.")
    all: bool = Field(default=False, description="Every match is a value: several values an event.")

    @model_validator(mode="after")
    def _one_form(self) -> DeriveSpec:
        extracts = self.source is not None and self.extract is not None
        partly = self.source is not None or self.extract is not None or self.all
        if (self.expr is None) == (not extracts) or (self.expr is not None and partly):
            raise ValueError("expected {expr: ...} or {from: ..., extract: ..., all: true or false}")
        if self.extract is not None:
            _check_regex(self.extract)
        return self


class TimeSpec(_Section):
    """When an event happened: ``{field, unit, zone}`` or ``{kafka_timestamp: true}``."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["field", "unit"]}, {"required": ["kafka_timestamp"]}]}
    )

    field: str | None = None
    unit: str | None = Field(default=None, description="s, ms, us, iso8601, or a strptime pattern.")
    zone: str | None = Field(default=None, description="IANA zone of local times.")
    kafka_timestamp: Literal[True] | None = None

    @model_validator(mode="after")
    def _one_form(self) -> TimeSpec:
        by_field = self.field is not None and self.unit is not None
        partly = self.field is not None or self.unit is not None or self.zone is not None
        if bool(self.kafka_timestamp) == by_field or (self.kafka_timestamp and partly):
            raise ValueError("expected {field: ..., unit: ...} or {kafka_timestamp: true}")
        if self.unit is not None:
            _check_unit(self.unit, self.zone)
        return self


class EventSpec(_Section):
    """The ``event`` section, checked as a whole: every name exists and every type fits."""

    fields: dict[str, FieldSpec] = Field(min_length=1)
    derive: dict[str, DeriveSpec] = Field(default_factory=dict)
    time: TimeSpec
    out_of_orderness: DurationMs = Field(default="5s")
    idle_timeout: DurationMs = Field(default="30s")
    on_idle: Literal["wait", "advance"] = "wait"
    min_time: MinTimeMs = Field(default="1970-01-01")
    max_future: DurationMsOrOff = Field(default="1h")
    require: tuple[str, ...] = ()
    checks: tuple[str, ...] = ()

    @field_validator("fields", mode="before")
    @classmethod
    def _spell_out_fields(cls, given: Any) -> Any:
        """A bare type stands for a field of that type under its own name."""
        if not isinstance(given, Mapping):
            return given
        return {
            name: {"path": name, "type": field} if isinstance(field, str) else field
            for name, field in given.items()
        }

    @field_validator("idle_timeout")
    @classmethod
    def _some_idle_timeout(cls, duration_ms: int) -> int:
        if duration_ms == 0:
            raise ValueError("expected a duration above 0, got 0s")
        return duration_ms

    @model_validator(mode="after")
    def _fits_together(self) -> EventSpec:
        for key, names in (("fields", self.fields), ("derive", self.derive)):
            for name in names:
                if not _NAME.fullmatch(name):
                    raise ValueError(
                        f"{key}.{name}: expected a name of letters, digits and _, not starting with a digit "
                        f"(fields: use {{path: ..., type: ...}} for another name in the payload)"
                    )
        columns = self._check_derived()
        self._check_time(columns)
        for name in self.require:
            _expect_column("require", name, columns)
        for number, text in enumerate(self.checks):
            _check_expression(f"checks[{number}]", text, columns, "bool")
        return self

    def column_types(self) -> dict[str, str]:
        """Type of every column: fields first, then derived ones, in their order.

        Returns:
            string, long, double or bool; ``list`` for a derived column with several texts an event.
        """
        columns: dict[str, str] = {name: field.type for name, field in self.fields.items()}
        for name, derived in self.derive.items():
            if derived.expr is not None:
                columns[name] = compile_expression(derived.expr, columns).type
            else:
                columns[name] = "list" if derived.all else "string"
        return columns

    def _check_derived(self) -> dict[str, str]:
        """Checks derived columns one after another, each against those before it."""
        columns: dict[str, str] = {name: field.type for name, field in self.fields.items()}
        for name, derived in self.derive.items():
            if name in self.fields:
                raise ValueError(f"derive.{name}: expected a name that no field has, got that of a field")
            if derived.expr is not None:
                columns[name] = _check_expression(f"derive.{name}.expr", derived.expr, columns, None)
                continue
            _expect_column(f"derive.{name}.from", str(derived.source), columns)
            if columns[str(derived.source)] != "string":
                raise ValueError(
                    f"derive.{name}.from: expected a column of type string, got {derived.source} of type "
                    f"{columns[str(derived.source)]}"
                )
            columns[name] = "list" if derived.all else "string"
        return columns

    def _check_time(self, columns: Mapping[str, str]) -> None:
        if self.time.field is None:
            return
        _expect_column("time.field", self.time.field, columns)
        type_ = columns[self.time.field]
        allowed = ("long", "double", "string") if self.time.unit in NUMERIC_UNITS else ("string",)
        if type_ not in allowed:
            raise ValueError(
                f"time.field: expected a column of type {' or '.join(allowed)} for unit {self.time.unit}, "
                f"got {self.time.field} of type {type_}"
            )


def _check_regex(pattern: str) -> None:
    try:
        groups = len(pl.Series([""]).str.extract_groups(pattern).struct.fields)
    except pl.exceptions.PolarsError as problem:
        reason = str(problem).strip().splitlines()[-1].removeprefix("error: ")
        raise ValueError(
            f"extract: expected a regular expression (look-around and back-references are not supported), "
            f"got {pattern!r:.60}: {reason}"
        ) from None
    if groups > 1:
        raise ValueError(
            f"extract: expected one group or none, got {groups}; (?:...) is a group without a value"
        )


def _check_unit(unit: str, zone: str | None) -> None:
    if unit in NUMERIC_UNITS:
        if zone is not None:
            raise ValueError(f"zone: expected with unit iso8601 or a strptime pattern only, got unit {unit}")
        return
    if "%" in unit:
        problem = pattern_problem(unit)
        if problem is not None:
            raise ValueError(f"unit: {problem}, got {unit!r:.60}")
        if zone is not None and pattern_names_offset(unit):
            raise ValueError(f"zone: expected no zone with a pattern that reads an offset, got {zone!r:.60}")
    elif unit != "iso8601":
        raise ValueError(f"unit: expected s, ms, us, iso8601 or a strptime pattern, got {unit!r:.60}")
    if zone is not None and not zone_exists(zone):
        raise ValueError(f"zone: expected an IANA zone such as Europe/London, got {zone!r:.60}")


def _check_expression(key: str, text: str, columns: Mapping[str, str], expect: str | None) -> str:
    """The type of an expression; one that reads no column says the same of every event and is refused."""
    try:
        expression = compile_expression(text, columns, expect)
    except ExpressionError as problem:
        raise ValueError(f"{key}: {problem}") from None
    if not expression.columns:
        raise ValueError(f"{key}: expected an expression over columns, got {text!r:.60}")
    return expression.type


def _expect_column(key: str, name: str, columns: Iterable[str]) -> None:
    names = list(columns)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f" (did you mean {close[0]}?)" if close else ""
        raise ValueError(f"{key}: expected one of {', '.join(names)}, got {name!r:.60}{hint}")
