"""What rules on results cost on one core: results one at a time, and together as windows send them.

    python bench/result_rules.py [--json] [--rounds 5]

Keys are 5, as of a few sensors whose months are read anew, and 1,250, a shard of 10,000. Each has a result an
hour and one rule: on the value alone, on its distance from the mean of 24 windows before, from the median of
840. History is full at the start. What is timed is the part of the operator, from the record to alerts, with
Flink's state played by a dict; 500 is as many results as windows send together at most.
Goal: 500 together at a fifth of the time an alone one takes, 150 us a result or less.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"

import json
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.report.keyed_parts import Map, NoTimers
from bench.report.stopwatch import pin_to_one_core, race
from bench.report.tables import Report, arguments
from operators.plan import Plan
from operators.records import FinalResults, decode_final_results, encode
from operators.rules.looking import key_name
from operators.rules.result_rules import ResultRules, WindowRules
from operators.rules.result_runner import ResultRunner
from operators.windows.runner import Clock
from state.alarm_state import WINDOW_TYPE, Alarm, AlarmState, Remembered
from state.bucket_state import NEVER_MS, bucket_of

ALONE, SOME, MANY = "one at a time", "20 together", "500 together"
TOGETHER = {ALONE: 1, SOME: 20, MANY: 500}
RULES = {
    "the value alone": {"when": "value > 990"},
    "24 windows before": {"when": "value > mean_before + 5 * stddev_before", "before": 24},
    "840 windows before": {
        "when": "abs(value - median_before) > 3 * 1.4826 * mad_before and count_before >= 168",
        "before": 840,
        "for": 3,
    },
}
KEYS, RESULTS = (5, 1_250), 2_500
HOUR_MS, START_MS, SHARD = 3_600_000, 1_699_999_200_000, "m/0"
SHARE, MOST_US = 0.2, 150.0


def main() -> None:
    """Run every measurement."""
    options = arguments(__doc__ or "", rounds=5).parse_args()
    pin_to_one_core()
    report = Report("Rules on results on one core: one rule, a result an hour", options.json)
    for keys in KEYS:
        for name, rule in RULES.items():
            contenders = {way: partial(take, runner(rule, keys)) for way in TOGETHER}
            result = race(contenders, rounds(options.rounds + 1, keys))
            report.race(f"{keys:,} keys, {name}", result, "result", ALONE)
            share, took_us = result[MANY].best_ns / result[ALONE].best_ns, result[MANY].best_ns / 1000
            report.verdict(
                f"{keys:,} keys, {name}: {SHARE:.0%} of the time of one alone and {MOST_US:.0f} us a result "
                f"or less, {share:.0%} and {took_us:.0f} us seen",
                share <= SHARE and took_us <= MOST_US,
            )
    report.finish()


def runner(rule: dict[str, object], keys: int) -> ResultRunner:
    """Make what looks at results, with a history of each key."""
    plan = Plan.model_validate(
        {
            "name": "bench",
            "event": {"fields": {"k": "string", "t": "long"}, "time": {"field": "t", "unit": "ms"}},
            "metrics": [{"name": "m", "kind": "count", "by": ["k"], "windows": [{"tumbling": "1h"}]}],
            "rules": [{"name": "rule", "metric": "m"} | rule],
        }
    )
    metrics = plan.resolved_metrics()
    rules, state = ResultRules(metrics, plan.rules), AlarmState(Map())
    ((window, own),) = rules.on("m").by_window.items()
    buckets: dict[int, dict[bytes, Remembered]] = {}
    for number in range(keys):
        key = json.dumps([f"key_{number}"]).encode()
        buckets.setdefault(bucket_of(key), {})[key_name(window, key)] = history(number, own)
    for bucket, held in buckets.items():
        state.write(bucket, held)
    return ResultRunner("bench", metrics, rules, state, NoTimers(), 60_000)


def history(number: int, own: WindowRules) -> Remembered:
    """Make what is remembered of a key: as many windows as rules need, which end where results begin."""
    windows = np.zeros(own.keep, WINDOW_TYPE)
    windows["end_ms"] = START_MS + HOUR_MS * np.arange(1 - own.keep, 1)
    windows["start_ms"] = windows["end_ms"] - HOUR_MS
    windows["value"] = np.random.default_rng(number).integers(0, 1000, own.keep)
    alarms = [Alarm(name, mark, None, 0, bytes(own.keep)) for name, mark in own.marks.items()]
    return Remembered(NEVER_MS - 1, 0, START_MS - HOUR_MS, START_MS, windows.tobytes(), alarms)


def rounds(count: int, keys: int) -> Iterator[tuple[int, dict[str, list[bytes]]]]:
    """Make the records of each round: the next windows of all keys, in their order."""
    for number in range(count):
        values = np.random.default_rng(number).integers(0, 1000, RESULTS).tolist()
        first = number * RESULTS // keys
        lines = [line(f"key_{at % keys}", first + at // keys, value) for at, value in enumerate(values)]
        yield (
            RESULTS,
            {
                way: [
                    encode(FinalResults(lines[start : start + size])) for start in range(0, len(lines), size)
                ]
                for way, size in TOGETHER.items()
            },
        )


def line(key: str, window: int, value: int) -> bytes:
    """Make a result."""
    start_ms = START_MS + window * HOUR_MS
    described = {"type": "tumbling", "start_ms": start_ms, "end_ms": start_ms + HOUR_MS, "size_ms": HOUR_MS}
    told = {"id": f"{start_ms:032x}", "pipeline": "bench", "metric": "m", "kind": "count", "key": {"k": key}}
    answer = {"value": value, "lower": value, "upper": value, "confidence": 1.0}
    told |= {"window": described, "events": value} | answer | {"revision": 0, "final": True}
    return json.dumps(told, separators=(",", ":")).encode()


def take(runner: ResultRunner, records: list[bytes]) -> None:
    """Take records, and make what comes of them."""
    for record in records:
        for _ in runner.on_results(SHARD, decode_final_results(record).lines, Clock(START_MS, START_MS)):
            pass


if __name__ == "__main__":
    main()
