"""Makes the parser of a format."""

from __future__ import annotations

from operators.parsing.csv_parser import CsvParser
from operators.parsing.formats import CsvFormat, Format
from operators.parsing.json_parser import JsonParser
from operators.parsing.parsed import FieldPaths, Parser, check_field_types


def make_parser(spec: Format, fields: FieldPaths) -> Parser:
    """Makes the parser that reads payloads of a format into the declared fields.

    Args:
        spec: `json`, `ndjson` or a `CsvFormat` whose columns are known.
        fields: name -> (path, type) in the order of the columns wanted. For JSON a path is keys separated
            by dots, for CSV the name of a column. Types are string, long, double and bool.

    Returns:
        A parser for one thread. What it returns depends on its arguments and the payloads alone.

    Raises:
        ValueError: there are no fields, a type is unknown, or a path cannot be read in this format.
    """
    check_field_types(fields)
    if isinstance(spec, CsvFormat):
        return CsvParser(spec, fields)
    if spec not in ("json", "ndjson"):
        raise ValueError(f"format: expected json, ndjson or a CsvFormat, got {spec!r}")
    return JsonParser(fields, many=spec == "ndjson")
