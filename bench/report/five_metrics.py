"""What an event is and which five metrics are kept of it, in ingest alone and end to end."""

from __future__ import annotations

from typing import Any

EVENT = {
    "fields": {
        "user_id": "string",
        "action": "string",
        "item_id": "string",
        "value": "double",
        "ts": "long",
    },
    "time": {"field": "ts", "unit": "ms"},
    "out_of_orderness": "5s",
    "require": ["user_id", "action"],
    "checks": ["value >= 0"],
}


def five_metrics(long: str, short: str) -> list[dict[str, Any]]:
    """Return the metrics of a pipeline.

    Args:
        long: the length of the sliding windows of distinct users, such as `5m`.
        short: by which they slide, and the length of all other windows.
    """
    tumbling = [{"tumbling": short}]
    return [
        {
            "name": "unique_users",
            "kind": "distinct",
            "of": "user_id",
            "windows": [*tumbling, {"sliding": long, "every": short}],
        },
        {"name": "actions", "kind": "count", "by": ["action"], "windows": tumbling},
        {
            "name": "revenue",
            "kind": "sum",
            "of": "value",
            "where": "action = 'purchase'",
            "windows": tumbling,
        },
        {"name": "top_items", "kind": "top_k", "of": "item_id", "windows": tumbling},
        {
            "name": "item_frequency",
            "kind": "frequency",
            "of": "item_id",
            "ask": ["item_1", "item_2"],
            "windows": tumbling,
        },
    ]
