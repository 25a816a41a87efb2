"""The demo's answers for single events: new or returning, running estimates, similar items; and their price.

Beside them stand the exact ones: who was new is told by a set of users, actions by a dict of counts. Which of
a user's events is the first is not compared, as workers read side by side: it is one of them, once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flink_job.demo.exact import WindowAnswers
from flink_job.demo.memory import Footprint, MemoryMeter
from flink_job.demo.tables import plain_table
from operators.enrich.enrich_spec import EnrichSpec
from operators.similar.text_encoder import HashingEncoder
from sketches.count_min import CountMin
from sketches.growing_bloom import GrowingBloom
from sketches.hashing import hash_strings
from sketches.hyperloglog import HyperLogLog

_SHOWN = 4
_DELTA = 0.01
Event = Mapping[str, Any]


@dataclass(frozen=True)
class ProcessorReport:
    """How well single events were answered; rich prints it.

    Attributes:
        shown: some enriched events, with the items like theirs.
        events: how many were enriched.
        expected: how many there were to enrich.
        users: how many different users there were.
        told_new: how many events were told to be their user's first.
        told_twice: how many users that was told of more than once.
        unique_users: the last estimate of different users.
        actions: by action, how often it came and the highest estimate of that.
        answered: questions for similar items that had an answer.
        asked: how many questions there were.
        footprints: what answers cost in memory.
    """

    shown: Sequence[Event]
    events: int
    expected: int
    users: int
    told_new: int
    told_twice: int
    unique_users: int
    actions: Mapping[str, tuple[int, int]]
    answered: int
    asked: int
    footprints: Sequence[Footprint]

    @property
    def accuracy(self) -> float:
        """The share of events whose `is_new_user` is right, 0 to 1."""
        return 1 - abs(self.users - self.told_new) / max(self.events, 1)

    @property
    def is_right(self) -> bool:
        """Whether nothing is missing or twice, and no more first events than stated were missed."""
        missed = self.users - self.told_new
        counted = all(count <= told for count, told in self.actions.values())
        return (
            self.events == self.expected
            and self.answered == self.asked
            and not self.told_twice
            and 0 <= missed <= 0.02 * self.users + 5
            and counted
        )

    def as_json(self) -> dict[str, Any]:
        """The report as values that `json.dumps` takes."""
        return asdict(self) | {"accuracy": self.accuracy, "is_right": self.is_right}

    def __rich__(self) -> RenderableType:
        """The report for a terminal."""
        return Group(*_rendered(self))


def processor_report(
    enriched: Iterable[Event], answers: Iterable[Event], exact: WindowAnswers, spec: EnrichSpec, items: Path
) -> ProcessorReport:
    """Compare what single events were answered with what is exact.

    Args:
        enriched: the enriched events, in any order.
        answers: the answers of `similar` to views.
        exact: the exact answers over the whole run.
        spec: the section `enrich`.
        items: the file of items.
    """
    told: Counter[str] = Counter()
    highest: dict[str, int] = {}
    events = unique = 0
    examples: dict[tuple[str, bool], Event] = {}
    for event in enriched:
        action, is_new = event["action"], event["is_new_user"]
        events += 1
        told[event["user_id"]] += is_new
        unique = max(unique, event["unique_users_est"])
        highest[action] = max(highest.get(action, 0), event[f"{action}_count_est"])
        if action in ("view", "purchase") and event["item_id"] is not None:
            examples.setdefault((action, is_new), event)
    asked = answered = 0
    like: dict[str, list[str]] = {}
    for answer in answers:
        asked += 1
        answered += len(answer["items"]) == 10
        like.setdefault(answer["query"]["item"], [item["item"] for item in answer["items"]])
    return ProcessorReport(
        shown=[event | {"similar": like.get(event["item_id"], [])} for event in examples.values()][:_SHOWN],
        events=events,
        expected=exact.events,
        users=len(exact.users),
        told_new=sum(told.values()),
        told_twice=sum(count > 1 for count in told.values()),
        unique_users=unique,
        actions={action: (count, highest.get(action, 0)) for action, count in sorted(exact.actions.items())},
        answered=answered,
        asked=asked,
        footprints=_footprints(exact, spec, items),
    )


def _footprints(exact: WindowAnswers, spec: EnrichSpec, items: Path) -> list[Footprint]:
    """What the four structures cost, filled with the users, actions and items of the run."""
    users, actions = hash_strings(sorted(exact.users)), hash_strings(sorted(exact.actions))
    seen = GrowingBloom(spec.expected(), spec.rate, first_share=0.95)
    seen.add_many(np.ascontiguousarray(users[:, 0]))
    distinct = HyperLogLog(spec.lg_k)
    distinct.update_many(users)
    counts = CountMin(*CountMin.suggest(spec.epsilon, _DELTA))
    counts.update_many(actions, np.array([exact.actions[name] for name in sorted(exact.actions)]))
    titles = [json.loads(line)["title"] for line in items.read_bytes().split(b"\n") if line]
    vectors = HashingEncoder(64).encode(titles)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    held, by_hand = MemoryMeter(), MemoryMeter()
    lists = [vector.tolist() for vector in vectors]
    rows = (
        ("is_new_user", "Bloom filter", seen.serialize(), "set of users", [set(exact.users)]),
        ("unique_users_est", "HyperLogLog", distinct.serialize(), "(the same set)", []),
        ("..._count_est", "Count-Min", counts.serialize(), "dict of counts", [dict(exact.actions)]),
        ("similar items", "FAISS index", faiss.serialize_index(index).tobytes(), "lists of numbers", lists),
    )
    return [
        Footprint(answer, what, held.size(image), other, by_hand.size(*objects))
        for answer, what, image, other, objects in rows
    ]


def _rendered(shown: ProcessorReport) -> Iterator[RenderableType]:
    yield _examples(shown.shown)
    missed = shown.users - shown.told_new
    yield Text(
        f"\nis_new_user was right for {shown.accuracy:.3%} of {shown.events:,} events: "
        f"of {shown.users:,} users {missed:,} were taken for known ones at first, "
        f"{shown.told_twice:,} were new twice. "
        f"Users estimated at the end: {shown.unique_users:,}. "
        f"Similar items: {shown.answered:,} of {shown.asked:,} questions answered with ten.\n"
    )
    yield _memory(shown.footprints)
    if shown.is_right:
        yield Text("Single events were answered as stated.\n", style="bold green")
    else:
        yield Text("Answers for single events are WRONG.\n", style="bold red")


def _examples(events: Sequence[Event]) -> Table:
    found = plain_table(
        "Answers for single events", "user", "action", "item", "new?", "users", "actions", "value"
    )
    found.add_column("ten similar items", overflow="fold")
    for event in events:
        action = event["action"]
        total = event.get(f"value_{action}")
        found.add_row(
            event["user_id"],
            action,
            event["item_id"],
            "new" if event["is_new_user"] else "returning",
            f"{event['unique_users_est']:,}",
            f"{event[f'{action}_count_est']:,}",
            "" if total is None else f"{total:,.2f}",
            " ".join(item.removeprefix("item_") for item in event["similar"]),
        )
    return found


def _memory(rows: Sequence[Footprint]) -> Table:
    found = plain_table(
        "Memory of what answers single events", "of", "the job holds", "bytes", "exactly", "in bytes"
    )
    for row in rows:
        exact = f"{row.exact_bytes:,}" if row.exact_bytes else ""
        found.add_row(row.answer, row.sketch, f"{row.sketch_bytes:,}", row.exact, exact)
    return found
