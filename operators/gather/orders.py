"""The items of one order: events of one value, none more than the gap from the next."""

from __future__ import annotations

from itertools import pairwise

import msgspec
import numpy as np

from operators.batch.event_batch import EventBatch
from operators.batch.groups import Groups
from operators.gather.gathering import Closed, Gathering
from operators.metrics.items import weighted_items
from operators.records import LocalSession
from sketches.errors import BadData
from state.gather_state import Order, read_orders, write_orders

_TOO_MANY = b"null"


class Orders(Gathering):
    """Gathers the different items of orders.

    Args:
        items: the column of items.
        order: the column whose values are orders.
        gap_ms: an order is closed this long after its last event.
        max_items: of an order with more different items none are kept.
        shards: into how many pieces orders are spread.
    """

    def __init__(self, items: str, order: str, gap_ms: int, max_items: int, shards: int) -> None:
        """Keep the options."""
        super().__init__(order, gap_ms, shards)
        self._items, self._max_items = items, max_items

    def partials(self, batch: EventBatch, groups: Groups) -> list[bytes]:
        """Return the different items of each group; nulls are left out."""
        column, owners, items, _ = weighted_items(batch, groups, self._items, None)
        values = column.distinct.to_list()
        bounds = np.searchsorted(owners, np.arange(groups.count + 1)).tolist()
        numbers = items.tolist()
        return [
            self._written({values[number] for number in numbers[start:end]})
            for start, end in pairwise(bounds)
        ]

    def take(self, held: bytes, local: LocalSession, watermark_ms: int) -> tuple[bytes, int]:
        """Add events to the orders that they are no more than the gap from; late is what has none open."""
        orders, span = read_orders(held), self.span_ms
        joined = [
            order
            for order in orders
            if order.first_ms <= local.last_ms + span and local.first_ms <= order.last_ms + span
        ]
        if not joined and local.last_ms + span <= watermark_ms:
            return held, local.events
        parts = [Order(local.first_ms, local.last_ms, local.events, local.partial), *joined]
        merged = Order(
            min(part.first_ms for part in parts),
            max(part.last_ms for part in parts),
            sum(part.events for part in parts),
            self._united([part.items for part in parts]),
        )
        return write_orders([*(order for order in orders if order not in joined), merged]), 0

    def close(self, held: bytes, watermark_ms: int) -> tuple[bytes, list[Closed]]:
        """Close orders the gap after their last event; they count there, and their items are the outcome."""
        open_, closed = [], []
        for order in read_orders(held):
            if order.last_ms + self.span_ms > watermark_ms:
                open_.append(order)
            else:
                closed.append(Closed(order.last_ms, order.events, order.items))
        return write_orders(open_), closed

    def due_ms(self, held: bytes) -> int:
        """Return the watermark at which the first order is closed."""
        return min(order.last_ms for order in read_orders(held)) + self.span_ms

    def _united(self, parts: list[bytes]) -> bytes:
        if len(parts) == 1:
            return parts[0]
        several = [read_items(part) for part in parts]
        return _TOO_MANY if None in several else self._written(set().union(*several))

    def _written(self, items: set[object]) -> bytes:
        return _TOO_MANY if len(items) > self._max_items else msgspec.json.encode(sorted(items))


def read_items(data: bytes) -> list[object] | None:
    """Read the items of an order, sorted; None where there are too many.

    Raises:
        BadData: where the bytes are no JSON array and not null.
    """
    try:
        return msgspec.json.decode(data, type=list[object] | None)
    except msgspec.DecodeError as problem:
        raise BadData("expected the items of an order as a JSON array or null, got another") from problem
