"""HyperLogLog: how many distinct values, in at most 2**lg_k bytes, byte-compatible with DataSketches.

Guarantee: the estimate's relative standard error is 1.04 / sqrt(2**lg_k), 0.8 % at lg_k 14; the
bounds at 2 standard deviations hold the truth about 95 times in 100. A small sketch keeps exact
32-bit coupons and its error is far lower (0.005 %). Merging loses nothing: the union of sketches is
bit by bit the sketch of the united stream, whatever the order.

`serialize()` is the bare HLL_8 image of Apache DataSketches, so that Druid, Spark, Postgres, BigQuery
and Java read it. The HIP estimator, which is a quarter more accurate, is not kept: it depends on the
order of updates and does not survive a merge, and here every sketch is the merger of partial ones.

Source: P. Flajolet, E. Fusy, O. Gandouet, F. Meunier, "HyperLogLog: the analysis of a near-optimal
cardinality estimation algorithm" (2007).

    >>> import numpy as np
    >>> from sketches.hashing import hash_longs
    >>> sketch = HyperLogLog(lg_k=14)
    >>> sketch.update_many(hash_longs(np.arange(100_000)))
    >>> sketch.update_many(hash_longs(np.arange(50_000)))
    >>> abs(sketch.estimate() - 100_000) < 2_500
    True
"""

from __future__ import annotations

import numpy as np

from sketches.errors import BadArgument
from sketches.hll_coupons import (
    SMALLEST_COUPON,
    check_lg_k,
    coupons,
    raise_registers,
    sorted_unique,
    sparse_limit,
)
from sketches.hll_estimate import (
    dense_bounds,
    dense_estimate,
    register_sums,
    sparse_bounds,
    sparse_estimate,
)
from sketches.hll_image import image_from_registers, image_from_sorted_coupons, read_image
from sketches.hll_merge import merge_images

__all__ = ["HyperLogLog", "coupons", "image_from_sorted_coupons", "merge_images"]


