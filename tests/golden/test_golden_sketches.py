"""Bytes written once, which every later version must read and, where they are determined, write.

`golden_sketches.json` stands for the state of running jobs: it is never made anew. A change of format
gets a new serial version and new entries beside these.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path

import numpy as np
import pytest
from datasketches import frequent_strings_sketch, hll_sketch, kll_doubles_sketch

from sketches.bloom import Bloom
from sketches.count_min import CountMin
from sketches.growing_bloom import GrowingBloom
from sketches.hashing import hash_doubles, hash_longs, hash_strings
from sketches.hyperloglog import HyperLogLog, merge_images
from sketches.quantiles import Quantiles
from sketches.top_k import TopK

GOLDEN = json.loads(Path(__file__).with_name("golden_sketches.json").read_text(encoding="utf-8"))
PREAMBLE_OF_ONE_PARAMETER = 16


def golden(name: str) -> bytes:
    return base64.b64decode(GOLDEN[name]["image"])


def hyperloglog(lg_k: int, size: int) -> HyperLogLog:
    """Fill a sketch with `size` integers, some texts and some doubles."""
    sketch = HyperLogLog(lg_k)
    sketch.update_many(hash_longs(np.arange(size)))
    if size:
        sketch.update_many(hash_strings(["", "é"]))
        sketch.update_many(hash_doubles(np.array([0.5, -0.0])))
    return sketch


def count_min(items: int) -> CountMin:
    sketch = CountMin(3, 32)
    sketch.update_many(hash_longs(np.arange(items)), np.arange(items) * 1000)
    return sketch


HYPERLOGLOGS = {
    "hyperloglog empty": (12, 0),
    "hyperloglog list": (12, 2),
    "hyperloglog set": (12, 60),
    "hyperloglog dense": (8, 5_000),
    "hyperloglog dense, smallest": (4, 5_000),
}


@pytest.mark.parametrize("name", HYPERLOGLOGS)
def test_a_golden_hyperloglog_is_read_and_written_the_same(name: str) -> None:
    sketch = hyperloglog(*HYPERLOGLOGS[name])
    assert sketch.serialize() == golden(name)
    restored = HyperLogLog.deserialize(golden(name))
    assert restored.serialize() == golden(name) == merge_images(golden(name), golden(name))
    assert restored.estimate() == pytest.approx(GOLDEN[name]["estimate"], rel=1e-12)
    assert hll_sketch.deserialize(golden(name)).get_estimate() == pytest.approx(GOLDEN[name]["estimate"])


def test_golden_exceptions_of_hll_4_are_read() -> None:
    restored = HyperLogLog.deserialize(golden("hyperloglog of datasketches, HLL_4 with exceptions"))
    assert restored.registers.tolist() == [3, 3, 25, 4, 40, 5, 6, 17, 18, 63, 7, 8, 9, 3, 10, 11]


@pytest.mark.parametrize(("name", "items"), [("count-min sparse", 4), ("count-min dense", 100)])
def test_a_golden_count_min_is_read_and_written_the_same(name: str, items: int) -> None:
    restored = CountMin.deserialize(golden(name))
    assert restored.serialize() == golden(name) == count_min(items).serialize()
    assert restored.estimate_many(hash_longs(np.arange(4))).tolist() == GOLDEN[name]["estimates"]
    assert restored.total_weight == sum(range(items)) * 1000


@pytest.mark.parametrize(("name", "values"), [("bloom sparse", 3), ("bloom dense", 100)])
def test_a_golden_bloom_filter_is_read_and_written_the_same(name: str, values: int) -> None:
    sketch = Bloom(*Bloom.suggest(100, 0.05))
    sketch.add_many(hash_longs(np.arange(values))[:, 0])
    restored = Bloom.deserialize(golden(name))
    assert restored.serialize() == golden(name) == sketch.serialize()
    found = np.flatnonzero(restored.contains_many(hash_longs(np.arange(1000))[:, 0]))
    assert found.tolist() == GOLDEN[name]["found of 1000"]


def test_a_golden_growing_bloom_filter_is_read_and_goes_on() -> None:
    sketch = GrowingBloom(20, 0.05)
    sketch.add_many(hash_longs(np.arange(100))[:, 0])
    restored = GrowingBloom.deserialize(golden("growing bloom"))
    assert restored.serialize() == golden("growing bloom") == sketch.serialize()
    assert (restored.members, restored.filters) == tuple(GOLDEN["growing bloom"]["members and filters"])
    more = hash_longs(np.arange(50, 300))[:, 0]
    assert restored.add_many(more).tolist() == sketch.add_many(more).tolist()


def test_a_golden_top_k_is_read() -> None:
    restored = TopK.deserialize(golden("top-k"))
    assert [list(entry) for entry in restored.top(5)] == GOLDEN["top-k"]["top"]
    theirs = frequent_strings_sketch.deserialize(golden("top-k")[PREAMBLE_OF_ONE_PARAMETER:])
    assert theirs.total_weight == restored.total_weight == GOLDEN["top-k"]["total_weight"]


def test_a_golden_top_k_beyond_63_bits_is_read_and_written_the_same() -> None:
    entry, restored = GOLDEN["top-k beyond 63 bits"], TopK.deserialize(golden("top-k beyond 63 bits"))
    weights = {f"item {number}": 2**62 + number for number in range(6)} | {"é": 7, "": 2**63 - 1}
    assert restored.serialize() == golden("top-k beyond 63 bits")
    assert restored.total_weight == entry["total_weight"] == sum(weights.values())
    assert [list(found) for found in restored.top(5)] == entry["top"]
    assert all(
        restored.lower_bound(item) <= weight <= restored.upper_bound(item) for item, weight in weights.items()
    )


@pytest.mark.parametrize(("name", "items", "scale"), [("sparse", 4, 2**61), ("dense", 100, 2**56)])
def test_a_golden_count_min_beyond_63_bits_is_read_and_written_the_same(
    name: str, items: int, scale: int
) -> None:
    name, sketch = f"count-min beyond 63 bits, {name}", CountMin(3, 32)
    sketch.update_many(hash_longs(np.arange(items)), np.arange(items) * scale)
    restored = CountMin.deserialize(golden(name))
    assert restored.serialize() == golden(name) == sketch.serialize()
    assert restored.estimate_many(hash_longs(np.arange(4))).tolist() == GOLDEN[name]["estimates"]
    assert restored.total_weight == sum(range(items)) * scale > 2**63


GOLDEN_QUANTILES = ["quantiles empty", "quantiles single", "quantiles full", "quantiles of longs"]


@pytest.mark.parametrize("name", GOLDEN_QUANTILES)
def test_golden_quantiles_are_read(name: str) -> None:
    restored, entry = Quantiles.deserialize(golden(name)), GOLDEN[name]
    answers = [restored.quantile(q) for q in (0.0, 0.5, 0.95, 1.0)]
    assert [answer if answer is None else list(answer) for answer in answers] == entry["quantiles"]
    assert (
        restored.n == kll_doubles_sketch.deserialize(golden(name)[PREAMBLE_OF_ONE_PARAMETER:]).n == entry["n"]
    )
