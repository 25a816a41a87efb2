"""All rules on events that are in force, evaluated together on the events of a record."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from operators.expressions import Expression
from operators.records import RuleChange
from operators.rules.compiled_rule import CompiledRule, compile_rule
from operators.rules.record_columns import RecordColumns
from operators.rules.resolved import Features
from operators.rules.rule_filter import RuleFilter
from operators.rules.rule_spec import Rule


@dataclass(frozen=True)
class Condition:
    """A condition of a rule: `key` is when, unless or then."""

    rule: CompiledRule
    key: str
    expression: Expression


@dataclass(frozen=True)
class Held:
    """The events of a record that a condition holds for, ascending; never none."""

    condition: Condition
    rows: list[int]


class RuleSet:
    """The rules in force; they change while the job runs.

    Args:
        features: what rules may read.
        rules: those of the pipeline file; of them those on results are left out.

    Attributes:
        sequences: the rules on sequences that are in force, by name.
        waits: how long each of these waits; another object after every change.
        unusable: why rules that came cannot be used, by name; they are not in force.
    """

    def __init__(self, features: Features, rules: Iterable[CompiledRule]) -> None:
        """Put the rules of the pipeline file in force."""
        self._types = features.types
        self._versions: dict[str, int] = {}
        self._rules: dict[str, CompiledRule] = {}
        self.sequences: dict[str, CompiledRule] = {}
        self.waits: dict[str, int] = {}
        self.unusable: dict[str, str] = {}
        for rule in rules:
            self._versions[rule.rule.name] = rule.version
            if rule.rule.kind != "result":
                self._rules[rule.rule.name] = rule
        self._put_in_force()

    def __len__(self) -> int:
        """Return how many rules are in force."""
        return self._count

    def change(self, change: RuleChange, restored: bool = False) -> bool:
        """Put a rule in force, in the place of the one of its name, or take it away.

        Args:
            change: what is to change.
            restored: whether it was in force before the job was restarted: then it also takes the place of a
                rule of the same version, which may read otherwise in the pipeline file by now.

        Returns:
            Whether it is news: one of a version that is known, or older, changes nothing.
        """
        known = self._versions.get(change.name)
        if known is not None and (change.version < known or (change.version == known and not restored)):
            return False
        self._versions[change.name] = change.version
        self._rules.pop(change.name, None)
        self.unusable.pop(change.name, None)
        if change.rule is not None:
            try:
                rule = Rule.model_validate_json(change.rule)
                if rule.kind != "result":
                    self._rules[change.name] = compile_rule(rule, change.version, self._types, {})
            except ValueError as problem:  # columns that it reads may have left the pipeline file
                self.unusable[change.name] = str(problem)
        self._put_in_force()
        return True

    def evaluate(self, columns: RecordColumns) -> list[Held]:
        """Return which conditions of rules hold for which events; rules in the order of their names.

        Args:
            columns: the columns of the events, features included.
        """
        if self._stale:
            self._arrange()
        possible = self._filter.possible(columns)
        conditions = [self._conditions[number] for number in possible]
        if not conditions:
            return []
        names = {name for condition in conditions for name in condition.expression.columns}
        # In this thread: to hand a few events over to others takes longer than to evaluate them.
        found = columns.frame(names).select_seq(
            condition.expression.polars().alias(str(number)) for number, condition in enumerate(conditions)
        )
        held = []
        for condition, values in zip(conditions, found, strict=True):
            if len(values) != columns.size:  # polars answers once for all rows where all are constant
                values = values.new_from_index(0, columns.size)
            if values.any():
                held.append(Held(condition, values.arg_true().to_list()))
        return held

    def _put_in_force(self) -> None:
        """Note that what is in force has changed; what is made of it is made when it is needed."""
        in_force = {name: rule for name, rule in self._rules.items() if rule.rule.enabled}
        self.sequences = {name: rule for name, rule in in_force.items() if rule.rule.kind == "sequence"}
        self.waits = {name: rule.rule.within for name, rule in self.sequences.items()}
        self._count, self._stale = len(in_force), True

    def _arrange(self) -> None:
        self._conditions = [
            Condition(rule, key, expression)
            for _, rule in sorted(self._rules.items())
            if rule.rule.enabled
            for key, expression in rule.conditions.items()
        ]
        self._filter = RuleFilter([condition.expression for condition in self._conditions])
        self._stale = False
