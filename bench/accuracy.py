"""How far the job's answers are from the truth, and how often the truth is within the bounds they state.

    python bench/accuracy.py [--json] [--rounds 40] [--events 1000 10000 100000 1000000]

Every round has other users, items and values. They go through the job's own partials and merges in batches
of 40,000, into the answers that would leave the job, and each is held against the exact answer. Items are
skewed (Zipf, exponent 1.1, 20,000 items), users come once to a few times, values are log-normal.

- `off by` is relative to the truth for distinct counts, to all events for items, and in ranks for quantiles.
- `within bounds` is how many answers hold the truth between `lower` and `upper`; `claimed` what they say.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"

import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.report.day import DaySketches
from bench.report.tables import Report, arguments
from operators.batch.event_batch import EventBatch
from operators.plan import Plan

BATCH = 40_000
ITEMS = 20_000
SKEW = 1.1
ASKED = (1, 2, 5, 10, 100, 1000, 10_000)
SHARES = (0.01, 0.5, 0.95, 0.99)
USERS, TOP, FREQUENCY, QUANTILES = "distinct users", "top 10 items", "frequency of 7 items", "4 quantiles"
_NOON_MS = 1_700_049_600_000
_METRICS = (
    {"name": "users", "kind": "distinct", "of": "user_id"},
    {"name": "top", "kind": "top_k", "of": "item_id", "k": 10},
    {"name": "frequency", "kind": "frequency", "of": "item_id", "ask": [f"item_{n}" for n in ASKED]},
    {"name": "quantiles", "kind": "quantiles", "of": "value", "at": SHARES},
)
PLAN = Plan.model_validate(
    {
        "name": "accuracy",
        "event": {
            "fields": {"user_id": "string", "item_id": "string", "value": "double"},
            "time": {"kafka_timestamp": True},
        },
        "metrics": [{**metric, "windows": [{"tumbling": "1d"}]} for metric in _METRICS],
    }
)


@dataclass
class Found:
    """What was found of one kind of answer.

    Attributes:
        errors: how far each answer is off, 0 for exact.
        within: whether the truth is between the bounds of each.
        claimed: the confidence that the answers state.
    """

    errors: list[float] = field(default_factory=list)
    within: list[bool] = field(default_factory=list)
    claimed: float = 1.0

    def add(self, error: float, within: bool, claimed: float) -> None:
        """Add an answer."""
        self.errors.append(abs(float(error)))
        self.within.append(bool(within))
        self.claimed = claimed


def main() -> None:
    """Run every measurement."""
    parser = arguments(__doc__ or "", rounds=40)
    parser.add_argument("--events", type=int, nargs="+", default=[1_000, 10_000, 100_000, 1_000_000])
    options = parser.parse_args()
    report = Report("Accuracy of answers", options.json)
    rows = []
    for events in options.events:
        found: dict[str, Found] = defaultdict(Found)
        for seed in range(options.rounds):
            for kind, error, within, claimed in compared(events, seed):
                found[kind].add(error, within, claimed)
        rows += [_row(events, kind, answers) for kind, answers in found.items()]
    columns = ("answer", "events", "answers", "off by, median", "off by, worst", "within bounds", "claimed")
    report.table(f"{options.rounds} rounds of each size", columns, rows)
    report.finish()


def compared(events: int, seed: int) -> Iterator[tuple[str, float, bool, float]]:
    """Answer and hold against the truth.

    Args:
        events: how many.
        seed: another one, other events.

    Yields:
        The kind of answer, how far off, whether within the bounds, and the confidence stated.
    """
    frame = _events(events, seed)
    answers = _answers(frame)
    users, answer = frame["user_id"].n_unique(), answers["users"]
    within = answer["lower"] <= users <= answer["upper"]
    yield USERS, answer["value"] / users - 1, within, answer["confidence"]
    counts = dict(frame["item_id"].value_counts().iter_rows())
    for kind, answer in ((TOP, answers["top"]), (FREQUENCY, answers["frequency"])):
        for item in answer["items"]:
            true = counts.get(item["item"], 0)
            within = item["lower"] <= true <= item["upper"]
            yield kind, (item["count"] - true) / events, within, answer["confidence"]
    values, answer = np.sort(frame["value"].to_numpy()), answers["quantiles"]
    for share in SHARES:
        said = answer["quantiles"][str(share)]
        true = values[max(0, int(np.ceil(share * events)) - 1)]
        rank = np.searchsorted(values, said["value"], side="right") / events
        yield QUANTILES, rank - share, said["lower"] <= true <= said["upper"], answer["confidence"]


def _events(count: int, seed: int) -> pl.DataFrame:
    random = np.random.default_rng(seed)
    weights = 1 / np.arange(1, ITEMS + 1) ** SKEW
    items = random.choice(ITEMS, count, p=weights / weights.sum()) + 1
    users = random.integers(0, count, count) + seed * 10**9
    return pl.DataFrame(
        {
            "user_id": [f"user_{user}" for user in users.tolist()],
            "item_id": [f"item_{item}" for item in items.tolist()],
            "value": random.lognormal(3, 1, count),
        }
    )


def _answers(frame: pl.DataFrame) -> dict[str, dict[str, object]]:
    """Return the result fields of each metric, as the job makes them."""
    answers = {}
    for metric in PLAN.resolved_metrics():
        sketches = DaySketches(metric)
        for part in frame.iter_slices(BATCH):
            sketches.add(EventBatch(part, np.full(len(part), _NOON_MS)))
        answers[metric.name] = sketches.answers()["[]"]
    return answers


def _row(events: int, kind: str, found: Found) -> tuple[str, int, int, str, str, str, str]:
    errors = np.array(found.errors)
    within = f"{np.mean(found.within):.1%}"
    return (
        kind,
        events,
        len(errors),
        f"{np.median(errors):.3%}",
        f"{errors.max():.3%}",
        within,
        f"{found.claimed:.1%}",
    )


if __name__ == "__main__":
    main()
