"""Flink SQL on the same events: exact distinct users, number and revenue by window, or all five metrics.

flink run ... -pym bench.e2e.jobs.sql_windows OPTIONS_AS_JSON
"""

from __future__ import annotations

import json
import sys
from typing import Any

from pyflink.datastream import StreamExecutionEnvironment
from pyflink.table import StreamTableEnvironment

_TUMBLE = "TABLE(TUMBLE(TABLE events, DESCRIPTOR(happened), INTERVAL '10' SECONDS))"
_HOP = "TABLE(HOP(TABLE events, DESCRIPTOR(happened), INTERVAL '10' SECONDS, INTERVAL '60' SECONDS))"
_THREE = """
    SELECT window_start, window_end, '{name}', '', COUNT(DISTINCT user_id), COUNT(*),
           SUM(`value`) FILTER (WHERE action = 'purchase')
    FROM {windows} GROUP BY window_start, window_end"""
_USERS = """
    SELECT window_start, window_end, '{name}', '', COUNT(DISTINCT user_id), CAST(0 AS BIGINT),
           CAST(0 AS DOUBLE)
    FROM {windows} GROUP BY window_start, window_end"""
_ACTIONS = """
    SELECT window_start, window_end, 'actions', action, CAST(0 AS BIGINT), COUNT(*), CAST(0 AS DOUBLE)
    FROM {windows} GROUP BY window_start, window_end, action"""
_REVENUE = """
    SELECT window_start, window_end, 'revenue', '', CAST(0 AS BIGINT), CAST(0 AS BIGINT), SUM(`value`)
    FROM {windows} WHERE action = 'purchase' GROUP BY window_start, window_end"""
_TOP_ITEMS = """
    SELECT window_start, window_end, 'top_items', item_id, CAST(0 AS BIGINT), CAST(0 AS BIGINT),
           CAST(times AS DOUBLE)
    FROM (
        SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end ORDER BY times DESC) AS place
        FROM (
            SELECT window_start, window_end, item_id, COUNT(*) AS times
            FROM {windows} GROUP BY window_start, window_end, item_id
        )
    ) WHERE place <= 10"""
_FREQUENCY = """
    SELECT window_start, window_end, 'item_frequency', item_id, CAST(0 AS BIGINT), CAST(0 AS BIGINT),
           CAST(COUNT(*) AS DOUBLE)
    FROM {windows} WHERE item_id IN ('item_1', 'item_2') GROUP BY window_start, window_end, item_id"""
QUERIES = {
    "tumble": {"users": _THREE.format(name="users", windows=_TUMBLE)},
    "hop": {"users": _THREE.format(name="users", windows=_HOP)},
    # The five metrics of the product's own job.
    "five": {
        "users": _USERS.format(name="users", windows=_TUMBLE),
        "users_hop": _USERS.format(name="users_hop", windows=_HOP),
        "actions": _ACTIONS.format(windows=_TUMBLE),
        "revenue": _REVENUE.format(windows=_TUMBLE),
        "top_items": _TOP_ITEMS.format(windows=_TUMBLE),
        "item_frequency": _FREQUENCY.format(windows=_TUMBLE),
    },
}
_TUNED = {
    "table.local-time-zone": "UTC",
    "table.exec.mini-batch.enabled": "true",
    "table.exec.mini-batch.allow-latency": "1 s",
    "table.exec.mini-batch.size": "20000",
    "table.optimizer.agg-phase-strategy": "TWO_PHASE",
    "table.optimizer.distinct-agg.split.enabled": "true",
    "pipeline.object-reuse": "true",
}


def main() -> None:
    """Build and submit the job."""
    options: dict[str, Any] = json.loads(sys.argv[1])
    env = StreamExecutionEnvironment.get_execution_environment()
    t_env = StreamTableEnvironment.create(env)
    for key, value in (_TUNED | options["settings"]).items():
        t_env.get_config().set(key, value)
    t_env.execute_sql(_source(options))
    statements = t_env.create_statement_set()
    for name, query in QUERIES[options["queries"]].items():
        t_env.execute_sql(_sink(name, options))
        statements.add_insert_sql(f"INSERT INTO {name} {query}")
    statements.execute()


def _source(options: dict[str, Any]) -> str:
    ends = ";".join(f"partition:{p},offset:{end}" for p, end in enumerate(options["ends"]))
    return f"""
        CREATE TABLE events (
            user_id STRING, action STRING, item_id STRING, `value` DOUBLE, ts BIGINT,
            happened AS TO_TIMESTAMP_LTZ(ts, 3),
            WATERMARK FOR happened AS happened - INTERVAL '5' SECOND
        ) WITH (
            'connector' = 'kafka', 'format' = 'json',
            'topic' = '{options["topic"]}',
            'properties.bootstrap.servers' = '{options["brokers"]}',
            'properties.group.id' = '{options["name"]}',
            'scan.startup.mode' = 'earliest-offset',
            'scan.bounded.mode' = 'specific-offsets',
            'scan.bounded.specific-offsets' = '{ends}'
        )"""


def _sink(name: str, options: dict[str, Any]) -> str:
    return f"""
        CREATE TABLE {name} (
            window_start TIMESTAMP(3), window_end TIMESTAMP(3), metric STRING, `key` STRING,
            users BIGINT, events BIGINT, amount DOUBLE
        ) WITH (
            'connector' = 'kafka', 'format' = 'json',
            'topic' = '{options["results"]}',
            'properties.bootstrap.servers' = '{options["brokers"]}',
            'properties.transaction.timeout.ms' = '900000',
            'sink.delivery-guarantee' = 'exactly-once',
            'sink.transactional-id-prefix' = '{options["name"]}-{name}'
        )"""


if __name__ == "__main__":
    main()
