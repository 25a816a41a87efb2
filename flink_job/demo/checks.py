"""Is each answer of the demo right, that is, is the exact answer within the bounds the answer states?

An answer with a confidence below 1 may miss its bounds now and then; that is what it says. So its verdict may
be ``outside`` between ``right`` and ``wrong``: it misses a bound, but by less than the bound's own distance
from the value. (A 95 % bound lies 2 standard deviations away, so this is within 4, which all but one answer
in some ten thousand are.) A count, a sum, an upper bound of a frequency and the bounds of top items are
certain: they are right or wrong.

Events that came too late are not in any answer. When there were some, an answer that is too low is ``late``,
and so is a ratio or a quantile that misses its bounds; an answer that is too high is still ``wrong``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from flink_job.demo.exact import SLIDING_MS, WHOLE_DAY_MS, ExactAnswers, WindowAnswers

Verdict = Literal["right", "outside", "late", "wrong"]
Result = Mapping[str, Any]


@dataclass(frozen=True)
class Check:
    """One number of the job beside the exact one.

    Attributes:
        metric: name of the metric.
        key: the group, ``{}`` without ``by``.
        window: ``(start_ms, end_ms)``.
        what: which number of the answer: ``value``, ``events``, an item, a quantile's rank, or what is amiss.
        exact: the exact number; None where there is none.
        value: the job's number; None where there is none.
        lower: the stated lower bound.
        upper: the stated upper bound.
        verdict: what to think of it.
    """

    metric: str
    key: Mapping[str, Any]
    window: tuple[int, int]
    what: str
    exact: float | None
    value: float | None
    lower: float | None
    upper: float | None
    verdict: Verdict


@dataclass(frozen=True)
class _Question:
    metric: str
    key: Mapping[str, Any]
    window: tuple[int, int]
    events: int | None  # None: not compared
    answers: WindowAnswers


def latest(results: Iterable[Result]) -> list[Result]:
    """The answers that count: of each ``id`` the highest revision, without those retracted.

    Args:
        results: emissions in any order.

    Returns:
        One result an ``id``, in order of first appearance.
    """
    newest: dict[str, Result] = {}
    for result in results:
        known = newest.get(result["id"])
        if known is None or result["revision"] > known["revision"]:
            newest[result["id"]] = result
    return [result for result in newest.values() if not result.get("retracted")]


def check_results(results: Iterable[Result], exact: ExactAnswers, late: int) -> list[Check]:
    """Compare every answer of the demo with the exact one.

    Args:
        results: what the job sent, in any order.
        exact: the exact answers to the same events.
        late: how many events came too late to count.

    Returns:
        A check for every number of every answer, and for every answer that is missing or was not asked for.
        Metrics the demo does not have are passed over.
    """
    given = {_place(result): result for result in latest(results)}
    checks: list[Check] = []
    for question in _questions(exact):
        place = (question.metric, json.dumps(question.key, sort_keys=True), *question.window)
        checks += _check(question, given.pop(place, None), late)
    for (metric, _, start_ms, end_ms), result in given.items():
        if metric in _COMPARE:
            checks.append(
                Check(metric, result["key"], (start_ms, end_ms), "unasked", None, None, None, None, "wrong")
            )
    return checks


def _place(result: Result) -> tuple[str, str, int, int]:
    window = result["window"]
    return result["metric"], json.dumps(result["key"], sort_keys=True), window["start_ms"], window["end_ms"]


def _questions(exact: ExactAnswers) -> Iterator[_Question]:
    """Every answer the demo must give: one a metric, window and key that has an event."""
    for window, answers in sorted(exact.windows.items()):
        size_ms = window[1] - window[0]
        if size_ms in (WHOLE_DAY_MS[0], SLIDING_MS[0]):
            yield _Question("unique_users", {}, window, answers.events, answers)
        if size_ms != WHOLE_DAY_MS[0]:
            continue
        for metric in ("actions", "value_by_action"):
            for action, events in sorted(answers.actions.items()):
                yield _Question(metric, {"action": action}, window, events, answers)
        if answers.buyers:
            for metric in ("revenue", "basket_value"):
                yield _Question(metric, {}, window, answers.actions["purchase"], answers)
        yield _Question("conversion", {}, window, None, answers)
        for metric in ("top_items", "item_frequency"):
            yield _Question(metric, {}, window, answers.events, answers)


def _check(question: _Question, result: Result | None, late: int) -> Iterator[Check]:
    def check(what: str, exact: float | None, got: Mapping[str, Any], verdict: Verdict) -> Check:
        value = got.get("value", got.get("count"))
        lower, upper = got.get("lower", value), got.get("upper", value)
        return Check(
            question.metric, question.key, question.window, what, exact, value, lower, upper, verdict
        )

    if result is None:
        yield check("missing", None, {}, "late" if late else "wrong")
        return
    if not result["final"]:
        yield check("not final", None, {}, "wrong")
    if question.events is not None:
        events = {"value": result["events"]}
        yield check("events", question.events, events, _judge(question.events, events, 1.0, late, True))
    for what, exact, got, certain, grows in _COMPARE[question.metric](question, result):
        confidence = 1.0 if certain else result.get("confidence") or 1.0
        yield check(what, exact, got, _judge(exact, got, confidence, late, grows))


def _judge(exact: float | None, got: Mapping[str, Any], confidence: float, late: int, grows: bool) -> Verdict:
    value = got.get("value", got.get("count"))
    if exact is None or value is None:
        return "right" if exact is value else "late" if late else "wrong"
    lower, upper = got.get("lower", value), got.get("upper", value)
    lower, upper = -math.inf if lower is None else lower, math.inf if upper is None else upper
    rounding = 1e-9 * max(1.0, abs(exact))
    if not (math.isfinite(value) and lower - rounding <= value <= upper + rounding):
        return "wrong"
    below, above = lower - exact - rounding, exact - upper - rounding  # by how much it misses its bounds
    if below <= 0 and above <= 0:
        return "right"
    if late and (above > 0 or not grows):
        return "late"
    allowed = value - lower if below > 0 else upper - value
    return "outside" if confidence < 1 and max(below, above) <= allowed else "wrong"


# What each metric's result is compared with: (what, exact, the result's numbers, are its bounds certain,
# can late events only lower it).
_Compared = tuple[str, float | None, Mapping[str, Any], bool, bool]
_NO_ENTRIES: _Compared = ("number of entries", 1, {"value": 0}, True, False)


def _unique_users(question: _Question, result: Result) -> Iterator[_Compared]:
    yield "value", len(question.answers.users), result, False, True


def _actions(question: _Question, result: Result) -> Iterator[_Compared]:
    yield "value", question.answers.actions[question.key["action"]], result, True, True


def _revenue(question: _Question, result: Result) -> Iterator[_Compared]:
    yield "value", question.answers.value_of("purchase"), result, True, True


def _value_by_action(question: _Question, result: Result) -> Iterator[_Compared]:
    yield "value", question.answers.value_of(question.key["action"]), result, True, True


def _top_items(question: _Question, result: Result) -> Iterator[_Compared]:
    exact, items = question.answers.items, result["items"]
    for entry in items:
        yield entry["item"], exact[entry["item"]], entry, True, True
    # No item that was left out may be more frequent than the least upper bound shown allows.
    least = min((entry["upper"] for entry in items), default=0)
    named = {entry["item"] for entry in items}
    left_out = max((count for item, count in exact.items() if item not in named), default=0)
    yield "most frequent item left out", left_out, {"value": least, "lower": 0, "upper": least}, True, True


def _item_frequency(question: _Question, result: Result) -> Iterator[_Compared]:
    if not result["items"]:
        yield _NO_ENTRIES
    for entry in result["items"]:
        exact = question.answers.items[entry["item"]]
        yield entry["item"], exact, entry, exact > entry["upper"], True


def _basket_value(question: _Question, result: Result) -> Iterator[_Compared]:
    if not result["quantiles"]:
        yield _NO_ENTRIES
    for rank, entry in (result["quantiles"] or {}).items():
        yield rank, question.answers.quantile("purchase", float(rank)), entry, False, False


def _conversion(question: _Question, result: Result) -> Iterator[_Compared]:
    answers = question.answers
    yield "value", len(answers.buyers) / len(answers.users), result, False, False


_COMPARE = {
    "unique_users": _unique_users,
    "actions": _actions,
    "revenue": _revenue,
    "value_by_action": _value_by_action,
    "top_items": _top_items,
    "item_frequency": _item_frequency,
    "basket_value": _basket_value,
    "conversion": _conversion,
}


def tally(checks: Sequence[Check]) -> dict[str, int]:
    """How many checks have each verdict."""
    counts = Counter(check.verdict for check in checks)
    return {verdict: counts[verdict] for verdict in ("right", "outside", "late", "wrong")}
