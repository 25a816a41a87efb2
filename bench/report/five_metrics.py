"""What an event is and which five metrics are kept of it, in ingest alone and end to end."""

from __future__ import annotations

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
METRICS = [
    {
        "name": "unique_users",
        "kind": "distinct",
        "of": "user_id",
        "windows": [{"tumbling": "5m"}, {"sliding": "5m", "every": "1m"}],
    },
    {"name": "actions", "kind": "count", "by": ["action"], "windows": [{"tumbling": "1m"}]},
    {
        "name": "revenue",
        "kind": "sum",
        "of": "value",
        "where": "action = 'purchase'",
        "windows": [{"tumbling": "1m"}],
    },
    {"name": "top_items", "kind": "top_k", "of": "item_id", "windows": [{"tumbling": "1m"}]},
    {
        "name": "item_frequency",
        "kind": "frequency",
        "of": "item_id",
        "ask": ["item_1", "item_2"],
        "windows": [{"tumbling": "1m"}],
    },
]
