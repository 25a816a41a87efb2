"""What the sketches cost on one core: hashing and updating, all values distinct, beside `datasketches`.

    python bench/kernels.py [--json] [--rounds 15]

A round has its own values, as a batch of the job has them: a column of text, packed as Arrow keeps it, and
the same as Python strings for `datasketches`, which takes nothing else. Its Python package updates these two
sketches one value a call only; "in bulk" is `map` over the whole list, the fastest loop that Python has.
Goal: hash and update at 5 million values a second or more.
"""

from __future__ import annotations

import os

os.environ["POLARS_MAX_THREADS"] = "1"

import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import datasketches
import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.report.stopwatch import Race, pin_to_one_core, race
from bench.report.tables import Report, arguments
from operators.batch.event_batch import packed_strings
from sketches.count_min import CountMin
from sketches.hashing import hash_longs, hash_packed
from sketches.hyperloglog import HyperLogLog

VALUES = 1_000_000
BATCH = 40_000
LG_K = 14
COUNT_MIN = CountMin.suggest(0.005, 0.01)
GOAL = 5_000_000
Packed = list[tuple[np.ndarray, np.ndarray]]


def main() -> None:
    """Run every measurement."""
    options = arguments(__doc__ or "", rounds=15).parse_args()
    pin_to_one_core()
    report = Report("Sketch kernels on one core, all values distinct", options.json)
    told = f"{VALUES:,} user ids of 12 bytes in batches of {BATCH:,}"
    distinct = race(
        {
            "hash": hash_texts,
            "hash + HyperLogLog": hyperloglog_of_texts,
            "datasketches HLL, map": datasketches_hll_bulk,
            "datasketches HLL, one by one": datasketches_hll,
        },
        texts(options.rounds + 1, ("hash", "hash + HyperLogLog")),
    )
    report.race(f"Distinct count, lg_k {LG_K}: {told}", distinct, "value", "datasketches HLL, one by one")
    frequency = race(
        {
            "hash + Count-Min": count_min_of_texts,
            "datasketches Count-Min, map": datasketches_count_min_bulk,
            "datasketches Count-Min, one by one": datasketches_count_min,
        },
        texts(options.rounds + 1, ("hash + Count-Min",)),
    )
    shape = "{} x {}".format(*COUNT_MIN)
    report.race(f"Frequency, {shape}: {told}", frequency, "value", "datasketches Count-Min, one by one")
    numbers = race(
        {
            "hash + HyperLogLog": hyperloglog_of_longs,
            "hash + Count-Min": count_min_of_longs,
            "hash once, both": both_of_longs,
        },
        longs(options.rounds + 1, ("hash + HyperLogLog", "hash + Count-Min", "hash once, both")),
    )
    report.race(f"{VALUES:,} 64-bit numbers in batches of {BATCH:,}", numbers, "value", "hash once, both")
    for name, result in (("text", distinct), ("text", frequency), ("numbers", numbers)):
        _judge(report, name, result)
    report.finish()


def texts(rounds: int, packed: tuple[str, ...]) -> Iterator[tuple[int, dict[str, object]]]:
    """Make the values of each round: packed for the contenders named, as a list for all others."""
    for number in range(rounds):
        values = _ids(number)
        columns = [packed_strings(pl.Series(values[i : i + BATCH])) for i in range(0, VALUES, BATCH)]
        yield VALUES, _Inputs(dict.fromkeys(packed, columns), values)


def longs(rounds: int, names: tuple[str, ...]) -> Iterator[tuple[int, dict[str, object]]]:
    """Make the numbers of each round, in random order."""
    for number in range(rounds):
        values = np.random.default_rng(number).permutation(VALUES) + VALUES * number
        yield VALUES, dict.fromkeys(names, np.split(values, VALUES // BATCH))


def hash_texts(columns: Packed) -> None:
    """Only hash."""
    for data, offsets in columns:
        hash_packed(data, offsets)


def hyperloglog_of_texts(columns: Packed) -> None:
    """Hash and count distinct."""
    sketch = HyperLogLog(LG_K)
    for data, offsets in columns:
        sketch.update_many(hash_packed(data, offsets))


def count_min_of_texts(columns: Packed) -> None:
    """Hash and count each."""
    sketch = CountMin(*COUNT_MIN)
    for data, offsets in columns:
        sketch.update_many(hash_packed(data, offsets))


def hyperloglog_of_longs(batches: list[np.ndarray]) -> None:
    """Hash and count distinct."""
    sketch = HyperLogLog(LG_K)
    for batch in batches:
        sketch.update_many(hash_longs(batch))


def count_min_of_longs(batches: list[np.ndarray]) -> None:
    """Hash and count each."""
    sketch = CountMin(*COUNT_MIN)
    for batch in batches:
        sketch.update_many(hash_longs(batch))


def both_of_longs(batches: list[np.ndarray]) -> None:
    """Hash once for both sketches, as the job does."""
    distinct, frequency = HyperLogLog(LG_K), CountMin(*COUNT_MIN)
    for batch in batches:
        hashes = hash_longs(batch)
        distinct.update_many(hashes)
        frequency.update_many(hashes)


def datasketches_hll(values: list[str]) -> None:
    """Count distinct, a call a value."""
    sketch = datasketches.hll_sketch(LG_K, datasketches.tgt_hll_type.HLL_8)
    for value in values:
        sketch.update(value)


def datasketches_hll_bulk(values: list[str]) -> None:
    """Count distinct with the least Python around each call."""
    sketch = datasketches.hll_sketch(LG_K, datasketches.tgt_hll_type.HLL_8)
    deque(map(sketch.update, values), maxlen=0)


def datasketches_count_min(values: list[str]) -> None:
    """Count each, a call a value."""
    sketch = datasketches.count_min_sketch(*COUNT_MIN)
    for value in values:
        sketch.update(value)


def datasketches_count_min_bulk(values: list[str]) -> None:
    """Count each with the least Python around each call."""
    sketch = datasketches.count_min_sketch(*COUNT_MIN)
    deque(map(sketch.update, values), maxlen=0)


class _Inputs(dict):
    """Inputs by contender; the list of strings for those not named."""

    def __init__(self, named: dict[str, object], values: list[str]) -> None:
        super().__init__(named)
        self._values = values

    def __missing__(self, name: str) -> list[str]:
        return self._values


def _ids(number: int) -> list[str]:
    order = np.random.default_rng(number).permutation(VALUES) + VALUES * number
    return [f"user_{n:07d}" for n in (order % 10_000_000).tolist()]


def _judge(report: Report, of: str, result: Race) -> None:
    for timing in result.timings:
        if timing.name.startswith("hash +"):
            goal, seen = GOAL / 1e6, timing.best_rate / 1e6
            text = f"{timing.name} ({of}): at least {goal:.0f} million values/s, {seen:.1f} seen"
            report.verdict(text, timing.best_rate >= GOAL)


if __name__ == "__main__":
    main()