class HyperLogLog:
    """A mergeable count of distinct values.

    Args:
        lg_k: binary logarithm of the number of registers, 4 to 21.

    Raises:
        BadArgument: lg_k is out of range.
    """

    __slots__ = ("_coupons", "_registers", "lg_k")

    def __init__(self, lg_k: int = 14) -> None:
        self.lg_k = check_lg_k(lg_k)
        self._coupons = np.empty(0, dtype=np.uint32)
        self._registers: np.ndarray | None = None

    @classmethod
    def from_coupons(cls, lg_k: int, coupons: np.ndarray) -> HyperLogLog:
        """Build a sketch of coupons.

        Args:
            lg_k: 4 to 21.
            coupons: `(n,) uint32`, in any order, duplicates allowed.

        Returns:
            The sketch.

        Raises:
            BadArgument: lg_k is out of range, or a number is no coupon.
        """
        sketch = cls(lg_k)
        sketch.update_coupons(coupons)
        return sketch

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever added."""
        return self._registers is None and len(self._coupons) == 0

    @property
    def is_sparse(self) -> bool:
        """Whether the sketch still keeps coupons (LIST or SET mode) and no registers."""
        return self._registers is None

    @property
    def registers(self) -> np.ndarray:
        """The `(2**lg_k,) uint8` registers, a copy, whatever the mode."""
        if self._registers is not None:
            return self._registers.copy()
        return _to_registers(self.lg_k, self._coupons)

    def update_many(self, hashes: np.ndarray) -> None:
        """Add values by their hashes.

        Args:
            hashes: `(n, 2) uint64` of `sketches.hashing`.

        Raises:
            BadArgument: another shape or type.
        """
        self._add(coupons(hashes))

    def update_coupons(self, added: np.ndarray) -> None:
        """Add values by their coupons.

        Args:
            added: `(n,) uint32`, in any order, duplicates allowed.

        Raises:
            BadArgument: another shape or type, or a number that no coupon can be.
        """
        if not isinstance(added, np.ndarray) or added.dtype != np.uint32 or added.ndim != 1:
            raise BadArgument(f"coupons: expected (n,) uint32, got {getattr(added, 'dtype', type(added))}")
        if len(added) and int(added.min()) < SMALLEST_COUPON:
            raise BadArgument(f"coupons: expected at least {SMALLEST_COUPON}, got {int(added.min())}")
        self._add(added)

    def merge(self, other: HyperLogLog) -> None:
        """Add everything that another sketch has seen; the other stays as it is.

        Args:
            other: a sketch of the same lg_k.

        Raises:
            BadArgument: another lg_k: folding the larger one would silently lose its accuracy.
        """
        if other.lg_k != self.lg_k:
            raise BadArgument(f"merge: expected a sketch of lg_k {self.lg_k}, got {other.lg_k}")
        if other._registers is None:
            self._add(other._coupons)
        elif self._registers is None:
            kept, self._registers = self._coupons, other._registers.copy()
            self._add(kept)
            self._coupons = kept[:0]
        else:
            np.maximum(self._registers, other._registers, out=self._registers)

    def estimate(self) -> float:
        """Estimate the number of distinct values.

        Returns:
            The estimate, that of DataSketches for merged sketches; 0.0 when empty.
        """
        if self._registers is None:
            return sparse_estimate(len(self._coupons))
        return dense_estimate(self.lg_k, *self._sums())

    def lower_bound(self, num_std_dev: int = 2) -> float:
        """Give the bound that the truth is seldom below.

        Args:
            num_std_dev: 1, 2 or 3; the truth lies between the bounds with 68, 95 or 99.7 %.

        Returns:
            The bound.

        Raises:
            BadArgument: another number.
        """
        return self._bounds(num_std_dev)[0]

    def upper_bound(self, num_std_dev: int = 2) -> float:
        """Give the bound that the truth is seldom above.

        Args:
            num_std_dev: 1, 2 or 3; the truth lies between the bounds with 68, 95 or 99.7 %.

        Returns:
            The bound.

        Raises:
            BadArgument: another number.
        """
        return self._bounds(num_std_dev)[1]

    def serialize(self) -> bytes:
        """Write the sketch as DataSketches would.

        Returns:
            A compact HLL_8 image; its format is told in `sketches.hll_image`.
        """
        if self._registers is None:
            return image_from_sorted_coupons(self.lg_k, self._coupons)
        return image_from_registers(self.lg_k, self._registers)

    @classmethod
    def deserialize(cls, image: bytes) -> HyperLogLog:
        """Read a sketch that we or DataSketches wrote; it takes updates like any other.

        Args:
            image: a whole image, compact or updatable, HLL_4, HLL_6 or HLL_8.

        Returns:
            The sketch.

        Raises:
            BadData: the bytes are no such image.
        """
        content = read_image(image)
        sketch = cls(content.lg_k)
        sketch._registers = content.registers
        if content.coupons is not None:
            sketch._coupons = content.coupons
        return sketch

    def _add(self, added: np.ndarray) -> None:
        if self._registers is not None:
            raise_registers(self._registers, added)
            return
        limit = sparse_limit(self.lg_k)
        if len(added) > 2 * limit:
            # Different registers mean different coupons, and are counted without sorting the batch.
            registers = _to_registers(self.lg_k, self._coupons)
            raise_registers(registers, added)
            if np.count_nonzero(registers) > limit:
                self._turn_dense(registers)
                return
        united = sorted_unique(np.concatenate((self._coupons, added)))
        if len(united) > limit:
            self._turn_dense(_to_registers(self.lg_k, united))
        else:
            self._coupons = united

    def _turn_dense(self, registers: np.ndarray) -> None:
        self._registers = registers
        self._coupons = self._coupons[:0]

    def _bounds(self, num_std_dev: int) -> tuple[float, float]:
        if self._registers is None:
            return sparse_bounds(len(self._coupons), num_std_dev)
        return dense_bounds(self.lg_k, *self._sums(), num_std_dev)

    def _sums(self) -> tuple[float, int]:
        low, high, empty = register_sums(self._registers)
        return low + high, empty


def _to_registers(lg_k: int, coupons: np.ndarray) -> np.ndarray:
    registers = np.zeros(1 << lg_k, dtype=np.uint8)
    raise_registers(registers, coupons)
    return registers
