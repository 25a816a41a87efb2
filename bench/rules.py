"""What rules cost on one core: features of the past, ten rules beside a thousand, large and small records.

    python bench/rules.py [--json] [--rounds 15] [--cards 20000]

Events are card payments of `--cards` cards; there are five features: a count and a sum of an hour, different
shops of a day, deviations of the amount, and whether it is the card's first. Records are as ingest makes
them, encoded; what is timed is the part of the operator, from bytes to alerts, with Flink's state played
by dicts. Records of 2,000 events are what a job meets that catches up, those of 20 what it meets in time.
Rules have thresholds on amounts, on features, on both with lists of shops, and, one in twenty, on differences
and quotients. One in a hundred has a function, so that nothing tells beforehand that it holds for no event.
No two rounds have the same events, so that it takes some until each way had a good one.
Goal: with a thousand rules half the events a second of ten, or more; at most 8 us an event for five features.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"

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
from operators.records import RuleRecord, decode_rule_record, encode
from operators.rules.rules_runner import RulesRunner
from operators.windows.runner import Clock
from operators.windows.silence import Silence
from state.clock_state import ClockState
from state.history_state import HistoryState

NONE, TEN, THOUSAND = "features alone", "10 rules", "1,000 rules"
ANSWERS = "10 rules, every event answered"
RULES = {NONE: 0, TEN: 10, THOUSAND: 1000, ANSWERS: 10}
LARGE, SMALL, EVENTS = 2_000, 20, 20_000
SHOPS, START_MS, SHARD = 3_000, 1_700_000_000_000, "@rules/0"
HALF, MOST_US = 0.5, 8.0
FIELDS = {"card": "string", "amount": "double", "shop": "string", "country": "string", "t": "long"}


def main() -> None:
    """Run every measurement."""
    parser = arguments(__doc__ or "", rounds=15)
    parser.add_argument("--cards", type=int, default=20_000, help="how many cards (default 20,000)")
    options = parser.parse_args()
    pin_to_one_core()
    report = Report(f"Rules and features on one core: {options.cards:,} cards, five features", options.json)
    for size in (LARGE, SMALL):
        runners = {name: runner(count, answers=name == ANSWERS) for name, count in RULES.items()}
        contenders = {name: partial(take, one) for name, one in runners.items()}
        result = race(contenders, rounds(options.rounds + 1, options.cards, size, contenders))
        report.race(f"Records of {size:,} events", result, "event", TEN)
        tell(report, runners[THOUSAND])
        share = result[TEN].best_ns / result[THOUSAND].best_ns
        text = f"records of {size:,}: a thousand rules at {HALF:.0%} of the events a second of ten or more"
        report.verdict(f"{text}, {share:.0%} seen", share >= HALF)
    taken_us = result[NONE].best_ns / 1000
    report.verdict(
        f"records of {SMALL}: five features at {MOST_US:.0f} us an event or less, {taken_us:.1f} us seen",
        taken_us <= MOST_US,
    )
    report.finish()


def runner(count: int, answers: bool) -> RulesRunner:
    """Make what raises alerts, with so many rules."""
    plan = Plan.model_validate(
        {
            "name": "bench",
            "event": {"fields": FIELDS, "time": {"field": "t", "unit": "ms"}},
            "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1m"}]}],
            "features": {
                "of": "card",
                "columns": {
                    "events": {"kind": "count", "within": "1h"},
                    "spent": {"kind": "sum", "of": "amount", "within": "1h"},
                    "shops": {"kind": "distinct", "of": "shop", "within": "1d"},
                    "off": {"kind": "deviations", "of": "amount"},
                    "new": {"kind": "first"},
                },
            },
            "rules": [{"name": f"rule_{number}", "when": condition(number)} for number in range(count)],
        }
    )
    state, clock = HistoryState(Map()), ClockState(Map())
    features, rules = plan.resolved_features(), plan.resolved_rules()
    return RulesRunner("bench", features, answers, rules, state, clock, NoTimers(), Silence(None))


def condition(number: int) -> str:
    """Return the condition of a rule, no two alike."""
    chance = np.random.default_rng(number)
    amount, shop = chance.uniform(300, 700), number % SHOPS
    if number % 100 == 7:
        return f"coalesce(off, 0.0) > {7 + amount / 100:.2f} and shop != 'shop_{shop}'"
    if number % 20 == 1:
        return f"spent / events > {500 + amount:.2f} or spent - amount > {4_000 + 2 * amount:.2f}"
    return (
        f"amount > {amount:.2f} and shop = 'shop_{shop}'",
        f"spent > {5_000 + 2 * amount:.0f} and events > {chance.integers(5, 9)}",
        f"off > {chance.uniform(6, 9):.2f} and amount > {amount:.2f} and shop in ('shop_{shop}', 'shop_1')",
        f"new and amount > {amount:.2f} and country = 'country_{number % 90}'",
    )[number % 4]


def rounds(
    count: int, cards: int, size: int, contenders: dict[str, object]
) -> Iterator[tuple[int, dict[str, object]]]:
    """Make the records of each round: events a millisecond apart, the same for all."""
    for number in range(count):
        chance = np.random.default_rng(number)
        starts = range(number * EVENTS, (number + 1) * EVENTS, size)
        records = [encode(record(chance, cards, size, START_MS + start)) for start in starts]
        yield EVENTS, dict.fromkeys(contenders, records)


def record(chance: np.random.Generator, cards: int, size: int, first_ms: int) -> RuleRecord:
    """Make the record of some payments."""
    drawn, owners = np.unique(chance.integers(0, cards, size), return_inverse=True)
    names = [f"card_{number}" for number in drawn.tolist()]
    times = np.arange(first_ms, first_ms + size)
    columns = [
        [names[owner] for owner in owners.tolist()],
        np.round(chance.exponential(60, size), 2).tolist(),
        [f"shop_{number}" for number in chance.integers(0, SHOPS, size).tolist()],
        [f"country_{number}" for number in chance.integers(0, 200, size).tolist()],
        times.tolist(),
    ]
    positions = [b'{"topic":"payments","partition":0,"offset":%d}' % number for number in range(size)]
    return RuleRecord(
        columns,
        names,
        owners.astype("<i4").tobytes(),
        times.astype("<i8").tobytes(),
        [],
        bytes([1]) * size,
        positions,
    )


def take(runner: RulesRunner, records: list[bytes]) -> None:
    """Take records, and make what comes of them."""
    for data in records:
        for _ in runner.on_record(SHARD, decode_rule_record(data), Clock(START_MS, START_MS)):
            pass


def tell(report: Report, runner: RulesRunner) -> None:
    """Say how many alerts there were, and what a card takes in state."""
    entities, alerts = runner.state.entities(), sum(runner.alerts.values())
    held = runner.state.bytes() / entities
    report.note(
        f"A thousand rules raised {alerts:,} alerts of {runner.events:,} events, by {len(runner.alerts):,} "
        f"of them; {entities:,} cards take {held:,.0f} bytes each in state."
    )


if __name__ == "__main__":
    main()
