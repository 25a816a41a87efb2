"""What the demo's answers cost in memory: as sketches, and as exact sets, dicts and arrays.

One yardstick for both: bytes of process memory, ``sys.getsizeof`` summed over all objects reached, each
counted once. A sketch is held as its image, one ``bytes`` object, as the job holds it in keyed state; the
exact side is what a careful Python program would hold, with strings shared between its sets. The allocator's
rounding is in neither.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from flink_job.demo.exact import WindowAnswers
from sketches.count_min import CountMin
from sketches.hashing import hash_strings
from sketches.hyperloglog import HyperLogLog
from sketches.quantiles import Quantiles
from sketches.top_k import TopK

CARDINALITIES = (100, 1_000, 10_000, 100_000, 1_000_000)


@dataclass(frozen=True)
class Footprint:
    """What one answer costs.

    Attributes:
        answer: name of the metric.
        sketch: what the job holds.
        sketch_bytes: its size.
        exact: what an exact program holds beyond what the footprints before this one hold.
        exact_bytes: its size.
    """

    answer: str
    sketch: str
    sketch_bytes: int
    exact: str
    exact_bytes: int


@dataclass(frozen=True)
class Growth:
    """A distinct count of one size.

    Attributes:
        distinct: how many ids there are.
        estimate: what the sketch says.
        sketch_bytes: size of the sketch.
        set_bytes: size of a set of the ids.
    """

    distinct: int
    estimate: float
    sketch_bytes: int
    set_bytes: int


class MemoryMeter:
    """Adds up the size of object graphs and counts no object twice."""

    def __init__(self) -> None:
        """Begin with nothing seen."""
        self._seen: dict[int, Any] = {}  # holds on to what was seen, so that no id is used again

    def size(self, *roots: Any) -> int:
        """Bytes of all objects reached from ``roots`` that were not seen before.

        Args:
            roots: objects; dicts, lists, sets and tuples are followed, anything else is a leaf.

        Returns:
            Bytes of process memory.
        """
        total = 0
        pending = list(roots)
        while pending:
            found = pending.pop()
            if id(found) in self._seen:
                continue
            self._seen[id(found)] = found
            total += sys.getsizeof(found)
            if isinstance(found, dict):
                pending += found.keys()
                pending += found.values()
            elif isinstance(found, list | tuple | set | frozenset):
                pending += found
        return total


def footprints(answers: WindowAnswers) -> list[Footprint]:
    """What each of the demo's answers over one window costs; those that both sides keep exactly are left out.

    Args:
        answers: the exact answers of the window.

    Returns:
        A footprint an answer, in a fixed order.
    """
    users = set(answers.users)
    shared = {user: user for user in users}
    buyers = {shared[user] for user in answers.buyers}
    baskets = array("d", answers.values.get("purchase", ()))
    items = dict(answers.items)
    held, exact = MemoryMeter(), MemoryMeter()
    rows = (
        ("unique_users", "HyperLogLog", [_distinct(users)], "set of users", [users]),
        ("basket_value", "KLL quantiles", [_quantiles(baskets)], "array of values", [baskets]),
        ("conversion", "2 HyperLogLogs", [_distinct(users), _distinct(buyers)], "set of buyers", [buyers]),
        ("top_items", "heavy hitters", [_top_k(items)], "dict of counts", [items]),
        ("item_frequency", "Count-Min", [_count_min(items)], "(the same dict)", []),
    )
    return [
        Footprint(answer, sketch, held.size(*sketches), what, exact.size(*objects))
        for answer, sketch, sketches, what, objects in rows
    ]


def growth(cardinalities: Sequence[int] = CARDINALITIES) -> list[Growth]:
    """Measure a set of ids and a HyperLogLog of the same ids at several sizes.

    Args:
        cardinalities: how many ids, each.

    Returns:
        A measurement a size.
    """
    rows = []
    for distinct in cardinalities:
        ids = {f"user_{number:07d}" for number in range(distinct)}
        image = _distinct(ids)
        set_bytes = sys.getsizeof(ids) + sum(map(sys.getsizeof, ids))
        rows.append(
            Growth(distinct, HyperLogLog.deserialize(image).estimate(), sys.getsizeof(image), set_bytes)
        )
    return rows


def _distinct(values: Iterable[str]) -> bytes:
    sketch = HyperLogLog(lg_k=14)
    sketch.update_many(hash_strings(list(values)))
    return sketch.serialize()


def _top_k(counts: dict[str, int]) -> bytes:
    sketch = TopK()
    sketch.update_many(list(counts), np.array(list(counts.values()), dtype=np.int64))
    return sketch.serialize()


def _count_min(counts: dict[str, int]) -> bytes:
    sketch = CountMin(*CountMin.suggest(0.005, 0.01))
    sketch.update_many(hash_strings(list(counts)), np.array(list(counts.values()), dtype=np.int64))
    return sketch.serialize()


def _quantiles(values: array[float]) -> bytes:
    sketch = Quantiles()
    sketch.update_many(np.array(values))
    return sketch.serialize()
