"""Results that rules look at together: what is said and remembered is as of one result at a time."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pytest
from rule_inputs import MINUTE, Running, plan, result, retraction, rule, said

from operators.rules.alarm import Before, spells, step
from operators.rules.compiled_rule import COLUMNS_BEFORE
from operators.rules.result_columns import before_values
from state.alarm_state import Remembered, read_remembered

VISITS = {"name": "visits", "by": ["user"], "allowed_lateness": "3m", "windows": [{"tumbling": "1m"}]}
COUNTS = VISITS | {"kind": "count"}
STATS = VISITS | {"kind": "stats", "of": "amount"}
TOP = VISITS | {"kind": "top_k", "of": "item"}
TWO_WINDOWS = COUNTS | {"windows": [{"tumbling": "1m"}, {"sliding": "2m", "every": "1m"}]}
TEXT = "{previous} {mean_before} {stddev_before} {median_before} {mad_before} {count_before}"
Chance = random.Random
Results = list[dict[str, Any]]


def rules_on(column: str, **more: Any) -> list[Any]:
    """Rules with and without windows before, in a row, with an end of its own, on absent keys."""
    return [
        rule(when=f"{column} > 10", absent_for="4m", **more),
        rule(name="row", when=f"{column} > 6", clear=f"{column} < 3", **{"for": 2}, **more),
        rule(name="jump", when=f"{column} > previous", before=2, **more),
        rule(name="off", when=f"abs({column} - median_before) > 2 * mad_before", before=9, text=TEXT, **more),
    ]


def counts(chance: Chance) -> Results:
    """Results of six users; some windows come late, again or are taken back."""
    ends, revisions, made = defaultdict(int), {}, []
    for _ in range(150):
        user = chance.choice("abcdef")
        end = ends[user] - chance.randrange(5) if chance.random() < 0.4 else ends[user] + chance.randint(1, 6)
        end = max(1, end)
        ends[user] = max(ends[user], end)
        revision = revisions[user, end] = revisions.get((user, end), -1) + 1
        is_gone = revision and chance.random() < 0.3
        made.append(
            retraction(end, revision, user) if is_gone else result(end, chance.randrange(20), revision, user)
        )
    return made


def stats(chance: Chance) -> Results:
    """The same with means that may be null, or very great."""

    def answer(value: float | None) -> dict[str, Any]:
        mean = chance.choice((None, 1e300, value, value, value))
        return {"stats": {"count": 1, "min": mean, "max": mean, "mean": mean, "stddev": None}}

    return [one if "retracted" in one else one | answer(one["value"] / 7) for one in counts(chance)]


def items(chance: Chance) -> Results:
    """Each with some of four items."""
    made = counts(chance)
    for one in made:
        told = [(item, chance.randrange(20)) for item in chance.sample("wxyz", chance.randrange(4))]
        one["items"] = [{"item": item, "count": n, "lower": n, "upper": n} for item, n in told]
    return made


def in_two_windows(chance: Chance) -> Results:
    """Some of them of the longer windows."""
    made = counts(chance)
    for one in made:
        if chance.random() < 0.5:
            start_ms = one["window"]["start_ms"] - MINUTE
            one["window"] |= {
                "type": "sliding",
                "start_ms": start_ms,
                "size_ms": 2 * MINUTE,
                "every_ms": MINUTE,
            }
    return made


CASES: dict[str, tuple[dict[str, Any], list[Any], Callable[[Chance], Results]]] = {
    "counts": (COUNTS, rules_on("value"), counts),
    "nulls": (STATS, rules_on("mean"), stats),
    "items": (TOP, rules_on("count"), items),
    "two windows": (
        TWO_WINDOWS,
        [
            *rules_on("value", window={"tumbling": "1m"}),
            rule(name="long", when="value > mean_before", before=3, window=TWO_WINDOWS["windows"][1]),
        ],
        in_two_windows,
    ),
}


def by_key(alerts: Iterable[dict[str, Any]]) -> dict[tuple, list[dict[str, Any]]]:
    """The alerts of each key, rule and window in their order."""
    keys = defaultdict(list)
    for alert in alerts:
        keys[(*alert["key"].values(), alert["rule"], alert["window"]["size_ms"])].append(alert)
    return dict(keys)


def remembered(running: Running) -> dict[tuple[str, bytes], dict[bytes, Remembered] | bytes]:
    """What is in state; alarms by rule, as nothing depends on their order."""
    state = {}
    for shard, own in running.map.shards.items():
        for name, stored in own.items():
            state[shard, name] = read_remembered(stored) if name else stored
            for key in state[shard, name].values() if name else ():
                key.alarms.sort(key=lambda alarm: alarm.rule)
    return state


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("case", CASES)
def test_together_they_say_and_leave_behind_what_they_do_one_at_a_time(case: str, seed: int) -> None:
    metric, rules, make = CASES[case]
    chance = random.Random(seed)
    alone, together = Running(plan(metric), rules), Running(plan(metric), rules)
    results, told = make(chance), 0
    while results:
        count = chance.choice((1, 2, 7, 40))
        batch, results = results[:count], results[count:]
        expected, seen = alone.send(*batch), together.send_together(*batch)
        assert by_key(seen) == by_key(expected)
        told += len(seen)
        to_ms = max(one["window"]["end_ms"] for one in batch) - MINUTE
        assert by_key(together.move_watermark(to_ms)) == by_key(alone.move_watermark(to_ms))
        now_ms = alone.now_ms + 1000
        for running in (alone, together):
            running.pass_time(now_ms)
            if seed % 2 and len(results) < 75:
                running.change("row", 2, None)
        if chance.random() < 0.2:
            alone, together = alone.restarted(), together.restarted()
        assert remembered(together) == remembered(alone)
    assert told > 50
    assert together.runner.too_old == alone.runner.too_old


def test_each_bucket_is_read_once_for_all_results_of_a_key() -> None:
    def reads(*results: dict[str, Any]) -> int:
        running = Running(plan(), [rule(when="value > mean_before", before=5)])
        running.send_together(*results)
        return running.map.reads

    assert reads(*(result(end, end) for end in range(1, 300))) == reads(result(1, 1))


def test_what_a_result_says_and_a_later_one_takes_back_is_said_though_they_come_together() -> None:
    running = Running(plan(COUNTS), [rule()])
    alerts = running.send_together(result(1, 11), result(2, 12), retraction(1, 1), retraction(2, 1))
    assert [(alert["status"], alert["event_time_ms"] // MINUTE) for alert in alerts] == [
        ("firing", 1),
        ("resolved", 1),
        ("firing", 1),
        ("resolved", 2),
    ]
    assert said(running.send_together(result(3, 1), result(4, 20))) == [("firing", "many", 4)]


@pytest.mark.parametrize("seed", range(100))
def test_spells_are_those_that_single_steps_give(seed: int) -> None:
    chance = random.Random(seed)
    for_windows = chance.choice((1, 1, 2, 3, 5))
    before = chance.choice((Before(-5), Before(None, chance.randrange(for_windows))))
    flags = bytes(chance.choices(range(4), (2, 3, 1, 1), k=chance.randrange(60)))
    starts_ms = np.arange(len(flags)) * 10
    expected, now = [] if before.firing_ms is None else [(before.firing_ms, False)], before
    for own, start_ms in zip(flags, starts_ms.tolist(), strict=True):
        was, now = now, step(now, own, start_ms, for_windows)
        if was.firing_ms is None and now.firing_ms is not None:
            expected.append((now.firing_ms, False))
        elif was.firing_ms is not None and now.firing_ms is None:
            expected[-1] = (expected[-1][0], True)
    assert spells(before, flags, starts_ms, for_windows) == expected


def test_windows_before_are_answered_to_the_last_bit_as_for_each_row_alone() -> None:
    chance = np.random.default_rng(1)
    numbers = [chance.normal(size=size) * 1e6 for size in (0, 1, 2, 2, 7, 7, 8, 130, 130, 840, 840)]
    for own in numbers[2:]:
        own[chance.random(len(own)) < 0.2] = np.nan
    numbers += [np.array([1e308, 1e308, -1e308]), np.array([np.nan, np.nan]), np.array([1.0, np.inf])]
    together = before_values(numbers, set(COLUMNS_BEFORE))
    assert together == [before_values([own], set(COLUMNS_BEFORE))[0] for own in numbers]
    for own, values in zip(numbers, together, strict=True):
        known = own[~np.isnan(own)]
        assert values["count_before"] == len(known)
        median = np.median(known) if len(known) else np.nan
        assert values["median_before"] == (median if np.isfinite(median) else None)


def test_figures_of_windows_before_that_fit_a_double_are_told_though_sums_and_squares_do_not() -> None:
    (told,) = before_values([np.array([1.5e308, 1.7e308, 1.5e308, 1.7e308])], set(COLUMNS_BEFORE))
    assert told["mean_before"] == pytest.approx(1.6e308, rel=1e-15)
    assert told["median_before"] == pytest.approx(1.6e308, rel=1e-15)
    assert told["stddev_before"] == pytest.approx(1e307, rel=1e-14)
    (told,) = before_values([np.array([-1.7e308, 1.7e308])], {"mean_before", "stddev_before"})
    assert told == {"mean_before": 0.0, "stddev_before": 1.7e308}
