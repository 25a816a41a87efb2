"""CSV parser: records without quoted fields are split vectorised, the others by Python's `csv` module."""

from __future__ import annotations

import csv
from collections.abc import Callable

import numpy as np
import polars as pl

from operators.parsing.csv_quotes import opening_quotes
from operators.parsing.event_store import texts_from_spans
from operators.parsing.events import Events, whole_payloads
from operators.parsing.formats import CsvFormat, csv_dialect, csv_reader
from operators.parsing.parsed import FieldPaths, Parsed, with_one_zero
from operators.parsing.payloads import Payloads
from operators.parsing.strict_json import integral_long

_LONGEST_SHOWN = 40
_NOT_CLOSED = "expected a quote that closes a quoted field, before a delimiter or a line end; found none"
_BOOLS = {"true": True, "1": True, "false": False, "0": False}


class CsvParser:
    """Reads payloads of one CSV record each.

    A field of `null_values` is null. Blanks around a long, double or bool do not count. A bool is true,
    false (in any case), 1 or 0; a long may be written as `5.0`; a double must be finite. A record with fewer
    fields than columns is a reject, and so is one with more, unless the extra ones are empty.
    """

    def __init__(self, spec: CsvFormat, fields: FieldPaths) -> None:
        """Prepares for the declared fields.

        Raises:
            ValueError: the columns are not known yet, or a field names none of them.
        """
        if spec.columns is None:
            raise ValueError("csv: expected columns, from the pipeline file or a header line; got none")
        for name, (column, _) in fields.items():
            if column not in spec.columns:
                raise ValueError(
                    f"field {name}: expected a column of {', '.join(spec.columns)}; got {column!r}"
                )
        self._spec = spec
        self._blanks = b" \t\r\n".replace(spec.delimiter.encode(), b"")
        self._dialect = csv_dialect(spec)
        self._width = len(spec.columns)
        self._fields = [(name, spec.columns.index(column), kind) for name, (column, kind) in fields.items()]

    def parse(self, payloads: Payloads) -> Parsed:
        """Reads every record of a batch; what cannot be read is a reject, never an exception."""
        events, rejects = whole_payloads(payloads, self._blanks)
        accepted = np.ones(len(events.starts), bool)

        def reject(number: int, reason: str, detail: str) -> None:
            if accepted[number]:
                accepted[number] = False
                rejects.append(events.reject(number, reason, detail))

        texts = self._split(events, reject)
        columns: dict[str, pl.Series] = {}
        for name, column, kind in self._fields:
            columns[name] = _convert(texts[column], name, kind, self._spec.null_values, reject)
        frame = pl.DataFrame(columns)
        row = events.row
        if not accepted.all():
            keep = np.flatnonzero(accepted)
            frame, row = frame[keep], row[keep]
        rejects.sort(key=lambda one: one.row)
        return Parsed(frame, row, None, rejects)

    def _split(self, events: Events, reject: Callable[[int, str, str], None]) -> dict[int, pl.Series]:
        """Returns the texts of the columns that fields read; rejected records are null in them."""
        buffer = np.frombuffer(events.data, np.uint8)
        by_module = self._with_quoted_fields(events) | ~events.in_utf8()
        by_module |= events.holding("\n") | events.holding("\r")
        delimiters = np.flatnonzero(buffer == ord(self._spec.delimiter))
        first = np.searchsorted(delimiters, events.starts)
        found = np.searchsorted(delimiters, events.ends) - first
        by_module |= found >= self._width
        for number in np.flatnonzero(~by_module & (found < self._width - 1)).tolist():
            reject(number, "too_few_fields", f"expected {self._width}, got {int(found[number]) + 1}")
        split = ~by_module & (found == self._width - 1)
        slow = self._read_records(events, np.flatnonzero(by_module), reject)
        return {
            column: self._column(events, column, split, delimiters, first, slow)
            for column in {column for _, column, _ in self._fields}
        }

    def _with_quoted_fields(self, events: Events) -> np.ndarray:
        """Returns which records may contain a quoted field, (n,) bool."""
        quoted = np.zeros(len(events.starts), bool)
        if self._spec.quote is not None and self._spec.quote.encode() in events.data:
            quoted[events.at(opening_quotes(events.data, self._spec.delimiter, self._spec.quote))] = True
        return quoted

    def _column(
        self,
        events: Events,
        column: int,
        split: np.ndarray,
        delimiters: np.ndarray,
        first: np.ndarray,
        slow: dict[int, list[str]],
    ) -> pl.Series:
        begins, ends = events.starts.copy(), events.starts.copy()
        at = first[split] + column
        if column > 0:
            begins[split] = delimiters[at - 1] + 1
        ends[split] = delimiters[at] if column < self._width - 1 else events.ends[split]
        texts = texts_from_spans(events.data, begins, ends, None if split.all() else split)
        if not slow:
            return texts
        order = np.arange(len(texts))
        order[list(slow)] = np.arange(len(texts), len(texts) + len(slow))
        return pl.concat(
            [texts, pl.Series([fields[column] for fields in slow.values()], dtype=pl.String)]
        ).gather(order)

    def _read_records(
        self, events: Events, numbers: np.ndarray, reject: Callable[[int, str, str], None]
    ) -> dict[int, list[str]]:
        records: dict[int, list[str]] = {}
        for number in numbers.tolist():
            try:
                reader = csv_reader(events.raw(number).decode(), self._dialect)
                fields = next(reader)
                more = next(reader, None)
            except UnicodeDecodeError as error:
                reject(number, "malformed_csv", f"invalid UTF-8 (byte {error.start})")
                continue
            except csv.Error as error:
                reject(number, "malformed_csv", _told(error))
                continue
            if more is not None:
                reject(number, "malformed_csv", "expected one record, got more than one line")
            elif len(fields) < self._width:
                reject(number, "too_few_fields", f"expected {self._width}, got {len(fields)}")
            elif any(fields[self._width :]):
                reject(number, "too_many_fields", f"expected {self._width}, got {len(fields)}")
            else:
                records[number] = fields
        return records


