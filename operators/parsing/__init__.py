"""From raw payloads to typed columns: JSON, ndjson and CSV, a batch at a time."""

from operators.parsing.formats import CsvFormat, Format, FormatSpec
from operators.parsing.parsed import Parsed, Parser, Reject
from operators.parsing.parser import make_parser

__all__ = ["CsvFormat", "Format", "FormatSpec", "Parsed", "Parser", "Reject", "make_parser"]
