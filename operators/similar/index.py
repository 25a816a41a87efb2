"""Approximate search over a fixed set of vectors, tuned and measured when it is built.

Which index is used follows from what it has to hold. Lists of nearby vectors (IVF) are built in a second for
100,000 vectors and are the faster ones where vectors come in groups; where they do not, many lists have to be
looked into, and a graph (HNSW), which takes ten times as long to build, may do better. How many lists or
nodes a search looks at is raised until the measured recall is that asked for, so that a build ends with what
it found and not with a hope.

Recall is the share of the ten nearest that a search finds, measured against a full search over a fixed sample
of questions: sums of items, as many to a question as profiles are likely to have, or items themselves.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

# Each worker is one of several on the machine: one thread is its share. Read when faiss is imported.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import faiss
import numpy as np

Approximate = Literal["hnsw", "ivf"]
RECALL_GOAL = 0.98
RECALL_AT = 10
_QUESTIONS, _SEED = 512, 20_240_229
_SAME_SCORE = 1e-6
_LISTS_PER_ROOT, _POINTS_PER_LIST, _LEAST_PER_LIST, _ROUNDS = 3, 64, 39, 10
_FEW_LISTS = 16
"""Where more than one list in so many has to be looked into, a graph may be faster."""
_LINKS, _BREADTH = 16, 80
_WIDEST = 512


@dataclass(frozen=True)
class ApproximateIndex:
    """An index that is never changed.

    Attributes:
        kind: which it is.
        recall: its measured recall, 0 to 1.
        bytes: its memory, about.
        effort: how many lists (IVF) or nodes (HNSW) a search looks at.
        size: how many vectors it holds.
    """

    kind: Approximate
    recall: float
    bytes: int
    effort: int
    size: int
    index: faiss.Index

    def search(self, queries: np.ndarray, k: int) -> np.ndarray:
        """Return the rows of the nearest vectors, nearest first.

        Args:
            queries: `(n, d) float32` of length 1.
            k: how many, at most.

        Returns:
            `(n, k) int64`, -1 where none was found.
        """
        one_thread()
        effort = max(self.effort, k) if self.kind == "hnsw" else self.effort
        return self.index.search(queries, k, params=_parameters(self.kind, effort))[1]


def build_index(vectors: np.ndarray, kind: str, blend: int) -> ApproximateIndex:
    """Build an index and measure it.

    Args:
        vectors: `(n, d) float32` of length 1, n at least 100.
        kind: `ivf`, `hnsw`, or `auto` for the one that fits.
        blend: how many items the sample's questions are summed of.
    """
    one_thread()
    sample = _Sample.of(vectors, blend)
    if kind == "hnsw":
        return _graph(vectors, sample)
    lists = _lists(vectors, sample)
    if kind == "ivf" or lists.effort * _FEW_LISTS <= lists.index.nlist:
        return lists
    graph = _graph(vectors, sample)
    return graph if graph.recall >= RECALL_GOAL else lists


def flat_search(vectors: np.ndarray, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Search all vectors as they lie.

    Returns:
        Scores, `(n, k) float32`, and rows, `(n, k) int64`, -1 where there are fewer vectors.
    """
    one_thread()
    return faiss.knn(queries, vectors, k, metric=faiss.METRIC_INNER_PRODUCT)


def one_thread() -> None:
    """Have faiss use one thread; what another thread of this process has set does not count for this one."""
    if faiss.omp_get_max_threads() != 1:
        faiss.omp_set_num_threads(1)


@dataclass(frozen=True)
class _Sample:
    """Questions with what a full search finds.

    Attributes:
        vectors: what is searched.
        questions: `(m, d) float32` of length 1.
        trivial: how many of those found are the question itself and count for nothing, 0 or 1.
        least: the score of the last one that should be found, `(m,) float32`.
    """

    vectors: np.ndarray
    questions: np.ndarray
    trivial: int
    least: np.ndarray

    @classmethod
    def of(cls, vectors: np.ndarray, blend: int) -> _Sample:
        """Draw questions, the same ones of the same vectors, and answer them."""
        rows = np.random.default_rng(_SEED).integers(0, len(vectors), (_QUESTIONS, blend))
        sums = vectors[rows].sum(axis=1)
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        questions = np.ascontiguousarray((sums / np.where(lengths > 0, lengths, 1)).astype(np.float32))
        trivial = int(blend == 1)
        scores, _ = flat_search(vectors, questions, RECALL_AT + trivial)
        return cls(vectors, questions, trivial, scores[:, -1])

    def tuned(self, kind: Approximate, index: faiss.Index, most: int) -> tuple[int, float]:
        """Return the least effort, doubled step by step, that reaches the goal; and the recall it has."""
        effort = 1 if kind == "ivf" else RECALL_AT
        while True:
            recall = self._recall(index, _parameters(kind, effort))
            if recall >= RECALL_GOAL or effort == most:
                return effort, recall
            effort = min(2 * effort, most)

    def _recall(self, index: faiss.Index, parameters: faiss.SearchParameters) -> float:
        rows = index.search(self.questions, RECALL_AT + self.trivial, params=parameters)[1]
        scores = np.einsum("qd,qkd->qk", self.questions, self.vectors[rows])
        # By score and not by row: of vectors that are equal it does not matter which is found.
        found = (rows >= 0) & (scores >= self.least[:, None] - _SAME_SCORE)
        return float(np.maximum(found.sum(axis=1) - self.trivial, 0).mean() / RECALL_AT)


def _lists(vectors: np.ndarray, sample: _Sample) -> ApproximateIndex:
    size, dimension = vectors.shape
    count = max(1, min(int(_LISTS_PER_ROOT * size**0.5), size // _LEAST_PER_LIST))
    index = faiss.IndexIVFFlat(faiss.IndexFlatIP(dimension), dimension, count, faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.max_points_per_centroid, index.cp.seed = _ROUNDS, _POINTS_PER_LIST, _SEED
    index.train(vectors)
    index.add(vectors)
    effort, recall = sample.tuned("ivf", index, count)
    # Lists double as they grow, so that a third of their room is not used, as a rule.
    used = round(1.5 * size * (4 * dimension + 8)) + count * 4 * dimension
    return ApproximateIndex("ivf", recall, used, effort, size, index)


def _graph(vectors: np.ndarray, sample: _Sample) -> ApproximateIndex:
    size, dimension = vectors.shape
    index = faiss.IndexHNSWFlat(dimension, _LINKS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = _BREADTH
    index.add(vectors)
    effort, recall = sample.tuned("hnsw", index, _WIDEST)
    return ApproximateIndex("hnsw", recall, size * (4 * dimension + 8 * _LINKS + 16), effort, size, index)


def _parameters(kind: Approximate, effort: int) -> faiss.SearchParameters:
    if kind == "ivf":
        return faiss.SearchParametersIVF(nprobe=effort)
    return faiss.SearchParametersHNSW(efSearch=effort)
