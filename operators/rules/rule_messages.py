"""Messages of the topics of rules and of feedback, read and checked for what they say by themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from operators.ingest.source_batch import Position, payload_fields
from operators.own_words import in_own_words
from operators.rules.rule_spec import Rule

BAD_RULE, BAD_VERDICT, UNKNOWN_RULE = "bad_rule", "bad_verdict", "unknown_rule"
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_SHOWN = 300
Model = TypeVar("Model", bound=BaseModel)


class BadMessage(ValueError):
    """A message that cannot be used.

    Args:
        reason: `bad_rule`, `bad_verdict` or `unknown_rule`.
        detail: what was expected, and what was got.
    """

    def __init__(self, reason: str, detail: str) -> None:
        """Keep both apart."""
        super().__init__(f"{reason}: {detail}")
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Switch:
    """Says that a known rule is to be on or off."""

    name: str
    enabled: bool


@dataclass(frozen=True)
class Removal:
    """Says that a rule is to be taken away."""

    name: str


class Verdict(BaseModel):
    """What an analyst says of an alert; the alert is named by its `id`."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
    rule: str
    alert: Annotated[str, Field(min_length=1, max_length=200)]
    verdict: Literal["fraud", "legitimate"]
    by: Annotated[str, Field(max_length=200)] | None = None
    note: Annotated[str, Field(max_length=2000)] | None = None


def read_rule_message(key: bytes | None, value: bytes | None) -> Rule | Switch | Removal:
    """Read a message of the topic of rules.

    Args:
        key: the message's key: the rule's name, or None.
        value: a rule or a switch as JSON; None for a removal, which needs the key.

    Raises:
        BadMessage: where it cannot be used.
    """
    try:
        named = None if key is None else key.decode()
    except UnicodeDecodeError:
        raise BadMessage(BAD_RULE, "message key: expected text in UTF-8") from None
    if value is None:
        if named is None:
            raise BadMessage(BAD_RULE, "message key: is missing, which names the rule to take away")
        return Removal(named)
    fields = _object(value, BAD_RULE)
    if named is not None and fields.get("name") != named:
        raise BadMessage(BAD_RULE, "message key: expected none, or the rule's name")
    if fields.keys() == {"name", "enabled"}:
        if not isinstance(fields["name"], str) or not isinstance(fields["enabled"], bool):
            raise BadMessage(BAD_RULE, "expected a text as name, and true or false as enabled")
        return Switch(fields["name"], fields["enabled"])
    return _validated(Rule, fields, BAD_RULE)


def read_verdict(value: bytes | None) -> Verdict:
    """Read a message of the topic of feedback.

    Raises:
        BadMessage: where it cannot be used.
    """
    if value is None:
        raise BadMessage(BAD_VERDICT, "expected a JSON object, got none")
    return _validated(Verdict, _object(value, BAD_VERDICT), BAD_VERDICT)


def reject(bad: BadMessage, payload: bytes | None, position: Position) -> bytes:
    """Return a message that cannot be used as the reject output has it.

    Args:
        bad: why.
        payload: the value of the message.
        position: where it is from.
    """
    told = {"reason": bad.reason, "detail": bad.detail}
    return msgspec.json.encode(told | payload_fields(payload) | position)


def rule_text(rule: Rule) -> bytes:
    """Return a rule as canonical JSON: rules that say the same have the same text."""
    fields = rule.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    return msgspec.json.encode(fields, order="deterministic")


def _object(value: bytes, reason: str) -> dict[str, Any]:
    try:
        return _decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        raise BadMessage(reason, "expected a JSON object, got something else") from None


def _validated(model: type[Model], fields: dict[str, Any], reason: str) -> Model:
    try:
        return model.model_validate(fields)
    except ValidationError as problem:
        raise BadMessage(reason, _told(problem, model)[:_SHOWN]) from None


def _told(problem: ValidationError, model: type[BaseModel]) -> str:
    """Return the first thing that is wrong, by its key."""
    error = problem.errors(include_url=False)[0]
    where = ".".join(map(str, error["loc"]))
    begin = f"{where}: " if where else ""
    if error["type"] == "extra_forbidden":
        allowed = ""
        if len(error["loc"]) == 1:
            names = sorted(field.alias or name for name, field in model.model_fields.items())
            allowed = f"; allowed here: {', '.join(names)}"
        return f"{begin}unknown key{allowed}"
    return begin + in_own_words(error)