def _told(error: csv.Error) -> str:
    detail = str(error)
    return _NOT_CLOSED if detail == "unexpected end of data" else detail


def _convert(
    texts: pl.Series,
    name: str,
    kind: str,
    null_values: tuple[str, ...],
    reject: Callable[[int, str, str], None],
) -> pl.Series:
    if null_values:
        frame = texts.to_frame("text")
        null = pl.col("text").is_in(list(null_values))
        texts = frame.select(pl.when(~null).then(pl.col("text")))["text"]
    if kind == "string":
        return texts.alias(name)
    stripped = texts.str.strip_chars(" \t")
    if kind == "bool":
        values = stripped.str.to_lowercase().replace_strict(_BOOLS, default=None, return_dtype=pl.Boolean)
    elif kind == "long":
        values = _longs(stripped)
    else:
        values = with_one_zero(stripped.cast(pl.Float64, strict=False))
        values = values.to_frame("v").select(pl.when(pl.col("v").is_finite()).then(pl.col("v")))["v"]
    for number in (values.is_null() & texts.is_not_null()).arg_true().to_list():
        shown = texts[number][:_LONGEST_SHOWN]
        reject(number, "wrong_type", f"field {name}: expected {kind}, got {shown!r}")
    return values.alias(name)


def _longs(texts: pl.Series) -> pl.Series:
    values = texts.cast(pl.Int64, strict=False)
    odd = (values.is_null() & texts.is_not_null()).arg_true()
    if not len(odd):
        return values
    read = [
        integral_long(text) if text.isascii() and "_" not in text else None
        for text in texts.gather(odd).to_list()
    ]
    patch = pl.Series(read, dtype=pl.Int64)
    order = np.arange(len(values))
    order[odd.to_numpy()] = np.arange(len(values), len(values) + len(odd))
    return pl.concat([values, patch]).gather(order)
