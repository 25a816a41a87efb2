"""Plans with an entry of `similar`, vectors for their items, and a full search in numpy as the oracle."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from operators.plan import Plan
from operators.similar.answerer import Answerer

DAY = 86_400_000
FIELDS = {"user": "string", "item": "string", "n": "long", "text": "string", "action": "string", "t": "long"}
PROFILE = {"of": "user", "touched": "item", "half_life": "1d"}


def entry(**options: Any) -> dict[str, Any]:
    """An entry of `similar` of two dimensions that asks by item."""
    items = {"type": "file", "path": "items.jsonl"}
    return {"name": "like", "items": items, "dimension": 2, "query": {"item": "item"}, **options}


def plan(*entries: dict[str, Any]) -> dict[str, Any]:
    """A plan with these entries."""
    return {
        "name": "shop",
        "event": {"fields": FIELDS, "time": {"field": "t", "unit": "ms"}},
        "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1h"}]}],
        "similar": list(entries),
    }


def answerer(**options: Any) -> Answerer:
    """The entry with these options, checked."""
    return Plan.model_validate(plan(entry(**options))).resolved_similar()[0]


def write_items(path: Path, items: Mapping[Any, Any], key: str = "vector") -> str:
    """Write items as JSON lines; return the path as text."""
    lines = (json.dumps({"item_id": item, key: value}) for item, value in items.items())
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def unit(vectors: Any) -> np.ndarray:
    """Vectors with length 1, float32."""
    vectors = np.atleast_2d(np.asarray(vectors, np.float64))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def clustered(count: int, dimension: int, clusters: int, seed: int, spread: float = 0.5) -> np.ndarray:
    """Vectors around so many centres, `(count, dimension) float32` of length 1."""
    chance = np.random.default_rng(seed)
    centres = chance.normal(size=(clusters, dimension))
    around = centres[chance.integers(0, clusters, count)]
    return unit(around + spread * chance.normal(size=(count, dimension)))


def nearest(
    items: Mapping[Any, np.ndarray], query: np.ndarray, k: int, without: Any = None
) -> list[tuple[Any, float]]:
    """The nearest items by a full search: highest score first, ties by id."""
    scored = [
        (round(float(vector.astype(np.float64) @ query.astype(np.float64)), 6), item)
        for item, vector in items.items()
        if item != without
    ]
    return [(item, score) for score, item in sorted(scored, key=lambda pair: (-pair[0], pair[1]))[:k]]
