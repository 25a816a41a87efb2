"""Frequent items (Misra-Gries) with arbitrary-precision weights, for totals beyond 63 bits. Slow.

It has the same guarantee as the sketch of DataSketches. With M = 2**lg_max_map_size and W the total weight,
three quarters of M items are kept; beyond that the median weight is subtracted from all of them, and items
without weight left are dropped, for an error of at most 2.7 W / M.

Wire format, little-endian: the number of items (4 bytes), 4 unused, total weight and error offset (16 each),
the items' weights (16 each), the items, each as its length (4) and UTF-8 bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping

import numpy as np

from sketches.errors import BadData
from sketches.wide_numbers import MAX_LONG, WIDE_BYTES, read_wide, wide_bytes

Entry = tuple[str, int, int, int]
_COUNT = struct.Struct("<II")
_LENGTH = struct.Struct("<I")
_HEAD_BYTES = _COUNT.size + 2 * WIDE_BYTES


class WideItems:
    """A frequent-items sketch; its methods are those of the sketch of DataSketches.

    Args:
        capacity: how many items are kept.
        total_weight: the total weight of all items added.
        offset: the error offset: how much more each item may weigh.
        kept: the weights of the kept items, at most `capacity`, all above 0.
    """

    __slots__ = ("_capacity", "_kept", "_offset", "total_weight")

    def __init__(self, capacity: int, total_weight: int, offset: int, kept: Mapping[str, int]) -> None:
        self._capacity, self._offset, self._kept = capacity, offset, dict(kept)
        self.total_weight = total_weight

    def update(self, item: str, weight: int) -> None:
        """Add an item."""
        self.total_weight += weight
        if weight:
            self._kept[item] = self._kept.get(item, 0) + weight
            self._shrink()

    def merge(self, other: WideItems) -> None:
        """Add everything that another sketch has counted."""
        self.total_weight += other.total_weight
        self._offset += other._offset
        for item, weight in other._kept.items():
            self._kept[item] = self._kept.get(item, 0) + weight
        self._shrink()

    def get_frequent_items(self) -> list[Entry]:
        """Return all items that are kept: item, estimate, lower and upper bound."""
        offset = self._offset
        return [(item, weight + offset, weight, weight + offset) for item, weight in self._kept.items()]

    def get_estimate(self, item: str) -> int:
        """Return the upper bound when the item is kept, else 0."""
        return self._kept[item] + self._offset if item in self._kept else 0

    def get_lower_bound(self, item: str) -> int:
        """Return the lower bound of an item's weight."""
        return self._kept.get(item, 0)

    def get_upper_bound(self, item: str) -> int:
        """Return the upper bound of an item's weight, whether it is kept or not."""
        return self._kept.get(item, 0) + self._offset

    def serialize(self) -> bytes:
        """Write the sketch in the wire format at the top of this module."""
        weights = np.array([self.total_weight, self._offset, *self._kept.values()], dtype=object)
        texts = [item.encode() for item in self._kept]
        items = b"".join(_LENGTH.pack(len(text)) + text for text in texts)
        return _COUNT.pack(len(texts), 0) + wide_bytes(weights) + items

    @classmethod
    def deserialize(cls, data: bytes, capacity: int) -> WideItems:
        """Read what `serialize` wrote.

        Raises:
            BadData: the bytes are truncated, too long, or inconsistent.
        """
        _expect(len(data) >= _HEAD_BYTES, f"at least {_HEAD_BYTES} bytes of payload", len(data))
        count, unused = _COUNT.unpack_from(data)
        _expect(count <= capacity and unused == 0, f"at most {capacity} items", (count, unused))
        start = _HEAD_BYTES + WIDE_BYTES * count
        _expect(len(data) >= start + _LENGTH.size * count, "as many weights and items as told", len(data))
        total, offset, *weights = read_wide(data[_COUNT.size : start]).tolist()
        kept = sum(weights)
        whole = kept + offset <= total if offset else kept == total
        _expect(whole and total > MAX_LONG, "weights that agree with a total beyond 63 bits", total)
        _expect(min(weights, default=1) > 0, "weights above 0", 0)
        items = _read_items(data, start, count)
        _expect(len(set(items)) == count, "different items", count)
        return cls(capacity, total, offset, dict(zip(items, weights, strict=True)))

    def _shrink(self) -> None:
        """Beyond the capacity, subtract the median weight from all items and drop those left without any."""
        if len(self._kept) > self._capacity:
            light = sorted(self._kept.values(), reverse=True)[self._capacity // 2]
            self._kept = {item: weight - light for item, weight in self._kept.items() if weight > light}
            self._offset += light


def _read_items(data: bytes, start: int, count: int) -> list[str]:
    items = []
    for _ in range(count):
        _expect(len(data) >= start + _LENGTH.size, "whole items", len(data))
        end = start + _LENGTH.size + _LENGTH.unpack_from(data, start)[0]
        _expect(len(data) >= end, "whole items", len(data))
        try:
            items.append(data[start + _LENGTH.size : end].decode())
        except UnicodeDecodeError:
            raise BadData("top-k image: expected items in UTF-8, got other bytes") from None
        start = end
    _expect(start == len(data), f"{start} bytes of payload", len(data))
    return items


def _expect(holds: bool, expected: str, got: object) -> None:
    if not holds:
        raise BadData(f"top-k image: expected {expected}, got {got}")
