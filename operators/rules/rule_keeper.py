"""The keeper of rules: what is in force now, by the pipeline file, the topic of rules and verdicts.

There is one for the whole job, so that a rule has one history: every change gives it the next version, also
where it was taken away in between. Whatever the keeper decides it tells all workers, and an audit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from operators.ingest.source_batch import Position
from operators.records import RuleChange
from operators.rules.feedback import moved
from operators.rules.readable import Readable
from operators.rules.rule_messages import (
    BAD_RULE,
    UNKNOWN_RULE,
    BadMessage,
    Removal,
    Switch,
    read_rule_message,
    read_verdict,
    reject,
    rule_text,
)
from operators.rules.rule_spec import Rule
from state.rule_state import KeptRule, RuleState

MAX_NAMES = 10_000
"""How many names of rules there may ever be, as their versions are kept for ever."""

_encode = msgspec.json.encode


class Audited(msgspec.Struct):
    """A line of the audit, as JSON."""

    text: bytes


class Rejected(msgspec.Struct):
    """A message that cannot be used, as JSON, and why."""

    text: bytes
    reason: str


Outputs = Iterator[RuleChange | Audited | Rejected]


class RuleKeeper:
    """Keeps the rules of a pipeline.

    Args:
        file: the rules of the pipeline file, checked.
        readable: checks all others.
        state: what was kept before.
    """

    def __init__(self, file: Sequence[Rule], readable: Readable, state: RuleState) -> None:
        """Keep the parts; nothing is read yet."""
        self._file = {rule.name: rule_text(rule) for rule in file}
        self._readable, self._state = readable, state
        self._kept: dict[str, KeptRule] | None = None
        self._rules: dict[str, Rule] = {}

    def begin(self, now_ms: int) -> Outputs:
        """Take over what the pipeline file says now, and tell all there is; once, before all else.

        A rule whose text in the file is another one than when the keeper last began is what the file says,
        whatever became of it since. All others stay.

        Args:
            now_ms: the wall clock.
        """
        if self._kept is not None:
            return
        self._kept = self._state.rules()
        for name in dict.fromkeys([*self._file, *self._kept]):
            yield from self._begin_with(name, now_ms)

    def on_rule(self, key: bytes | None, value: bytes | None, position: Position, now_ms: int) -> Outputs:
        """Take a message of the topic of rules.

        Args:
            key: the message's key.
            value: its value.
            position: where it is from.
            now_ms: the wall clock.
        """
        yield from self.begin(now_ms)
        try:
            name, rule = self._asked(read_rule_message(key, value))
        except BadMessage as bad:
            yield Rejected(reject(bad, value, position), bad.reason)
            return
        old = self._rules.get(name)
        if rule != old:
            what, parameters = _what(old, rule), _parameters(old, rule)
            yield self._set(name, rule)
            yield self._audited(name, what, now_ms, position, parameters)

    def on_verdict(self, value: bytes | None, position: Position, now_ms: int) -> Outputs:
        """Take a message of the topic of feedback; arguments are as those of `on_rule`."""
        yield from self.begin(now_ms)
        try:
            verdict = read_verdict(value)
            if verdict.rule not in self._rules:
                raise BadMessage(UNKNOWN_RULE, "rule: there is none of this name")
        except BadMessage as bad:
            yield Rejected(reject(bad, value, position), bad.reason)
            return
        told = verdict.model_dump(exclude={"rule"}, exclude_none=True)
        if not self._state.remember_alert(verdict.alert):
            yield self._audited(verdict.rule, "ignored", now_ms, position, **told)
            return
        old = self._rules[verdict.rule]
        rule = moved(old, verdict.verdict)
        if rule != old:
            yield self._set(verdict.rule, rule)
        yield self._audited(verdict.rule, "adjusted", now_ms, position, _parameters(old, rule), **told)

    def _begin_with(self, name: str, now_ms: int) -> Outputs:
        text, kept = self._file.get(name), self._kept.get(name)
        if kept is None or kept.file != text:
            before = KeptRule(0, None, None) if kept is None else kept
            changed = before.rule != text
            kept = KeptRule(before.version + changed, text, text)
            self._keep(name, kept)
            if changed:
                what = "removed" if text is None else "from_file"
                yield self._audited(name, what, now_ms, None)
        if kept.rule is not None:
            try:
                rule = Rule.model_validate_json(kept.rule)
                self._readable.compile(rule, kept.version)
                self._rules[name] = rule
            except ValueError as problem:  # the pipeline has not all that it reads any more
                kept = KeptRule(kept.version + 1, None, kept.file)
                self._keep(name, kept)
                yield self._audited(name, "removed", now_ms, None, detail=str(problem))
        yield RuleChange(name, kept.version, kept.rule)

    def _asked(self, message: Rule | Switch | Removal) -> tuple[str, Rule | None]:
        """Return what a rule is to be from now on; None where it is to be no more.

        Raises:
            BadMessage: where it cannot be.
        """
        if isinstance(message, Removal):
            return message.name, None
        if isinstance(message, Switch):
            if message.name not in self._rules:
                raise BadMessage(UNKNOWN_RULE, "name: there is no rule of this name to switch")
            old = self._rules[message.name]
            return message.name, old.model_copy(update={"enabled": message.enabled})
        if message.name not in self._kept and len(self._kept) >= MAX_NAMES:
            raise BadMessage(BAD_RULE, f"name: there were rules of {MAX_NAMES} names, which is the most")
        try:
            self._readable.compile(message, 0)
        except ValueError as problem:
            raise BadMessage(BAD_RULE, str(problem)) from None
        return message.name, message

    def _set(self, name: str, rule: Rule | None) -> RuleChange:
        before = self._kept.get(name, KeptRule(0, None, None))
        text = None if rule is None else rule_text(rule)
        self._keep(name, KeptRule(before.version + 1, text, before.file))
        if rule is None:
            del self._rules[name]
        else:
            self._rules[name] = rule
        return RuleChange(name, before.version + 1, text)

    def _keep(self, name: str, kept: KeptRule) -> None:
        self._kept[name] = kept
        self._state.put(name, kept)

    def _audited(
        self,
        name: str,
        what: str,
        now_ms: int,
        source: Position | None,
        parameters: dict[str, object] | None = None,
        **more: str,
    ) -> Audited:
        told = {"at_ms": now_ms, "rule": name, "version": self._kept[name].version, "what": what, "by": None}
        told |= more
        if parameters:
            told["parameters"] = parameters
        return Audited(_encode(told | {"source": source}))


def _what(old: Rule | None, new: Rule | None) -> str:
    """Return what became of a rule, as the audit calls it."""
    if new is None:
        return "removed"
    if old is None:
        return "added"
    if new == old.model_copy(update={"enabled": new.enabled}):
        return "enabled" if new.enabled else "disabled"
    return "changed"


def _parameters(old: Rule | None, new: Rule | None) -> dict[str, object]:
    """Return what became of the values of parameters that a rule had before and has now."""
    if old is None or new is None:
        return {}
    pairs = {
        name: {"from": old.parameters[name].value, "to": parameter.value}
        for name, parameter in new.parameters.items()
        if name in old.parameters
    }
    return {name: pair for name, pair in pairs.items() if pair["from"] != pair["to"]}
