"""What similar items cost on one core: searches by an index beside comparing all, recall, build, memory.

    python bench/similar.py [--json] [--rounds 7] [--items 100000] [--groups 1000] [--spread 0.5]

Items have 64 dimensions and come in groups, as those of a shop do: centres are drawn from a normal
distribution, items around them from one that is narrower by `--spread`, so that at 1 a group is as wide as
all centres are apart. Questions are items moved by a little, none twice in a round. A search is what the job
does for a question: candidates, their exact scores, ties by id, ten items out. Records have 250 questions;
"one by one" are records of one. "Compare all" is faiss's own full search, as fast as its flat index.
"Changed" is the same catalogue after a share of its items was replaced just below what has another index
built, the worst that searches meet. Memory is how much the resident pages of a fresh child process grow,
shared pages left out.
Goal: recall at ten of 0.95 or more, at five times the searches of comparing all.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.report.stopwatch import Race, pin_to_one_core, race
from bench.report.tables import Report, arguments
from operators.similar.catalogue import Catalogue
from operators.similar.index import build_index

DIMENSION, NOISE = 64, 0.25
QUESTIONS, RECORD, K = 500, 250, 10
ALL, AUTO, GRAPH = "compare all", "index, chosen by itself", "graph (hnsw)"
ONE_BY_ONE, CHANGED = "index, one by one", "index, 6 % changed"
CHANGED_SHARE = 0.06 / 2  # what is replaced counts twice: gone from the index, and not in it
RECALL_GOAL, SPEED_GOAL = 0.95, 5
PAGE = 4096


def main() -> None:
    """Run every measurement, or what a child process is asked to."""
    if sys.argv[1:2] == ["hold"]:
        hold(sys.argv[2], items(int(sys.argv[3]), int(sys.argv[4]), float(sys.argv[5])))
        return
    parser = arguments(__doc__ or "", rounds=7)
    parser.add_argument("--items", type=int, default=100_000, help="how many items (default 100,000)")
    parser.add_argument(
        "--groups", type=int, default=1_000, help="how many groups they are in (default 1,000)"
    )
    parser.add_argument("--spread", type=float, default=0.5, help="how wide a group is (default 0.5)")
    options = parser.parse_args()
    pin_to_one_core()
    shape = (options.items, options.groups, options.spread)
    vectors = items(*shape)
    told = f"{options.items:,} items of {DIMENSION} dimensions in {options.groups:,} groups"
    report = Report(f"Similar items on one core: {told}", options.json)
    catalogues = {
        name: filled(vectors, kind) for name, kind in ((ALL, "flat"), (AUTO, "auto"), (GRAPH, "hnsw"))
    }
    catalogues[CHANGED] = changed(vectors, items(2 * options.items, *shape[1:]))
    found = recalls(vectors, catalogues)
    contenders = {name: partial(search, catalogue, RECORD) for name, catalogue in catalogues.items()}
    contenders[ONE_BY_ONE] = partial(search, catalogues[AUTO], 1)
    result = race(contenders, rounds(vectors, options.rounds + 1, contenders))
    report.race(f"Searches for {K} items, records of {RECORD} questions", result, "question", ALL)
    rows = [(name, catalogues[name].kind, found[name], catalogues[name].recall) for name in catalogues]
    report.table(f"Recall at {K}, of 2,000 questions, and as the catalogue tells it", COLUMNS, rows)
    builds = [(kind, *built(vectors, kind)) for kind in ("ivf", "hnsw")]
    report.table("Building an index", ("index", "seconds", "items/s"), builds)
    sizes = [(kind, held(kind, shape)) for kind in ("flat", "ivf", "hnsw")]
    report.table("Memory of a catalogue, ids included", ("index", "MB", "bytes an item"), [
        (kind, grown / 1e6, round(grown / options.items)) for kind, grown in sizes
    ])  # fmt: skip
    rate = changes(vectors)
    report.note(f"{rate:,.0f} items a second are put or replaced.")
    judge(report, result, found)
    report.finish()


COLUMNS = ("way", "index", "recall", "told")


def items(count: int, groups: int, spread: float) -> np.ndarray:
    """Make items, `(count, 64) float32` of length 1, the same every time."""
    chance = np.random.default_rng(7)
    centres = chance.normal(size=(groups, DIMENSION))
    return unit(centres[chance.integers(0, groups, count)] + spread * chance.normal(size=(count, DIMENSION)))


def questions(vectors: np.ndarray, seed: int, count: int) -> np.ndarray:
    """Make questions: different items, moved by a little."""
    chance = np.random.default_rng(seed)
    rows = chance.choice(len(vectors), count, replace=False)
    return unit(vectors[rows] + NOISE * chance.normal(size=(count, DIMENSION)) / DIMENSION**0.5)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Give vectors length 1, float32."""
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def filled(vectors: np.ndarray, kind: str) -> Catalogue:
    """Make a catalogue of items and, where it has one, its index."""
    catalogue = Catalogue(DIMENSION, kind)
    for number, vector in enumerate(vectors):
        catalogue.put(f"item_{number}", vector)
    catalogue.settle()
    return catalogue


