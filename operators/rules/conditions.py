"""Evaluates the conditions of rules on results, all rows of a result at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import polars as pl

from operators.rules.alarm import CLEAR, WHEN
from operators.rules.compiled_rule import CompiledRule

_DTYPES = {"string": pl.String, "long": pl.Int64, "double": pl.Float64, "bool": pl.Boolean}


def flags_of(
    rules: Sequence[CompiledRule], rows: Sequence[Mapping[str, object]], types: Mapping[str, str]
) -> list[dict[str, int]]:
    """Return which conditions of each rule hold for each row, by the rule's name.

    Args:
        rules: rules with `when`; one without holds nowhere.
        rows: the values of all columns that the rules read, and of `events`.
        types: the type of each column.
    """
    conditions = [
        (rule.rule.name, flag, name)
        for rule in rules
        for flag, name in ((WHEN, "when"), (CLEAR, "clear"))
        if name in rule.conditions
    ]
    read = {"events", *(column for rule in rules for column in rule.columns)}
    frame = pl.DataFrame(
        {column: [row[column] for row in rows] for column in read},
        schema={column: _DTYPES[types[column]] for column in read},
    )
    by_rule = {rule.rule.name: rule for rule in rules}
    # A number is no name of a column, so that none is replaced.
    answers = frame.with_columns(
        by_rule[rule].conditions[name].polars().alias(str(number))
        for number, (rule, _, name) in enumerate(conditions)
    )
    flags = [dict.fromkeys(by_rule, 0) for _ in rows]
    for number, (rule, flag, _) in enumerate(conditions):
        without_clear = "clear" not in by_rule[rule].conditions
        for own, holds in zip(flags, answers[str(number)].to_list(), strict=True):
            if holds:
                own[rule] |= flag
            elif holds is False and without_clear:
                own[rule] |= CLEAR
    return flags
