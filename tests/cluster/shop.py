"""A stream of events for the tests against Kafka, and its exact answers, counted in plain Python."""

from __future__ import annotations

import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

from topics import Message

ACTIONS = ("view", "click", "add_cart", "purchase")
WINDOW_MS = 10_000
STEP_MS = 10
DISORDER_MS = 3_000
BAD_EVERY = 500


class Shop:
    """Events of a shop, in order but for a few seconds, spread over partitions; some of them are broken.

    Args:
        partitions: how many partitions they go to.
        seed: the same seed gives the same events but for when they happen: from ten minutes ago on.
    """

    def __init__(self, partitions: int, seed: int) -> None:
        self.partitions, self._random = partitions, random.Random(seed)
        self.base_ms = (time.time_ns() // 10**6 - 600_000) // WINDOW_MS * WINDOW_MS
        self._made = 0
        self.good: list[dict[str, Any]] = []
        self.bad = 0

    def messages(self, count: int) -> list[Message]:
        """Make the next events."""
        return [self._message() for _ in range(count)]

    def last_messages(self) -> list[Message]:
        """Make an event for each partition that is so far ahead that all windows before it are closed."""
        time_ms = self.base_ms + self._made * STEP_MS + 20 * WINDOW_MS
        event = {"user": "last", "action": "view", "value": 0.0, "t": time_ms}
        return [Message(json.dumps(event).encode(), partition) for partition in range(self.partitions)]

    def counts(self) -> Counter[tuple[int, str]]:
        """How many events of each action there are in each window."""
        return Counter((_window(event), event["action"]) for event in self.good)

    def users(self) -> dict[int, int]:
        """How many users there are in each window."""
        seen: dict[int, set[str]] = defaultdict(set)
        for event in self.good:
            seen[_window(event)].add(event["user"])
        return {window: len(users) for window, users in seen.items()}

    def values(self) -> dict[int, float]:
        """The sum of the values in each window; they are of halves, so that it is exact."""
        sums: dict[int, float] = defaultdict(float)
        for event in self.good:
            sums[_window(event)] += event["value"]
        return dict(sums)

    def _message(self) -> Message:
        number, self._made = self._made, self._made + 1
        partition = number % self.partitions
        if number % BAD_EVERY == BAD_EVERY - 1:
            self.bad += 1
            return Message(b'{"user": "torn', partition)
        event = {
            "user": f"u{self._random.randrange(500)}",
            "action": self._random.choice(ACTIONS),
            "value": self._random.randrange(200) / 2,
            "t": self.base_ms + number * STEP_MS - self._random.randrange(DISORDER_MS),
        }
        self.good.append(event)
        return Message(json.dumps(event).encode(), partition)


def pipeline(name: str, address: str, topic: str, **options: Any) -> dict[str, Any]:
    """The pipeline file of the shop; its outputs are the topics NAME-results, -late and -rejects."""
    event = {
        "fields": {"user": "string", "action": "string", "value": "double", "t": "long"},
        "time": {"field": "t", "unit": "ms"},
        "out_of_orderness": "5s",
        "idle_timeout": "20s",
        "require": ["user", "action"],
    }
    windows = [{"tumbling": f"{WINDOW_MS}ms"}]
    return {
        "name": name,
        "parallelism": options.pop("parallelism", 2),
        "checkpoints": {"every": "1s"},
        "source": {"type": "kafka", "brokers": address, "topic": topic, **options.pop("source", {})},
        "event": event | options.pop("event", {}),
        "metrics": [
            {"name": "actions", "kind": "count", "by": ["action"], "windows": windows},
            {"name": "users", "kind": "distinct", "of": "user", "windows": windows},
            {"name": "value", "kind": "sum", "of": "value", "windows": windows},
            {"name": "newcomers", "kind": "first_seen", "of": "user", "windows": windows},
        ],
        "sinks": {
            output: {"type": "kafka", "topic": f"{name}-{output}", "create": True}
            for output in ("results", "late", "rejects")
        },
        **options,
    }


def expect_exact(shop: Shop, results: Iterable[dict[str, Any]]) -> None:
    """Hold what came out, each (id, revision) once, against the exact answers of all closed windows."""
    answers: dict[str, dict[str, Any]] = {}
    sent = Counter((result["id"], result["revision"]) for result in results)
    twice = [which for which, times in sent.items() if times > 1]
    assert not twice, f"sent more than once: {twice}"
    for result in sorted(results, key=lambda result: result["revision"]):
        answers[result["id"]] = result
    by_metric: dict[str, dict[Any, Any]] = defaultdict(dict)
    for answer in answers.values():
        start_ms = answer["window"]["start_ms"]
        where = (start_ms, answer["key"]["action"]) if answer["key"] else start_ms
        by_metric[answer["metric"]][where] = answer
    assert {where: answer["value"] for where, answer in by_metric["actions"].items()} == dict(shop.counts())
    assert {where: answer["value"] for where, answer in by_metric["value"].items()} == shop.values()
    newcomers = by_metric["newcomers"].values()
    assert sum(a["new"] for a in newcomers) == len({event["user"] for event in shop.good})
    assert sum(a["new"] + a["returning"] for a in newcomers) == len(shop.good)
    users = shop.users()
    assert by_metric["users"].keys() == users.keys()
    assert all(a["lower"] <= users[where] <= a["upper"] for where, a in by_metric["users"].items())


def is_exact(shop: Shop, results: Iterable[dict[str, Any]]) -> bool:
    """Whether `expect_exact` would be content."""
    try:
        expect_exact(shop, results)
    except AssertionError:
        return False
    return True


def _window(event: dict[str, Any]) -> int:
    return event["t"] // WINDOW_MS * WINDOW_MS
