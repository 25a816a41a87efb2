"""What can be in a topic and how it is read: malformed messages, several topics, start, whose time."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from clusters import restarts, start
from kafka import KafkaAdminClient
from processes import Run, write_pipeline
from topics import Message, make_topic, read_committed, send

from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

GOOD = BAD = 10_000
YEAR_MS = 366 * 86_400_000
LARGEST = 1_048_588 - 100
"""A broker takes batches of 1,048,588 bytes by default; the rest is the batch's and the record's own."""


def malformed(now_ms: int) -> dict[str, bytes | None]:
    """A message of each kind; reasons are in the names, before the dash."""

    def event(**fields: Any) -> bytes:
        return json.dumps({"user": "u", "value": 1.0, "t": now_ms} | fields).encode()

    return {
        "malformed_json-not utf8": b'{"user": "\xff\xfe", "value": 1.0, "t": 1}',
        "malformed_json-word": b"hello",
        "malformed_json-torn": event()[:-3],
        "malformed_json-two": event() + event(),
        "malformed_json-nan": event().replace(b"1.0", b"NaN"),
        "malformed_json-largest": b"x" * LARGEST,
        "malformed_json-deep": b"[" * 100_000,
        "malformed_json-deep object": event(x=0).replace(b"0}", b"[" * 50_000 + b"]" * 50_000 + b"}"),
        "empty_payload-blank": b"",
        "malformed_json-list": b"[1, 2]",
        "malformed_json-null": b"null",
        "missing_field-user": json.dumps({"value": 1.0, "t": now_ms}).encode(),
        "missing_field-user null": event(user=None),
        "bad_time-missing": json.dumps({"user": "u", "value": 1.0}).encode(),
        "wrong_type-user": event(user=5),
        "wrong_type-value": event(value="high"),
        "wrong_type-time": event(t="yesterday"),
        "wrong_type-huge time": event(t=10**30),
        "wrong_type-huge value": event().replace(b"1.0", b"1e999"),
        "too_far_in_future-year": event(t=now_ms + YEAR_MS),
        "too_old-1969": event(t=-1),
        "empty_payload-tombstone": None,
    }


@pytest.mark.slow
def test_ten_thousand_malformed_messages_become_rejects_and_cost_no_good_one(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    now_ms = time.time_ns() // 10**6
    kinds = malformed(now_ms)
    large = {name for name, value in kinds.items() if value is not None and len(value) > 10_000}
    small = [name for name in kinds if name not in large]
    names = [*large] * 5 + [small[i % len(small)] for i in range(BAD - 5 * len(large))]
    good = [json.dumps({"user": f"u{i}", "value": 0.5, "t": now_ms - i % 1000}).encode() for i in range(GOOD)]
    mixed = [("", value) for value in good] + [(name, kinds[name]) for name in names]
    random.Random(5).shuffle(mixed)
    make_topic(broker.address, "mixed", 3)
    sent = send(broker.address, "mixed", [Message(value, i % 3) for i, (_, value) in enumerate(mixed)])
    wanted = {(m.partition, m.offset): name for m, (name, _) in zip(sent, mixed, strict=True) if name}

    write_pipeline(tmp_path, pipeline("mixed", broker.address, {"topic": "mixed"}))
    run = start(runs, tmp_path, flink_cluster)
    assert run.wait() == 0, run.err
    assert restarts(flink_cluster, run.job()) == 0
    results, rejects = (
        read_committed(broker.address, f"mixed-{output}") for output in ("results", "rejects")
    )
    assert sum(result["value"] for result in results) == GOOD
    assert read_committed(broker.address, "mixed-late") == []
    assert Counter((r["partition"], r["offset"]) for r in rejects) == Counter(wanted.keys())
    assert {r["topic"] for r in rejects} == {"mixed"}
    for reject in rejects:
        name = wanted[reject["partition"], reject["offset"]]
        assert reject["reason"] == name.partition("-")[0], (name, reject["reason"], reject["detail"])
        assert reject["detail"]
        if name == "malformed_json-largest":
            assert reject["payload_bytes"] == LARGEST
        if name not in large and name != "malformed_json-not utf8":
            value = kinds[name]
            assert reject["payload"] == (None if value is None else value.decode())


def test_topics_by_pattern_from_a_time_on_by_the_records_own_time_with_many_events_a_message(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    first_ms = (time.time_ns() // 10**6 - 3_600_000) // 60_000 * 60_000
    make_topic(broker.address, "part-a", 2)
    make_topic(broker.address, "part-b", 1)
    make_topic(broker.address, "apart", 1)
    lines = b'{"user": "a"}\n{"user": "b"\n\n{"user": "c"}'

    def messages(partitions: int) -> list[Message]:
        return [Message(lines, i % partitions, first_ms + i * 1000) for i in range(300)]

    for topic, partitions in (("part-a", 2), ("part-b", 1), ("apart", 1)):
        send(broker.address, topic, messages(partitions))
    from_ms = first_ms + 120_000
    source = {
        "pattern": "part-.*",
        "format": "ndjson",
        "start": datetime.fromtimestamp(from_ms / 1000, timezone.utc).isoformat(),
    }
    given = pipeline("pattern", broker.address, source, {"kafka_timestamp": True})
    write_pipeline(tmp_path, given)
    run = start(runs, tmp_path, flink_cluster)
    assert run.wait() == 0, run.err
    results = read_committed(broker.address, "pattern-results")
    assert {r["window"]["start_ms"]: r["value"] for r in results} == {
        from_ms + minute * 60_000: 2 * 2 * 60 for minute in range(3)
    }
    rejects = read_committed(broker.address, "pattern-rejects")
    assert Counter((r["topic"], r["index"]) for r in rejects) == {("part-a", 1): 180, ("part-b", 1): 180}


def test_messages_of_one_partition_keep_their_order_with_more_workers_than_partitions(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    """Of events, and of rules: there the last message of a rule holds. TaskManagers print the decisions."""
    make_topic(broker.address, "numbers", 1)
    make_topic(broker.address, "numbers-rules", 1)
    now_ms, changes = time.time_ns() // 10**6, 200
    numbers = [{"user": "u", "value": float(n), "t": now_ms} for n in range(20_000)]
    rules = [
        {"name": "never", "when": "value < least", "parameters": {"least": {"value": -n}}}
        for n in range(changes)
    ]
    send(broker.address, "numbers", [Message(json.dumps(number).encode()) for number in numbers])
    send(broker.address, "numbers-rules", [Message(json.dumps(rule).encode()) for rule in rules])
    given = pipeline("numbers", broker.address, {"topic": "numbers", "batch_messages": 100})
    given["features"] = {"of": "user", "columns": {"before": {"kind": "previous", "of": "value"}}}
    given["rules"] = [{"name": "jump", "when": "value != before + 1"}]
    given["rule_changes"] = {"topic": "numbers-rules"}
    given["decide"] = {}
    given["sinks"]["decisions"] = {"type": "print"}
    for output in ("alerts", "audit"):
        given["sinks"][output] = given["sinks"]["results"] | {"topic": f"numbers-{output}"}
    write_pipeline(tmp_path, given)
    run = start(runs, tmp_path, flink_cluster)
    assert run.wait() == 0, run.err
    results, alerts, audit = (
        read_committed(broker.address, f"numbers-{output}") for output in ("results", "alerts", "audit")
    )
    assert sum(result["value"] for result in results) == len(numbers)
    assert alerts == []
    printed = "".join(path.read_text() for path in flink_cluster.folder.glob("taskmanager-*.out"))
    assert len(re.findall('"id":"[0-9a-f]{32}".*"decision":"approve"', printed)) == len(numbers)
    versions = {line["source"]["offset"]: line["version"] for line in audit if line["rule"] == "never"}
    assert versions == {offset: offset + 1 for offset in range(changes)}


@pytest.mark.slow
def test_committed_offsets_are_gone_on_from(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    make_topic(broker.address, "twice", 2)
    now_ms = time.time_ns() // 10**6 // 60_000 * 60_000 - 600_000
    event = json.dumps({"user": "u", "value": 1.0, "t": now_ms}).encode()
    for run_number, count in enumerate((30, 12)):
        send(broker.address, "twice", [Message(event, i % 2) for i in range(count)])
        folder = tmp_path / str(run_number)
        folder.mkdir()
        source = {"topic": "twice", "group": "readers", "start": "committed"}
        write_pipeline(folder, pipeline(f"twice{run_number}", broker.address, source))
        run = start(runs, folder, flink_cluster)
        assert run.wait() == 0, run.err
        [result] = read_committed(broker.address, f"twice{run_number}-results")
        assert result["value"] == count
    committed = KafkaAdminClient(bootstrap_servers=broker.address).list_group_offsets("readers")
    assert "twice" in str(committed)


def pipeline(
    name: str, address: str, source: dict[str, Any], event_time: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Counts the events of each minute; outputs are the topics NAME-results, -late and -rejects."""
    fields = {"user": "string"}
    if event_time is None:
        fields |= {"value": "double", "t": "long"}
    return {
        "name": name,
        "parallelism": 2,
        "checkpoints": {"every": "1s"},
        "source": {"type": "kafka", "brokers": address, "stop": "latest", **source},
        "event": {
            "fields": fields,
            "time": event_time or {"field": "t", "unit": "ms"},
            "out_of_orderness": "1h",
            "require": ["user"],
        },
        "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1m"}]}],
        "sinks": {
            output: {"type": "kafka", "topic": f"{name}-{output}", "create": True}
            for output in ("results", "late", "rejects")
        },
    }
