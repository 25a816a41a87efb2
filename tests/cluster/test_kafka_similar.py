"""A catalogue that is a compacted topic: changed while the job runs, and there again after a savepoint."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from clusters import start, stop
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from processes import Run, write_pipeline
from similar_entries import clustered, nearest, unit
from topics import CommittedReader, Message, make_topic, read_committed, send

from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(400)]

ITEMS, DIMENSION, USERS = 60, 8, 6


class Shop:
    """Sends items and questions, and reads answers.

    Args:
        address: the broker.
        reader: reads the topic of answers.
    """

    def __init__(self, address: str, reader: CommittedReader) -> None:
        self._address, self._reader, self._asked = address, reader, 0
        self.items: dict[str, np.ndarray] = {}

    def put(self, items: dict[str, np.ndarray]) -> None:
        """Add or replace items."""
        values = {item: {"item_id": item, "vector": vector.tolist()} for item, vector in items.items()}
        send(self._address, "items", [
            Message(json.dumps(value).encode(), _partition(item), key=item.encode())
            for item, value in values.items()
        ])  # fmt: skip
        self.items |= items

    def remove(self, item: str) -> None:
        """Take an item away, by a message without value."""
        send(self._address, "items", [Message(None, _partition(item), key=item.encode())])
        del self.items[item]

    def touch(self, touches: Iterable[tuple[str, str]]) -> None:
        """Have users touch items."""
        self._send({"user": user, "item": item, "action": "view"} for user, item in touches)

    def ask(self, asked: list[str]) -> list[dict[str, Any]]:
        """Ask for what is like each item, as a user of its number; return the answers to that."""
        first = self._asked
        self._asked += len(asked)
        self._send(
            {"user": f"u{n % USERS}", "item": item, "action": f"ask {first + n}"}
            for n, item in enumerate(asked)
        )
        wanted = 2 * self._asked
        self._reader.read_until(lambda answers: len(answers) >= wanted, f"{wanted} answers")
        return self._reader.objects()[2 * first :]

    def ask_until(self, content: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
        """Ask for all items until the answers are as wanted; how soon a change counts is not promised."""
        deadline = time.monotonic() + 60
        while True:
            answers = self.ask(sorted(self.items))
            if content(answers):
                return answers
            assert time.monotonic() < deadline, answers[:3]

    def _send(self, events: Iterable[dict[str, Any]]) -> None:
        now_ms = time.time_ns() // 10**6
        send(self._address, "questions", [
            Message(json.dumps(event | {"t": now_ms}).encode(), _partition(event["user"])) for event in events
        ])  # fmt: skip


def test_a_catalogue_is_followed_and_with_profiles_is_there_again_after_a_savepoint(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    make_topic(broker.address, "questions", 2)
    admin = KafkaAdminClient(bootstrap_servers=broker.address)
    admin.create_topics([NewTopic("items", 2, 1, topic_configs={"cleanup.policy": "compact"})])
    admin.close()
    write_pipeline(tmp_path, pipeline(broker.address))
    first = {f"i{n}": vector for n, vector in enumerate(clustered(ITEMS, DIMENSION, 6, seed=2))}
    with CommittedReader(broker.address, "answers") as reader:
        run = start(runs, tmp_path, flink_cluster)
        shop = Shop(broker.address, reader)
        shop.put(first)
        expect_right(shop, shop.ask_until(lambda answers: all_have(answers, ITEMS)))

        shop.remove("i0")
        shop.remove("i1")
        shop.put({"i2": -first["i2"], "new": unit(np.arange(1, 9))[0]})
        bad = send(broker.address, "items", [Message(b'{"item_id": "x", "vector": [1]}', 1, key=b"x")])
        answers = shop.ask_until(lambda answers: all_have(answers, ITEMS - 1))
        expect_right(shop, answers)
        assert not {"i0", "i1"} & {found["item"] for answer in answers for found in answer["items"]}

        shop.touch((f"u{n % USERS}", f"i{3 + n // 2}") for n in range(2 * USERS))
        before = profiles(shop.ask_until(lambda answers: len(profiles(answers)) == USERS))
        stop(run)
        again = start(runs, tmp_path, flink_cluster, "--from", "latest", "--set", "parallelism=1")
        answers = shop.ask(sorted(shop.items))
        assert all_have(answers, ITEMS - 1)
        expect_right(shop, answers)
        assert profiles(answers) == before
        shop.remove("i5")
        expect_right(shop, shop.ask_until(lambda answers: all_have(answers, ITEMS - 2)))
        stop(again)
    rejects = read_committed(broker.address, "item-rejects")
    assert sorted((r["answer"], r["reason"]) for r in rejects) == [
        ("for_you", "bad_vector"),
        ("like", "bad_vector"),
    ]
    assert {(r["topic"], r["partition"], r["offset"]) for r in rejects} == {("items", 1, bad[0].offset)}


def test_a_job_ends_where_its_events_do_though_items_come_from_a_topic_and_all_outputs_are_topics(
    runs: list[Run], broker: Broker, flink_cluster: FlinkCluster, tmp_path: Path
) -> None:
    for topic in ("few-questions", "few-items"):
        make_topic(broker.address, topic, 1)
    items = {f"i{n}": vector for n, vector in enumerate(clustered(20, DIMENSION, 3, seed=4))}
    values = (json.dumps({"item_id": i, "vector": vector.tolist()}).encode() for i, vector in items.items())
    send(broker.address, "few-items", [Message(value) for value in values])
    now_ms = time.time_ns() // 10**6
    asked = [f"i{n % 20}" for n in range(300)]
    send(broker.address, "few-questions", [
        Message(json.dumps({"user": "u", "item": item, "action": "ask 1", "t": now_ms}).encode())
        for item in asked
    ])  # fmt: skip
    given = pipeline(broker.address, "few-items") | {"name": "few"}
    given["source"] |= {"topic": "few-questions", "stop": "latest"}
    windows = given["metrics"][0]["windows"]
    given["metrics"].append({"name": "new", "kind": "first_seen", "of": "user", "windows": windows})
    given["sinks"] = {
        output: {"type": "kafka", "topic": f"few-{output}", "create": True}
        for output in (*given["sinks"], "first_seen")
    }
    write_pipeline(tmp_path, given)
    assert start(runs, tmp_path, flink_cluster).outcome()["state"] == "FINISHED"
    assert [event["value"] for event in read_committed(broker.address, "few-first_seen")] == ["u"]
    answers = read_committed(broker.address, "few-similar")
    assert Counter(a["query"]["item"] for a in answers if a["answer"] == "like") == Counter(asked)
    for answer in answers:
        # Which items come before a question is not said; those that did are told rightly.
        assert bool(answer["items"]) != ("reason" in answer)
        if answer["catalogue_items"] == len(items) and answer["answer"] == "like":
            right = nearest(items, items[answer["query"]["item"]], 4, answer["query"]["item"])
            assert [found["item"] for found in answer["items"]] == [item for item, _ in right]


def pipeline(address: str, topic: str = "items") -> dict[str, Any]:
    items = {"type": "kafka", "topic": topic}
    common = {"items": items, "dimension": DIMENSION, "k": 4, "where": "action like 'ask %'"}
    profile = {"of": "user", "touched": "item", "half_life": "30d", "where": "action = 'view'"}
    topics = {"results": "n", "late": "late", "rejects": "item-rejects", "similar": "answers"}
    return {
        "name": "follow",
        "parallelism": 2,
        "checkpoints": {"every": "500ms"},
        "source": {"type": "kafka", "brokers": address, "topic": "questions"},
        "event": {
            "fields": {"user": "string", "item": "string", "action": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
        },
        "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1h"}]}],
        "similar": [
            common | {"name": "like", "query": {"item": "item"}},
            common | {"name": "for_you", "query": {"user": "user"}, "profile": profile},
        ],
        "sinks": {output: {"type": "kafka", "topic": t, "create": True} for output, t in topics.items()},
    }


def all_have(answers: list[dict[str, Any]], items: int) -> bool:
    return all(answer["catalogue_items"] == items for answer in answers)


def expect_right(shop: Shop, answers: list[dict[str, Any]]) -> None:
    """Hold answers to questions by item against a full search of what the topic says."""
    by_item = [answer for answer in answers if answer["answer"] == "like"]
    assert len(by_item) == len(shop.items)
    for answer in by_item:
        item = answer["query"]["item"]
        right = nearest(shop.items, shop.items[item], 4, item)
        assert [found["item"] for found in answer["items"]] == [other for other, _ in right]
        assert [f["score"] for f in answer["items"]] == pytest.approx([s for _, s in right], abs=1e-5)


def profiles(answers: list[dict[str, Any]]) -> dict[str, list[str]]:
    """The items of users who have a profile."""
    return {
        answer["query"]["user"]: [found["item"] for found in answer["items"]]
        for answer in answers
        if answer["answer"] == "for_you" and answer["items"]
    }


def _partition(key: str) -> int:
    return sum(key.encode()) % 2
