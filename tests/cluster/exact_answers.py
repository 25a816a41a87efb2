"""Compares every answer of a run with the exact one: what claims to be exact with ==, the rest by its bounds.

A bound that is claimed with 95 % confidence may fail, but not more often than that. So for every metric and
window the answers inside their bounds are counted, and the test fails where so many are outside that a
claim that holds would give it less than once in 10,000 runs. Windows that overlap share their errors; they
are counted apart, one family of windows side by side at a time.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal, localcontext
from fractions import Fraction
from typing import Any

import duckdb
from cluster_runs import Finished
from exact_panes import Pane, Place, milliseconds, panes, place_of

_IMPROBABLE = 1e-4
_KLL_RANK_ERROR = 0.0133
_HLL_SPREAD = 1.04 * 2 * 1.2
"""Two relative standard errors of a HyperLogLog times sqrt(2**lg_k), and a fifth for uneven sides."""

Families = dict[tuple[object, ...], "Tally"]


@dataclass
class Tally:
    """How many bounds were asked of one family of answers, and how many held the truth."""

    confidence: float
    inside: int = 0
    outside: int = 0

    def add(self, holds: bool) -> None:
        """Count one bound."""
        self.inside += holds
        self.outside += not holds

    def is_credible(self) -> bool:
        """Whether a claim that holds may well have so many outside."""
        return (
            _probability_of_at_least(self.outside, self.inside + self.outside, 1 - self.confidence)
            > _IMPROBABLE
        )


@dataclass
class Compared:
    """What was compared: answers by metric, and the tallies of those with an error."""

    answers: Counter[str] = field(default_factory=Counter)
    families: Families = field(default_factory=dict)

    def bounds(self, metric: str) -> tuple[int, int]:
        """How many bounds of a metric held the truth, and how many there were."""
        own = [tally for (name, *_), tally in self.families.items() if name == metric]
        return sum(tally.inside for tally in own), sum(tally.inside + tally.outside for tally in own)


def compare(events: duckdb.DuckDBPyConnection, pipeline: dict[str, Any], run: Finished) -> Compared:
    """Compare all answers of a run with those of DuckDB over the same events.

    Args:
        events: a database with a table `events` of all accepted events, none of them late.
        pipeline: the pipeline that was run.
        run: what it left.

    Raises:
        AssertionError: where a window or key is missing or too many, an exact answer is not the exact one,
            or bounds hold the truth less often than they claim.
    """
    compared = Compared()
    for metric in pipeline["metrics"]:
        by = list(metric.get("by", []))
        found = {place_of(result, by): result for result in run.of(metric["name"])}
        assert len(found) == len(run.of(metric["name"])), f"{metric['name']}: a window and key is there twice"
        expected: dict[Place, Pane] = {}
        for window, own in panes(events, metric, _wanted(metric)):
            expected |= own
            for place in own.keys() & found.keys():
                tally = _Tallies(compared.families, metric["name"], window, place, found[place])
                assert found[place]["events"] == own[place].events, found[place]
                _CHECKS[metric["kind"]](metric, own[place].columns, found[place], tally)
        missing, extra = expected.keys() - found.keys(), found.keys() - expected.keys()
        assert not missing and not extra, (
            f"{metric['name']}: expected {len(expected)} windows and keys, missing {sorted(missing)[:3]} "
            f"of {len(missing)}, too many {sorted(extra)[:3]} of {len(extra)}"
        )
        compared.answers[metric["name"]] = len(found)
    incredible = {family: tally for family, tally in compared.families.items() if not tally.is_credible()}
    assert not incredible, f"outside their bounds more often than claimed: {incredible}"
    return compared


@dataclass
class _Tallies:
    """Finds the tally that an answer belongs to."""

    families: Families
    metric: str
    window: dict[str, str]
    place: Place
    result: dict[str, Any]

    def __call__(self, what: str, holds: bool, confidence: float | None = None) -> None:
        if confidence is None:
            confidence = self.result["confidence"]
        side_by_side = 0
        if "sliding" in self.window:
            every = milliseconds(self.window["every"])
            side_by_side = self.place[2] // every % -(-milliseconds(self.window["sliding"]) // every)
        family = (self.metric, what, *self.place[:2], side_by_side)
        self.families.setdefault(family, Tally(confidence)).add(holds)


Check = Callable[[dict[str, Any], list[list[Any]], dict[str, Any], _Tallies], None]


def _wanted(metric: dict[str, Any]) -> list[tuple[str, str | None]]:
    if metric["kind"] == "count":
        return []
    if metric["kind"] == "ratio":
        operands = (metric["numerator"], metric["denominator"])
        return [(operand.get("of", "1"), operand.get("where")) for operand in operands]
    of = metric["of"]
    if metric["kind"] == "last":
        return [(f"struct_pack(t := time_ms, v := {of})", f"{of} IS NOT NULL")]
    if metric.get("weight"):
        return [(f"struct_pack(v := {of}, w := {metric['weight']})", f"{of} IS NOT NULL")]
    return [(of, None)]


def _check_exact(result: dict[str, Any], truth: object) -> None:
    assert result["value"] == truth and type(result["value"]) is type(truth), (result, truth)
    assert result["lower"] == result["upper"] == truth
    assert result["confidence"] == 1.0


def _count(_: dict[str, Any], __: list[list[Any]], result: dict[str, Any], ___: _Tallies) -> None:
    _check_exact(result, result["events"])


def _sum(_: dict[str, Any], columns: list[list[Any]], result: dict[str, Any], __: _Tallies) -> None:
    if columns[0]:
        _check_exact(result, _total(columns[0]))
    else:
        _check_exact(result, type(result["value"])(0))


def _last(_: dict[str, Any], columns: list[list[Any]], result: dict[str, Any], __: _Tallies) -> None:
    newest = max(((value["t"], value["v"]) for value in columns[0]), default=(None, None))
    _check_exact(result, newest[1])


def _stats(_: dict[str, Any], columns: list[list[Any]], result: dict[str, Any], __: _Tallies) -> None:
    values, stats = columns[0], result["stats"]
    if not values:
        assert stats == {"count": 0, "min": None, "max": None, "mean": None, "stddev": None}
        return
    exact = [Fraction(value) for value in values]
    mean = sum(exact) / len(exact)
    variance = sum(value * value for value in exact) / len(exact) - mean * mean
    assert (stats["count"], stats["min"], stats["max"]) == (len(values), min(values), max(values)), result
    assert stats["mean"] == float(mean), result
    # Rounded twice, to the double next to the variance and then to that next to its root: the last digit.
    assert abs(stats["stddev"] - _root(variance)) <= math.ulp(_root(variance)), result


def _distinct(
    metric: dict[str, Any], columns: list[list[Any]], result: dict[str, Any], tally: _Tallies
) -> None:
    truth = len(set(columns[0]))
    assert result["confidence"] == 0.95
    assert 0 <= result["lower"] <= result["value"] <= result["upper"], result
    assert result["upper"] - result["lower"] <= 1 + result["value"] * _spread(metric), result
    tally("distinct", result["lower"] <= truth <= result["upper"])


def _ratio(metric: dict[str, Any], columns: list[list[Any]], result: dict[str, Any], tally: _Tallies) -> None:
    operands = [metric["numerator"], metric["denominator"]]
    top, bottom = (_operand(kind["kind"], own) for kind, own in zip(operands, columns, strict=True))
    if bottom == 0:
        assert (result["value"], result["lower"], result["upper"]) == (None, None, None), result
    elif all(operand["kind"] != "distinct" for operand in operands):
        assert result["value"] == top / bottom, (result, top, bottom)
        assert result["lower"] == result["upper"] == result["value"]
        assert result["confidence"] == 1.0
    else:
        tally("ratio", result["lower"] <= top / bottom <= result["upper"])


def _frequency(
    metric: dict[str, Any], columns: list[list[Any]], result: dict[str, Any], tally: _Tallies
) -> None:
    truth, total = _weights(metric, columns[0])
    assert [entry["item"] for entry in result["items"]] == metric["ask"]
    for entry in result["items"]:
        assert entry["upper"] >= truth[entry["item"]], (entry, truth[entry["item"]])
        assert entry["upper"] - entry["lower"] <= metric["epsilon"] * total
        assert entry["count"] == entry["upper"]
        tally(f"frequency of {entry['item']}", entry["lower"] <= truth[entry["item"]], 1 - metric["delta"])


def _top_k(metric: dict[str, Any], columns: list[list[Any]], result: dict[str, Any], _: _Tallies) -> None:
    truth, total = _weights(metric, columns[0])
    entries = result["items"]
    size = 2 ** metric.get("lg_max_map_size", 12)
    ranked = sorted(
        ((item, count) for item, count in truth.items() if count), key=lambda pair: (-pair[1], pair[0])
    )
    if len(truth) <= size * 3 // 4:
        exact = [
            {"item": item, "count": n, "lower": n, "upper": n} for item, n in ranked[: metric.get("k", 10)]
        ]
        assert entries == exact, (result, exact)
        return
    assert len(entries) <= metric.get("k", 10)
    for entry in entries:
        assert entry["lower"] <= truth[entry["item"]] <= entry["upper"], (entry, truth[entry["item"]])
        assert entry["upper"] - entry["lower"] <= 3.5 * total / size
    # Of what is not reported, nothing may be sure to be heavier than the last that is.
    reported = {entry["item"] for entry in entries}
    least = max(entries[-1]["upper"] if entries else 0, 3.5 * total / size)
    assert all(count <= least for item, count in ranked if item not in reported), result


def _quantiles(
    metric: dict[str, Any], columns: list[list[Any]], result: dict[str, Any], tally: _Tallies
) -> None:
    values = sorted(columns[0])
    for rank in metric["at"]:
        entry = result["quantiles"][str(rank)]
        if not values:
            assert entry["value"] is None and entry["lower"] is None and entry["upper"] is None, result
            continue
        truth = values[max(math.ceil(Fraction(str(rank)) * len(values)) - 1, 0)]
        if len(values) <= metric.get("k", 200):
            assert entry["value"] == truth, (result, rank, truth)
        below, up_to = bisect_left(values, entry["value"]), bisect_right(values, entry["value"])
        assert below < up_to, f"{entry['value']} is none of the values: {result}"
        error = max(below / len(values) - rank, rank - up_to / len(values), 0)
        tally(f"bounds of {rank}", entry["lower"] <= truth <= entry["upper"], 0.99)
        tally(f"rank of {rank}", error <= _KLL_RANK_ERROR, 0.99)


_CHECKS: dict[str, Check] = {
    "count": _count,
    "sum": _sum,
    "last": _last,
    "stats": _stats,
    "distinct": _distinct,
    "ratio": _ratio,
    "frequency": _frequency,
    "top_k": _top_k,
    "quantiles": _quantiles,
}


def _operand(kind: str, values: list[Any]) -> float:
    return {"count": len, "distinct": lambda own: len(set(own)), "sum": _total}[kind](values)


def _total(values: list[Any]) -> float:
    return sum(values) if all(isinstance(value, int) for value in values) else math.fsum(values)


def _weights(metric: dict[str, Any], values: list[Any]) -> tuple[Counter[Any], int]:
    truth: defaultdict[Any, int] = defaultdict(int)
    for value in values:
        if metric.get("weight"):
            truth[value["v"]] += value["w"] or 0
        else:
            truth[value] += 1
    return Counter(truth), sum(truth.values())


def _spread(metric: dict[str, Any]) -> float:
    return 2 * _HLL_SPREAD / math.sqrt(2 ** metric.get("lg_k", 14))


def _root(square: Fraction) -> float:
    with localcontext() as context:
        context.prec = 60
        return float((Decimal(square.numerator) / Decimal(square.denominator)).sqrt())


def _probability_of_at_least(successes: int, trials: int, share: float) -> float:
    """The upper tail of the binomial distribution, added up from its logarithms."""
    if successes == 0 or share == 0:
        return float(successes == 0)
    logs = (
        math.lgamma(trials + 1)
        - math.lgamma(k + 1)
        - math.lgamma(trials - k + 1)
        + k * math.log(share)
        + (trials - k) * math.log1p(-share)
        for k in range(successes, trials + 1)
    )
    return math.fsum(math.exp(log) for log in logs)
