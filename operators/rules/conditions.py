"""Evaluates the conditions of rules on results, all rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl

from operators.rules.alarm import CLEAR, WHEN
from operators.rules.compiled_rule import CompiledRule

_DTYPES = {"string": pl.String, "long": pl.Int64, "double": pl.Float64, "bool": pl.Boolean}


def flags_of(
    rules: Sequence[CompiledRule], rows: Sequence[Mapping[str, object]], types: Mapping[str, str]
) -> dict[str, bytes]:
    """Return, by the rule's name, which of its conditions hold for each row: a byte of flags a row.

    Args:
        rules: rules with `when`; one without holds nowhere.
        rows: the values of all columns that the rules read, and of `events`.
        types: the type of each column.
    """
    read = {"events", *(column for rule in rules for column in rule.columns)}
    frame = pl.DataFrame(
        {column: [row[column] for row in rows] for column in read},
        schema={column: _DTYPES[types[column]] for column in read},
    )
    conditions = [
        (number, name, rule.conditions[name])
        for number, rule in enumerate(rules)
        for name in ("when", "clear")
        if name in rule.conditions
    ]
    # No column begins with a number, so that none is replaced.
    answers = frame.with_columns(
        condition.polars().alias(f"{number}{name}") for number, name, condition in conditions
    )

    flags = {rule.rule.name: np.zeros(len(rows), np.uint8) for rule in rules}
    for number, name, _ in conditions:
        rule, holds = rules[number], answers[f"{number}{name}"]
        flags[rule.rule.name] |= _ones(holds) * np.uint8(WHEN if name == "when" else CLEAR)
        if "clear" not in rule.conditions:
            flags[rule.rule.name] |= _ones(~holds) * np.uint8(CLEAR)
    return {name: own.tobytes() for name, own in flags.items()}


def _ones(holds: pl.Series) -> np.ndarray:
    """Return 1 where a condition is true, 0 where it is false or null, `(n,) uint8`."""
    return holds.fill_null(False).to_numpy().astype(np.uint8)
