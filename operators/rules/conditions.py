"""Evaluates the conditions of rules on results, all rows at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from operators.expressions.translate import POLARS_TYPES
from operators.rules.alarm import CLEAR, WHEN
from operators.rules.compiled_rule import CompiledRule

_LEAST, _GREATEST = -(2**63), 2**63 - 1


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
    frame = pl.DataFrame([_column(column, [row[column] for row in rows], types[column]) for column in read])
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


def _column(name: str, values: Sequence[object], type_: str) -> pl.Series:
    """Return a column; Int128 where a long, such as a total, exceeds 64 bits."""
    if type_ == "long" and any(not _LEAST <= value <= _GREATEST for value in values if value is not None):
        return pl.Series(name, values, pl.Int128)
    return pl.Series(name, values, POLARS_TYPES[type_])
