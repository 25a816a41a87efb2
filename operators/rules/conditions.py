"""Evaluates the conditions of rules on results, all rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from operators.rules.alarm import CLEAR, WHEN
from operators.rules.compiled_rule import CompiledRule

_DTYPES = {"string": pl.String, "long": pl.Int64, "double": pl.Float64, "bool": pl.Boolean}


def flags_of(
    rules: Sequence[CompiledRule], rows: Sequence[Mapping[str, object]], types: Mapping[str, str]
) -> dict[str, bytes]:
    """Return which conditions of each rule hold, by the rule's name: a byte of flags for each row.

    Args:
        rules: rules with `when`; one without holds nowhere.
        rows: the values of all columns that the rules read, and of `events`.
        types: the type of each column.
    """
    conditions = [
        (rule, flag, name)
        for rule in rules
        for flag, name in ((WHEN, "when"), (CLEAR, "clear"))
        if name in rule.conditions
    ]
    read = {"events", *(column for rule in rules for column in rule.columns)}
    frame = pl.DataFrame(
        {column: [row[column] for row in rows] for column in read},
        schema={column: _DTYPES[types[column]] for column in read},
    )
    # A number is no name of a column, so that none is replaced.
    answers = frame.with_columns(
        rule.conditions[name].polars().alias(str(number)) for number, (rule, _, name) in enumerate(conditions)
    )
    flags = {rule.rule.name: bytearray(len(rows)) for rule in rules}
    for number, (rule, flag, _) in enumerate(conditions):
        own, otherwise = flags[rule.rule.name], 0 if "clear" in rule.conditions else CLEAR
        for row, holds in enumerate(answers[str(number)].to_list()):
            if holds is not None:
                own[row] |= flag if holds else otherwise
    return {name: bytes(own) for name, own in flags.items()}
