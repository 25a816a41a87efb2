"""The `format` key of the pipeline file: how the bytes of a payload are to be read."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

_NAMES = ("json", "ndjson", "csv")
_ALLOWED = (
    "json, ndjson, csv or {type: csv, columns: [...], header: ..., delimiter: ..., quote: ..., "
    "null_values: [...]}"
)


csv.field_size_limit(2**31 - 1)  # record size is limited elsewhere; the module's default is 128 KiB


class CsvFormat(BaseModel):
    """CSV: one record a payload.

    Args:
        columns: names of the fields of a record in their order; None to take them from the header line.
        header: whether the first record of each file names the columns. The file reader strips it, and
            passes its names to `with_columns` where there are no `columns`. Default: true when `columns` is
            left out.
        delimiter: one ASCII character between two fields.
        quote: one ASCII character around a field that contains delimiters, newlines or (doubled) quotes; None
            for files without quoted fields, in which quotes are literal.
        null_values: texts of a field that mean null, compared exactly.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["csv"] = "csv"
    columns: tuple[str, ...] | None = Field(default=None, min_length=1)
    header: bool | None = None
    delimiter: str = ","
    quote: str | None = '"'
    null_values: tuple[str, ...] = ("",)

    @field_validator("delimiter", "quote")
    @classmethod
    def _one_ascii_character(cls, value: str | None) -> str | None:
        if value is not None and (len(value) != 1 or not value.isascii() or value in "\r\n\0"):
            raise ValueError(f"expected one ASCII character that ends no line, got {value!r}")
        return value

    @model_validator(mode="after")
    def _columns_are_known(self) -> CsvFormat:
        if self.delimiter == self.quote:
            raise ValueError(
                f"delimiter and quote: expected two different characters, got {self.quote!r} twice"
            )
        if self.columns is None and self.header is False:
            raise ValueError("columns: expected a list of names, since header is false; got none")
        twice = sorted({name for name in self.columns or () if (self.columns or ()).count(name) > 1})
        if twice:
            raise ValueError(f"columns: expected each name once, got {twice[0]!r} more than once")
        return self

    @property
    def has_header(self) -> bool:
        """Whether the first record of a file names the columns."""
        return self.columns is None if self.header is None else self.header

    def with_columns(self, columns: Sequence[str]) -> CsvFormat:
        """Returns this format with the names that a header line gave, checked like those of the file."""
        return CsvFormat.model_validate({**self.model_dump(), "columns": tuple(columns)})


def _as_spec(value: Any) -> Any:
    if value == "csv":
        return CsvFormat()
    if isinstance(value, str) and value not in _NAMES:
        raise ValueError(f"expected {_ALLOWED}, got {value!r}")
    if isinstance(value, dict) and value.get("type") in ("json", "ndjson"):
        extra = sorted(str(key) for key in value if key != "type")
        if extra:
            raise ValueError(f"{value['type']} takes no options, got {extra[0]!r}")
        return value["type"]
    if isinstance(value, dict) and value.get("type") != "csv":
        raise ValueError(f"expected {_ALLOWED}, got a mapping with type {value.get('type')!r}")
    return value


Format = Literal["json", "ndjson"] | CsvFormat
"""A format as read: `json` and `ndjson` stay strings."""

FormatSpec = Annotated[
    Format, BeforeValidator(_as_spec, json_schema_input_type=Literal["json", "ndjson", "csv"] | CsvFormat)
]
"""The pydantic type of the pipeline file's `format` key; `csv` alone is CSV with a header line."""


def csv_dialect(spec: CsvFormat) -> Any:
    """Returns the `csv` module's dialect of a format; cached, as creating one costs as much as a record."""
    quoting = csv.QUOTE_NONE if spec.quote is None else csv.QUOTE_MINIMAL
    options = {"delimiter": spec.delimiter, "quotechar": spec.quote, "quoting": quoting, "strict": True}
    return csv.reader((), **options).dialect


def csv_reader(text: str, dialect: Any) -> Iterator[list[str]]:
    """Returns a `csv` reader of the records in a text.

    Args:
        text: the records.
        dialect: what `csv_dialect` returned.

    Raises:
        csv.Error: raised by the reader at an invalid record.
    """
    lines = io.StringIO(text, newline="") if "\n" in text or "\r" in text else (text,)
    return csv.reader(lines, dialect)
