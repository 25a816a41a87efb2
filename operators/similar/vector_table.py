"""Vectors by the id of their item, row by row in one array without holes."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from operators.similar.answerer import ItemId

_FIRST_ROWS = 64


class VectorTable:
    """Rows are added at the end; where one is taken out the last row moves to its place.

    Args:
        dimension: the length of the vectors.
    """

    def __init__(self, dimension: int) -> None:
        """Make an empty table."""
        self._held = np.empty((_FIRST_ROWS, dimension), np.float32)
        self._rows: dict[ItemId, int] = {}
        self.ids: list[ItemId] = []
        """The id of each row."""

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    @property
    def vectors(self) -> np.ndarray:
        """All vectors, `(n, d) float32`; a view that the next change may make invalid."""
        return self._held[: len(self.ids)]

    @property
    def bytes(self) -> int:
        """Memory of the array, room for rows to come included."""
        return self._held.nbytes

    def row(self, item: ItemId | None) -> int:
        """Return the row of an item, -1 where there is none."""
        return self._rows.get(item, -1)

    def rows(self, items: Iterable[ItemId | None]) -> np.ndarray:
        """Return the row of each item, `(n,) int64`, -1 where there is none."""
        return np.array([self._rows.get(item, -1) for item in items], np.int64)

    def put(self, item: ItemId, vector: np.ndarray) -> int:
        """Add an item, or give it another vector; return its row."""
        row = self._rows.get(item, len(self.ids))
        if row == len(self.ids):
            if row == len(self._held):
                longer = np.empty((2 * row, self._held.shape[1]), np.float32)
                longer[:row] = self._held
                self._held = longer
            self._rows[item] = row
            self.ids.append(item)
        self._held[row] = vector
        return row

    def remove(self, item: ItemId) -> tuple[int, int] | None:
        """Take an item out.

        Returns:
            The row that was its own, and the row that has moved there (the same where it was the last);
            None where there is no such item.
        """
        row = self._rows.pop(item, None)
        if row is None:
            return None
        last = len(self.ids) - 1
        moved = self.ids.pop()
        if row != last:
            self.ids[row], self._rows[moved] = moved, row
            self._held[row] = self._held[last]
        return row, last
