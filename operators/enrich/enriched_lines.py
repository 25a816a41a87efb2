"""Enriched events as JSON lines, a record at a time."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import polars as pl

from operators.enrich.enrich_spec import IS_NEW, UNIQUE
from operators.records import AnnotatedRecord

KEY_MARK = "\x1f"
"""What stands between a line and its key. JSON has no control characters but as escapes."""
_encode_json = msgspec.json.encode


def enriched_lines(record: AnnotatedRecord, is_new: pl.Series, key: str | None = None) -> str:
    """Return the events of a record, a JSON object a line, without a newline at the end.

    Args:
        record: the events with their estimates.
        is_new: whether each is the first of its user, null where it has none.
        key: the column whose value each line carries behind `KEY_MARK`, as text, unless it is null; None for
            lines without a key.
    """
    events = pl.read_ipc_stream(io.BytesIO(record.frame))
    whole = pl.struct(*events.columns, is_new.alias(IS_NEW), pl.lit(record.unique_users).alias(UNIQUE))
    lines = events.select(line=whole.struct.json_encode())["line"]
    if record.action_codes:
        lines = _with_actions(lines, record)
    if key is not None:
        lines = _with_keys(lines, events[key])
    return lines.str.join("\n").item()


def _with_actions(lines: pl.Series, record: AnnotatedRecord) -> pl.Series:
    """Add the count and the total that are named by an event's own action; none where it has no action."""
    codes = np.frombuffer(record.action_codes, "<i4")
    names = [_encode_json(action).decode()[1:-1] for action in record.actions]
    name = pl.Series(names, dtype=pl.String).gather(np.maximum(codes, 0)) if names else None
    if name is None:
        return lines
    parts = {
        "line": lines,
        "name": name,
        "count": pl.Series(np.frombuffer(record.counts, "<i8")),
        "there": pl.Series(codes >= 0),
    }
    added = [pl.lit(',"'), pl.col("name"), pl.lit('_count_est":'), pl.col("count").cast(pl.String)]
    if record.totals:
        parts["total"] = pl.Series(np.frombuffer(record.totals, "<f8"), nan_to_null=True)
        text = pl.col("total").cast(pl.String).replace(["inf", "-inf"], "null")
        total = pl.concat_str(pl.lit(',"value_'), pl.col("name"), pl.lit('":'), text)
        added.append(total.fill_null(""))
    longer = pl.concat_str(pl.col("line").str.strip_suffix("}"), *added, pl.lit("}"))
    return pl.DataFrame(parts).select(pl.when("there").then(longer).otherwise("line").alias("line"))["line"]


def _with_keys(lines: pl.Series, keys: pl.Series) -> pl.Series:
    """Add keys to lines; what would end a key or its line is a space in it."""
    key = pl.col("key").cast(pl.String).str.replace_all(f"[\n{KEY_MARK}]", " ")
    added = pl.concat_str(pl.lit(KEY_MARK), key).fill_null("")
    return pl.DataFrame({"line": lines, "key": keys}).select(pl.concat_str("line", added))["line"]
