"""The items that answers are made of, searched while they change.

Below some thousands of items all are compared. Above, an index finds candidates (`operators.similar.index`);
it is never changed. What has changed since it was built is known by row: rows of the index whose item was
replaced or taken away no longer count, and items that the index does not have, or has with an earlier vector,
are compared one by one. Once these are more than a share of all, another index is built of a copy in a thread
of its own and takes the place of the first between two searches. A change counts from the next search on.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock

import numpy as np

from operators.similar.answerer import ItemId
from operators.similar.index import ApproximateIndex, build_index, flat_search
from operators.similar.similar_spec import IndexName
from operators.similar.vector_table import VectorTable

FLAT_BELOW = 5_000
"""From how many items on an index is worth its while, where that is left to the catalogue."""
_LEAST_INDEXED = 1_000
_CHANGED_SHARE, _LEAST_CHANGES = 16, 1_024
_MORE, _MORE_OF_INDEX = 8, 24
"""How many candidates are looked at beyond those asked for: so that ties are told by id, and some be gone."""
_AT_ONCE = 1_024
_DIGITS = 6


@dataclass(frozen=True)
class Found:
    """The answers to some queries.

    Attributes:
        items: the ids of each one's nearest items, nearest first, ties by id.
        scores: their cosines, to six digits.
    """

    items: list[list[ItemId]]
    scores: list[list[float]]


@dataclass(frozen=True)
class _Building:
    """An index that is being built: of which items by row, and which of them have changed since."""

    future: Future[ApproximateIndex]
    ids: list[ItemId]
    changed: set[ItemId]


class Catalogue:
    """Items with vectors of length 1. Any thread may change it while others search.

    Args:
        dimension: the length of the vectors.
        index: how to search: `flat`, `ivf`, `hnsw`, or `auto` by the number of items.
        blend: of how many items questions are likely to be sums; recall is measured with such.
        flat_below: the number of items below which `auto` compares all.
    """

    def __init__(
        self, dimension: int, index: IndexName = "auto", blend: int = 1, flat_below: int = FLAT_BELOW
    ) -> None:
        """Make an empty one."""
        self._kind, self._blend = index, blend
        self._indexed_from = flat_below if index == "auto" else _LEAST_INDEXED
        self._table = VectorTable(dimension)
        self._lock = Lock()
        self._builder = ThreadPoolExecutor(1, "similar-index")
        self._building: _Building | None = None
        self.builds = 0
        """How many indexes were built."""
        self._drop_main()

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._table)

    @property
    def kind(self) -> str:
        """What is searched: `flat`, `ivf` or `hnsw`."""
        return "flat" if self._main is None else self._main.kind

    @property
    def recall(self) -> float:
        """The measured recall of that, 0 to 1; 1 where all items are compared."""
        return 1.0 if self._main is None else self._main.recall

    @property
    def bytes(self) -> int:
        """Memory of vectors and index, about; while another index is built there are two more copies."""
        return self._table.bytes + (0 if self._main is None else self._main.bytes)

    def vectors_of(self, items: Sequence[ItemId | None]) -> tuple[np.ndarray, np.ndarray]:
        """Return the vectors of items, `(n, d) float32`, and which of them there are, `(n,) bool`."""
        with self._lock:
            rows = self._table.rows(items)
            there = rows >= 0
            vectors = np.zeros((len(rows), self._table.vectors.shape[1]), np.float32)
            vectors[there] = self._table.vectors[rows[there]]
            return vectors, there

    def put(self, item: ItemId, vector: np.ndarray) -> None:
        """Add an item, or give it another vector.

        Args:
            item: its id.
            vector: `(d,) float32` of length 1.
        """
        with self._lock:
            self._forget_row(self._table.row(item))
            self._table.put(item, vector)
            self._changed(item)

    def remove(self, item: ItemId) -> None:
        """Take an item out; nothing happens where it is not there."""
        with self._lock:
            self._forget_row(self._table.row(item))
            moved = self._table.remove(item)
            if moved is not None:
                self._move_row(*moved)
                self._changed(item)

    def settle(self) -> None:
        """Wait for the index that is being built, if one is, and use it."""
        with self._lock:
            self._rebuild_if_due()
            if self._building is not None:
                self._building.future.exception()
                self._adopt()

    def close(self) -> None:
        """Build no more indexes."""
        self._builder.shutdown(wait=False, cancel_futures=True)

    def search(self, queries: np.ndarray, k: int, leave_out: Sequence[ItemId | None]) -> Found:
        """Find the nearest items.

        Args:
            queries: `(n, d) float32` of length 1.
            k: how many for each; fewer where there are fewer items.
            leave_out: an item that the answer must not have, for each query; None for none.
        """
        found = Found([], [])
        with self._lock:
            if self._building is not None and self._building.future.done():
                self._adopt()
            self._rebuild_if_due()
            for start in range(0, len(queries), _AT_ONCE):
                end = start + _AT_ONCE
                without = self._table.rows(leave_out[start:end])
                self._answer(np.ascontiguousarray(queries[start:end]), k, without, found)
        return found

    def _answer(self, queries: np.ndarray, k: int, without: np.ndarray, found: Found) -> None:
        if not len(self._table):
            found.items.extend([] for _ in queries)
            found.scores.extend([] for _ in queries)
            return
        wanted = np.minimum(k, len(self._table) - (without >= 0))
        ask = min(k + 1 + _MORE, len(self._table))
        if self._main is None:
            rows = flat_search(self._table.vectors, queries, ask)[1]
        else:
            rows = self._candidates(queries, ask)
        rows[rows == without[:, None]] = -1
        self._rank(queries, rows, wanted, found)

    def _candidates(self, queries: np.ndarray, ask: int) -> np.ndarray:
        """Return rows that may be among the nearest, of the index and of what it does not have.

        The index is asked for more than is wanted, so that some may be gone. Where too many are, what is left
        may not be the nearest that there are: then all items are compared.
        """
        asked = min(ask + max(_MORE_OF_INDEX, ask // 4), self._main.size)
        in_main = self._main.search(queries, asked)
        rows = np.where(in_main >= 0, self._row_of_main[in_main], -1)
        short = (rows >= 0).sum(axis=1) < min(ask, self._main.size - self._gone)
        if self._recent is None:
            self._recent = np.flatnonzero(self._main_of_row[: len(self._table)] < 0)
            self._recent_vectors = self._table.vectors[self._recent]
        if len(self._recent):
            among = flat_search(self._recent_vectors, queries, min(ask, len(self._recent)))[1]
            rows = np.concatenate([rows, self._recent[among]], axis=1)
        if short.any():
            rows = np.concatenate([rows, np.full((len(rows), ask), -1)], axis=1)
            rows[short] = -1
            rows[short, -ask:] = flat_search(self._table.vectors, queries[short], ask)[1]
        return rows

    def _rank(self, queries: np.ndarray, rows: np.ndarray, wanted: np.ndarray, found: Found) -> None:
        """Order candidates by score and id, and add the first of each query to what was found."""
        scores = np.einsum("qd,qcd->qc", queries, self._table.vectors[rows]).astype(np.float64)
        scores = np.where(rows >= 0, np.clip(scores, -1, 1).round(_DIGITS), -np.inf)
        order = np.argsort(-scores, axis=1, kind="stable")
        scores = np.take_along_axis(scores, order, axis=1)
        rows = np.take_along_axis(rows, order, axis=1)
        same = (scores[:, 1:] == scores[:, :-1]) & np.isfinite(scores[:, 1:])
        tied = same.any(axis=1).tolist()
        ids = self._table.ids
        told = zip(rows.tolist(), scores.tolist(), wanted.tolist(), tied, strict=True)
        for own_rows, own_scores, count, has_ties in told:
            if has_ties:
                there = [(-s, ids[row]) for s, row in zip(own_scores, own_rows, strict=True) if row >= 0]
                ranked = sorted(there)[:count]
                found.items.append([item for _, item in ranked])
                found.scores.append([0.0 - score for score, _ in ranked])
            else:
                found.items.append([ids[row] for row in own_rows[:count]])
                found.scores.append([score + 0.0 for score in own_scores[:count]])

    def _forget_row(self, row: int) -> None:
        """Have the index's row of an item count no more, since its item is changed or taken away."""
        if self._main is None or row < 0:
            return
        in_main = self._main_of_row[row]
        if in_main >= 0:
            self._main_of_row[row] = self._row_of_main[in_main] = -1
            self._gone += 1

    def _move_row(self, to: int, last: int) -> None:
        if self._main is None or to == last:
            return
        in_main = self._main_of_row[to] = self._main_of_row[last]
        self._main_of_row[last] = -1
        if in_main >= 0:
            self._row_of_main[in_main] = to

    def _changed(self, item: ItemId) -> None:
        self._recent = None
        if self._main is not None and len(self._table) > len(self._main_of_row):
            room = np.full(len(self._main_of_row), -1)
            self._main_of_row = np.concatenate([self._main_of_row, room])
        if self._building is not None:
            self._building.changed.add(item)

    def _rebuild_if_due(self) -> None:
        """Begin to build another index where too much has changed since the last."""
        if self._building is not None or self._kind == "flat":
            return
        size = len(self._table)
        if size < self._indexed_from:
            if self._main is not None and size < self._indexed_from // 2:
                self._drop_main()
            return
        if self._main is not None:
            changes = self._gone + size - (self._main.size - self._gone)
            if changes <= max(_LEAST_CHANGES, size // _CHANGED_SHARE):
                return
        copy = self._table.vectors.copy()
        future = self._builder.submit(build_index, copy, self._kind, self._blend)
        self._building = _Building(future, self._table.ids.copy(), set())

    def _adopt(self) -> None:
        """Use the index that was built, but for those of its rows whose items have changed meanwhile."""
        building, self._building = self._building, None
        main = building.future.result()
        self._drop_main()
        self._main = main
        self.builds += 1
        rows = self._table.rows(building.ids)
        changed = [number for number, item in enumerate(building.ids) if item in building.changed]
        rows[changed] = -1
        there = rows >= 0
        self._row_of_main = rows
        self._main_of_row = np.full(max(len(self._table), 1), -1)
        self._main_of_row[rows[there]] = np.flatnonzero(there)
        self._gone = int((~there).sum())

    def _drop_main(self) -> None:
        """Compare all items from now on."""
        self._main: ApproximateIndex | None = None
        self._row_of_main = self._main_of_row = np.empty(0, np.int64)
        self._gone = 0
        self._recent: np.ndarray | None = None
        self._recent_vectors = np.empty((0, 0), np.float32)
