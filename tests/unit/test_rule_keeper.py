"""The keeper of rules."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from typing import Any

import pytest
from rule_inputs import FIELDS, plan

from operators.records import RuleChange
from operators.rules import rule_keeper
from operators.rules.feedback import moved
from operators.rules.readable import Readable
from operators.rules.rule_keeper import Audited, RuleKeeper
from operators.rules.rule_messages import rule_text
from operators.rules.rule_spec import Rule
from state import rule_state
from state.rule_state import RuleState

HERE = {"topic": "rules", "partition": 0, "offset": 7}
LIMIT = {"value": 100, "min": 50, "max": 200, "step": 0.1, "precision": 0.75}
LARGE = {"name": "large", "when": "amount > limit", "parameters": {"limit": LIMIT}}


class Map(dict):
    """State in memory."""

    def put(self, key: bytes, value: bytes) -> None:
        assert isinstance(key, bytes) and isinstance(value, bytes)
        self[key] = value

    def remove(self, key: bytes) -> None:
        self.pop(key, None)


class Keeping:
    """A keeper with what came out of it."""

    def __init__(self, *file: dict[str, Any], state: Map | None = None, fields: Any = FIELDS) -> None:
        self.map = Map() if state is None else state
        readable = Readable(fields, plan().resolved_metrics())
        self.keeper = RuleKeeper([Rule.model_validate(own) for own in file], readable, RuleState(self.map))
        self.changes: list[RuleChange] = []
        self.audit: list[dict[str, Any]] = []
        self.rejects: list[dict[str, Any]] = []

    def take(self, outputs: Iterable[Any]) -> None:
        for output in outputs:
            if isinstance(output, RuleChange):
                self.changes.append(output)
            else:
                (self.audit if isinstance(output, Audited) else self.rejects).append(json.loads(output.text))

    def begin(self) -> Keeping:
        self.take(self.keeper.begin(5))
        return self

    def rule(self, value: Any, key: bytes | None = None) -> None:
        payload = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
        self.take(self.keeper.on_rule(key, payload, HERE, 5))

    def verdict(self, rule: str, alert: str, verdict: str, **more: Any) -> None:
        told = {"rule": rule, "alert": alert, "verdict": verdict} | more
        self.take(self.keeper.on_verdict(json.dumps(told).encode(), HERE, 5))

    def effective(self) -> dict[str, tuple[int, Any]]:
        """Version and rule of all that was sent, the last word on each."""
        return {c.name: (c.version, c.rule and json.loads(c.rule)) for c in self.changes}


def test_the_rules_of_the_file_are_told_once_with_version_1() -> None:
    keeping = Keeping(LARGE, {"name": "off", "when": "ok", "enabled": False}).begin().begin()
    text = rule_text(Rule.model_validate(LARGE))
    assert keeping.changes == [
        RuleChange("large", 1, text), RuleChange("off", 1, b'{"enabled":false,"name":"off","when":"ok"}')
    ]  # fmt: skip
    assert [(line["rule"], line["version"], line["what"], line["source"]) for line in keeping.audit] == [
        ("large", 1, "from_file", None), ("off", 1, "from_file", None)
    ]  # fmt: skip


def test_whatever_comes_first_lets_the_keeper_begin() -> None:
    keeping = Keeping(LARGE)
    keeping.rule({"name": "large", "enabled": False})
    assert [(change.name, change.version) for change in keeping.changes] == [("large", 1), ("large", 2)]


def test_a_line_of_the_audit_says_what_became_of_a_rule_and_where_that_is_from() -> None:
    keeping = Keeping(LARGE).begin()
    keeping.audit.clear()
    keeping.rule(LARGE | {"parameters": {"limit": {"value": 120}}})
    keeping.rule(LARGE | {"parameters": {"limit": {"value": 120}}})
    keeping.rule({"name": "large", "enabled": False})
    keeping.rule({"name": "large", "enabled": True})
    keeping.rule(None, b"large")
    keeping.rule(None, b"large")
    keeping.rule(LARGE)
    common = {"at_ms": 5, "rule": "large", "by": None, "source": HERE}
    assert keeping.audit == [
        common | {"version": 2, "what": "changed", "parameters": {"limit": {"from": 100.0, "to": 120.0}}},
        common | {"version": 3, "what": "disabled"},
        common | {"version": 4, "what": "enabled"},
        common | {"version": 5, "what": "removed"},
        common | {"version": 6, "what": "added"},
    ]
    assert [change.version for change in keeping.changes] == [1, 2, 3, 4, 5, 6]
    assert keeping.changes[4].rule is None


@pytest.mark.parametrize(
    ("key", "value", "reason", "detail"),
    [
        (None, b"{", "bad_rule", "expected a JSON object"),
        (None, b"[1]", "bad_rule", "expected a JSON object"),
        (None, b"\xff", "bad_rule", "expected a JSON object"),
        (None, None, "bad_rule", "message key: is missing"),
        (b"\xff", None, "bad_rule", "message key: expected text in UTF-8"),
        (b"other", {"name": "r", "when": "ok"}, "bad_rule", "message key: expected none, or the rule's name"),
        (None, {"name": "r"}, "bad_rule", "when: is missing"),
        (None, {"name": "r", "when": "nope"}, "bad_rule", "when: "),
        (None, {"name": "r", "when": "amount"}, "bad_rule", "when: "),
        (None, {"name": "r", "when": "ok", "metric": "nope"}, "bad_rule", "metric: expected one of visits"),
        (None, {"name": "r", "when": "value > previous", "metric": "visits"}, "bad_rule", "when: "),
        (
            None,
            {"name": "r", "when": "value > 1", "metric": "visits", "window": {"tumbling": "2m"}},
            "bad_rule",
            "window: visits has no such window",
        ),
        (None, {"name": "r", "when": "ok", "whne": "ok"}, "bad_rule", "whne: unknown key; allowed here: abs"),
        (None, {"name": "9", "when": "ok"}, "bad_rule", "name: "),
        (None, {"name": "r", "when": "ok", "parameters": {"p": {}}}, "bad_rule", "parameters.p.value: is"),
        (
            None,
            b'{"name": "r", "when": "ok", "parameters": {"p": {"value": 1e999}}}',
            "bad_rule",
            "expected a JSON object",
        ),
        (None, {"name": "r", "when": "ok", "for": 2}, "bad_rule", "for: needs metric"),
        (
            None,
            {"name": "r", "metric": "visits", "absent_for": "1m", "clear": "value > 1"},
            "bad_rule",
            "clear: needs when",
        ),
        (None, {"name": "r", "enabled": False}, "unknown_rule", "name: "),
        (None, {"name": 3, "enabled": False}, "bad_rule", "expected a text as name"),
    ],
)
def test_a_rule_that_cannot_be_used_is_a_reject_that_says_why(
    key: bytes | None, value: Any, reason: str, detail: str
) -> None:
    keeping = Keeping(LARGE).begin()
    before = keeping.effective()
    keeping.rule(value, key)
    (reject,) = keeping.rejects
    assert reject["reason"] == reason and reject["detail"].startswith(detail), reject
    assert reject.items() >= HERE.items() and ("payload" in reject or "payload_base64" in reject)
    assert keeping.effective() == before and len(keeping.audit) == 1
    keeping.rule({"name": "fine", "when": "ok"})
    assert keeping.effective()["fine"][0] == 1, "the job goes on"


@pytest.mark.parametrize(
    ("value", "reason", "detail"),
    [
        (b"?", "bad_verdict", "expected a JSON object"),
        (None, "bad_verdict", "expected a JSON object"),
        ({"rule": "large", "verdict": "fraud"}, "bad_verdict", "alert: is missing"),
        ({"rule": "large", "alert": "", "verdict": "fraud"}, "bad_verdict", "alert: expected text with at"),
        ({"rule": "large", "alert": "a", "verdict": "maybe"}, "bad_verdict", "verdict: expected 'fraud' or"),
        ({"rule": "large", "alert": 3, "verdict": "fraud"}, "bad_verdict", "alert: "),
        ({"rule": "nope", "alert": "a", "verdict": "fraud"}, "unknown_rule", "rule: "),
        ({"rule": "large", "alert": "a", "verdict": "fraud", "who": "x"}, "bad_verdict", "who: unknown key"),
    ],
)
def test_a_verdict_that_cannot_be_used_is_a_reject_that_says_why(
    value: Any, reason: str, detail: str
) -> None:
    keeping = Keeping(LARGE).begin()
    payload = value if value is None or isinstance(value, bytes) else json.dumps(value).encode()
    keeping.take(keeping.keeper.on_verdict(payload, HERE, 5))
    (reject,) = keeping.rejects
    assert reject["reason"] == reason and reject["detail"].startswith(detail), reject
    assert len(keeping.changes) == 1


def test_verdicts_move_parameters_with_limits_and_are_in_the_audit() -> None:
    other = {"value": 4, "min": 1, "max": 8, "stricter": "down", "step": 0.5, "precision": 0.5}
    fixed = {"value": 7}
    both = LARGE | {"parameters": {**LARGE["parameters"], "other": other, "fixed": fixed}}
    keeping = Keeping(both).begin()
    keeping.verdict("large", "a1", "legitimate", by="ann", note="known customer")
    keeping.verdict("large", "a2", "fraud")
    values = {name: p["value"] for name, p in keeping.effective()["large"][1]["parameters"].items()}
    first = {"limit": 100 * 1.075, "other": 4 * 0.75}
    assert values == {"limit": first["limit"] * 0.975, "other": first["other"] * 1.25, "fixed": 7}
    assert keeping.audit[1] == {
        "at_ms": 5, "rule": "large", "version": 2, "what": "adjusted", "by": "ann", "alert": "a1",
        "verdict": "legitimate", "note": "known customer", "source": HERE,
        "parameters": {"limit": {"from": 100.0, "to": first["limit"]}, "other": {"from": 4.0, "to": 3.0}},
    }  # fmt: skip


def test_a_second_verdict_on_an_alert_is_ignored_and_so_it_says() -> None:
    keeping = Keeping(LARGE).begin()
    keeping.verdict("large", "a1", "fraud")
    keeping.verdict("large", "a1", "legitimate", by="bob")
    assert [(line["what"], line["version"]) for line in keeping.audit[1:]] == [
        ("adjusted", 2),
        ("ignored", 2),
    ]
    assert keeping.audit[2]["by"] == "bob" and len(keeping.changes) == 2


def test_parameters_stay_within_their_limits() -> None:
    keeping = Keeping(LARGE).begin()
    for number in range(100):
        keeping.verdict("large", f"a{number}", "legitimate")
    version, rule = keeping.effective()["large"]
    assert rule["parameters"]["limit"]["value"] == 200
    assert len(keeping.audit) == 101 and version < 15, "what moves nothing is no new version"


@pytest.mark.parametrize("stricter", ["up", "down"])
def test_a_parameter_comes_to_rest_where_the_share_that_is_asked_for_of_alerts_is_fraud(
    stricter: str,
) -> None:
    precision, chance = 0.8, random.Random(1)
    limit = {"value": 20, "min": 1, "max": 1000, "step": 0.02, "precision": precision, "stricter": stricter}
    rule, shares = Rule.model_validate(LARGE | {"parameters": {"limit": limit}}), []
    for _ in range(4000):
        value = rule.parameters["limit"].value
        strictness = value if stricter == "up" else 1000 / value
        share = strictness / (strictness + 50)  # of its alerts that are fraud: the stricter, the more
        rule = moved(rule, "fraud" if chance.random() < share else "legitimate")
        shares.append(share)
    assert sum(shares[1000:]) / 3000 == pytest.approx(precision, abs=0.03)


def test_the_last_alerts_are_remembered_over_restarts_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_state, "REMEMBERED_ALERTS", 50)
    monkeypatch.setattr(rule_state, "_IN_BLOCK", 10)
    chance, held, order = random.Random(2), Map(), []
    state = RuleState(held)
    for _ in range(2000):
        alert = f"a{chance.randrange(120)}"
        assert state.remember_alert(alert) == (alert not in order[-50:])
        if alert not in order[-50:]:
            order.append(alert)
        if chance.random() < 0.05:
            state = RuleState(held)
    assert len(held) <= 7


def test_a_hundred_thousand_alerts_take_less_than_a_megabyte() -> None:
    held = Map()
    state = RuleState(held)
    assert all(state.remember_alert(str(number)) for number in range(100_500))
    again = RuleState(held)
    assert not any(again.remember_alert(str(number)) for number in (500, 501, 100_499))
    assert sum(map(len, held.values())) < 1_000_000


def test_only_rules_whose_text_in_the_file_changes_are_taken_from_it_again() -> None:
    small = {"name": "small", "when": "amount < 1"}
    keeping = Keeping(LARGE, small, {"name": "gone", "when": "ok"}).begin()
    keeping.verdict("large", "a1", "legitimate")
    keeping.rule({"name": "small", "enabled": False})
    keeping.rule({"name": "mine", "when": "not ok"})
    state = keeping.map

    same = Keeping(LARGE, small, {"name": "gone", "when": "ok"}, state=Map(state)).begin()
    assert same.effective() == keeping.effective() and same.audit == []

    changed = Keeping(
        LARGE, small | {"when": "amount < 2"}, {"name": "mine", "when": "ok"}, state=state
    ).begin()
    assert changed.effective() == {
        "large": keeping.effective()["large"],
        "small": (3, {"name": "small", "when": "amount < 2"}),
        "mine": (2, {"name": "mine", "when": "ok"}),
        "gone": (2, None),
    }
    assert [(line["rule"], line["what"]) for line in changed.audit] == [
        ("small", "from_file"), ("mine", "from_file"), ("gone", "removed")
    ]  # fmt: skip


def test_a_rule_that_reads_what_the_pipeline_has_not_any_more_is_taken_away_and_so_it_says() -> None:
    keeping = Keeping().begin()
    keeping.rule({"name": "mine", "when": "item = 'x'"})
    less = {name: type_ for name, type_ in FIELDS.items() if name != "item"}
    after = Keeping(state=keeping.map, fields=less).begin()
    assert after.effective() == {"mine": (2, None)}
    assert after.audit[0]["what"] == "removed" and "item" in after.audit[0]["detail"]


def test_names_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rule_keeper, "MAX_NAMES", 2)
    keeping = Keeping(LARGE).begin()
    for name in ("one", "two", "one", "large"):
        keeping.rule({"name": name, "when": "not ok"})
    assert keeping.effective().keys() == {"large", "one"} and len(keeping.rejects) == 1


class Model:
    """What a keeper does, with dicts; rules have one number that verdicts move."""

    def __init__(self) -> None:
        self.rules: dict[str, tuple[int, dict | None]] = {}
        self.file: dict[str, dict] = {}
        self.alerts: set[str] = set()

    def begin(self, file: dict[str, dict]) -> None:
        for name in file.keys() | self.file.keys():
            if file.get(name) != self.file.get(name):
                self.put(name, file.get(name))
        self.file = file

    def put(self, name: str, rule: dict | None) -> None:
        version, old = self.rules.get(name, (0, None))
        if rule != old:
            self.rules[name] = version + 1, rule

    def verdict(self, name: str, alert: str, fraud: bool) -> None:
        _, rule = self.rules.get(name, (0, None))
        if rule is not None and alert not in self.alerts:
            self.alerts.add(alert)
            value = rule["value"] * (1 - 0.1 * (1 - 0.75) if fraud else 1 + 0.1 * 0.75)
            self.put(name, rule | {"value": min(max(value, 50), 200)})


def written(name: str, rule: dict | None) -> dict[str, Any] | None:
    """The rule of a model as the topic has it."""
    if rule is None:
        return None
    limit = LIMIT | {"value": rule["value"]}
    return LARGE | {"name": name, "enabled": rule["enabled"], "parameters": {"limit": limit}}


@pytest.mark.parametrize("seed", range(6))
def test_the_keeper_does_what_a_model_with_dicts_does(seed: int) -> None:
    chance, model = random.Random(seed), Model()

    def rule() -> dict:
        return {"value": float(chance.choice((60, 100, 180))), "enabled": chance.random() < 0.7}

    def begun(file: dict[str, dict], state: Map) -> Keeping:
        return Keeping(*(written(name, own) for name, own in file.items()), state=state).begin()

    file = {name: rule() for name in "ab"}
    keeping = begun(file, Map())
    model.begin(file)
    for step in range(400):
        name, what = chance.choice("abcd"), chance.random()
        known = model.rules.get(name, (0, None))[1]
        if what < 0.3:
            made = rule()
            model.put(name, made)
            keeping.rule(written(name, made), chance.choice((None, name.encode())))
        elif what < 0.4:
            model.put(name, None)
            keeping.rule(None, name.encode())
        elif what < 0.55:
            on = chance.random() < 0.5
            model.put(name, known and known | {"enabled": on})
            keeping.rule({"name": name, "enabled": on})
        elif what < 0.9:
            alert, fraud = f"x{chance.randrange(300)}", chance.random() < 0.5
            model.verdict(name, alert, fraud)
            keeping.verdict(name, alert, "fraud" if fraud else "legitimate")
        else:
            if chance.random() < 0.5:
                file = {
                    name: chance.choice((file.get(name) or rule(), rule()))
                    for name in chance.sample("abcd", 2)
                }
            model.begin(file)
            keeping = begun(file, keeping.map)
        told = keeping.effective()
        for name, (version, own) in model.rules.items():
            expected = None if own is None else json.loads(rule_text(Rule.model_validate(written(name, own))))
            assert told[name] == (version, expected), step