def changed(vectors: np.ndarray, others: np.ndarray) -> Catalogue:
    """Make a catalogue some of whose items were replaced by others since its index was built."""
    catalogue = filled(vectors, "auto")
    for number, vector in enumerate(others[-int(CHANGED_SHARE * len(vectors)) :]):
        catalogue.put(f"item_{number}", vector)
    return catalogue


def search(catalogue: Catalogue, at_once: int, queries: np.ndarray) -> None:
    """Search record by record."""
    for start in range(0, len(queries), at_once):
        some = queries[start : start + at_once]
        catalogue.search(some, K, [None] * len(some))


def rounds(
    vectors: np.ndarray, count: int, contenders: dict[str, object]
) -> Iterator[tuple[int, dict[str, object]]]:
    """Make the questions of each round."""
    for number in range(count):
        yield QUESTIONS, dict.fromkeys(contenders, questions(vectors, 1_000 + number, QUESTIONS))


def recalls(vectors: np.ndarray, catalogues: dict[str, Catalogue]) -> dict[str, float]:
    """Return the share of the nearest ten, found by a full search in numpy, that each catalogue finds."""
    queries, found = questions(vectors, 1, 2_000), {}
    for name, catalogue in catalogues.items():
        own = catalogue.vectors_of([f"item_{number}" for number in range(len(vectors))])[0]
        answers = catalogue.search(queries, K, [None] * len(queries)).items
        hits = 0
        for start in range(0, len(queries), RECORD):
            scores = queries[start : start + RECORD] @ own.T
            best = np.argpartition(-scores, K, axis=1)[:, :K]
            for row, items_found in zip(best.tolist(), answers[start : start + RECORD], strict=True):
                hits += len({f"item_{number}" for number in row} & set(items_found))
        found[name] = hits / (K * len(queries))
    return found


def built(vectors: np.ndarray, kind: str) -> tuple[float, int]:
    """Return the CPU time that an index takes to be built and measured, in seconds, and items a second."""
    began = time.process_time()
    build_index(vectors, kind, 1)
    taken = time.process_time() - began
    return taken, round(len(vectors) / taken)


def changes(vectors: np.ndarray) -> float:
    """Return how many items a second are put into a catalogue."""
    catalogue = Catalogue(DIMENSION, "flat")
    began = time.process_time()
    for number, vector in enumerate(vectors):
        catalogue.put(number, vector)
    return len(vectors) / (time.process_time() - began)


def held(kind: str, shape: tuple[int, int, float]) -> int:
    """Return by how many bytes a child process grows that holds a catalogue."""
    command = [sys.executable, __file__, "hold", kind, *map(str, shape)]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(json.loads(ran.stdout))


def hold(kind: str, vectors: np.ndarray) -> None:
    """Print by how many bytes this process grows with a catalogue."""
    filled(vectors[:6_000], kind)
    gc.collect()
    before = resident()
    catalogue = filled(vectors, kind)
    gc.collect()
    print(json.dumps(resident() - before if len(catalogue) == len(vectors) else None))


def resident() -> int:
    """Return the bytes of this process's own pages."""
    _, pages, shared, *_ = Path("/proc/self/statm").read_text().split()
    return (int(pages) - int(shared)) * PAGE


def judge(report: Report, result: Race, found: dict[str, float]) -> None:
    """Say whether the goal was reached."""
    for name in (AUTO, GRAPH, CHANGED):
        times = result[ALL].best_ns / result[name].best_ns
        text = (
            f"{name}: recall {RECALL_GOAL} or more at {SPEED_GOAL} times the searches of comparing all, "
            f"{found[name]:.3f} at {times:.1f} times seen"
        )
        report.verdict(text, found[name] >= RECALL_GOAL and times >= SPEED_GOAL)


if __name__ == "__main__":
    main()
