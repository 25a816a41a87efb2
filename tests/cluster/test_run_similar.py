"""Answers of a real job against a full search in numpy over all that came before, also where it is killed."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cluster_runs import run_pipeline
from processes import Run, read_output, write_pipeline
from similar_entries import clustered, nearest, unit, write_items
from waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

EVENTS, USERS, ITEMS, DIMENSION, DAY = 6_000, 80, 300, 16, 86_400_000
BAD_LINES = ['{"item_id": "bad", "vector": [1]}', '{"item_id": "nan", "vector": [NaN]}', "nope"]
ASKS = "action = 'ask'"


def catalogue() -> dict[str, np.ndarray]:
    return {f"i{n}": vector for n, vector in enumerate(clustered(ITEMS, DIMENSION, 12, seed=1))}


def events() -> list[dict[str, Any]]:
    """An event a minute; one in three asks, and some are of items that there are not."""
    chance = random.Random(5)
    return [
        {
            "user": f"u{chance.randrange(USERS)}",
            "item": f"i{chance.randrange(ITEMS + 20)}",
            "action": chance.choice(["view", "buy", "ask"]),
            "t": 1_700_000_000_000 + n * 60_000,
        }
        for n in range(EVENTS)
    ]


def expected() -> dict[tuple[str, int], list[tuple[str, float]]]:
    """The items of the answer to each event that asks, by answer and line; empty where there is a reason."""
    items, touches, answers = catalogue(), {}, {}
    for line, event in enumerate(events(), 1):
        user, own = event["user"], items.get(event["item"])
        if own is not None and event["action"] != "ask":
            total, last = touches.get(user, (np.zeros(DIMENSION), event["t"]))
            touches[user] = (total * 0.5 ** ((event["t"] - last) / DAY) + own, event["t"])
        if event["action"] == "ask":
            answers["like", line] = [] if own is None else nearest(items, own, 5, event["item"])
            profile = touches.get(user)
            answers["for_you", line] = [] if profile is None else nearest(items, unit(profile[0])[0], 5)
    return answers


def prepared(folder: Path, **options: Any) -> dict[str, Any]:
    path = write_items(folder / "items.jsonl", {item: v.tolist() for item, v in catalogue().items()})
    with Path(path).open("a") as file:
        file.writelines(f"{line}\n" for line in BAD_LINES)
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(event)}\n" for event in events()))
    common = {"items": {"type": "file", "path": "items.jsonl"}, "dimension": DIMENSION, "where": ASKS, "k": 5}
    profile = {"of": "user", "touched": "item", "half_life": "1d", "where": "action != 'ask'"}
    return {
        "name": "like",
        "source": {"type": "file", "path": "events.jsonl"},
        "event": {
            "fields": {"user": "string", "item": "string", "action": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
        },
        "metrics": [{"name": "n", "kind": "count", "windows": [{"tumbling": "1d"}]}],
        "similar": [
            common | {"name": "like", "query": {"item": "item"}},
            common | {"name": "for_you", "query": {"user": "user"}, "profile": profile},
        ],
        **options,
    }


def expect_exact(answers: list[dict[str, Any]]) -> None:
    """Every event that asks is answered once, with the items of a full search."""
    right = expected()
    assert Counter((answer["answer"], answer["line"]) for answer in answers) == dict.fromkeys(right, 1)
    for answer in answers:
        own = right[answer["answer"], answer["line"]]
        assert [found["item"] for found in answer["items"]] == [item for item, _ in own], answer
        assert [found["score"] for found in answer["items"]] == pytest.approx([s for _, s in own], abs=1e-4)
        assert ("reason" in answer) == (not own)
        assert (answer["index"], answer["recall"], answer["catalogue_items"]) == ("flat", 1.0, ITEMS)


def test_each_question_is_answered_once_and_bad_items_are_rejects(tmp_path: Path) -> None:
    run = run_pipeline(tmp_path, prepared(tmp_path))
    expect_exact(read_output(tmp_path / ".sketchstream" / "like" / "similar"))
    assert sum(answer["value"] for answer in run.answers) == run.outcome["events"] == EVENTS
    told = Counter((r["answer"], r["reason"], r["line"]) for r in run.rejects)
    reasons = [("bad_vector", ITEMS + 1), ("bad_vector", ITEMS + 2), ("bad_item", ITEMS + 3)]
    assert told == {(name, *reason): 1 for name in ("like", "for_you") for reason in reasons}
    assert run.outcome["rejects"] == {"bad_vector": 4, "bad_item": 2}


@pytest.mark.slow
def test_a_job_that_is_killed_goes_on_to_the_same_answers_and_profiles(tmp_path: Path) -> None:
    source = {"type": "file", "path": "events.jsonl", "chunk_bytes": 1500}
    sinks = {name: {"type": "file", "path": name} for name in ("results", "rejects", "similar")}
    options = {"source": source, "sinks": sinks, "parallelism": 1, "checkpoints": {"every": "1s"}}
    write_pipeline(tmp_path, prepared(tmp_path, **options))

    def start(*more: str) -> Run:
        return Run(tmp_path, "run", "pipeline.yaml", "--port", "0", "--json", *more)

    run = start()
    try:
        alive = lambda: run.process.poll() is None  # noqa: E731
        wait_for(lambda: read_output(tmp_path / "similar"), "answers", alive)
        run.kill()
        run.expect_nothing_left()
    finally:
        run.clean_up()
    assert 0 < len(read_output(tmp_path / "similar")) < len(expected())
    run = start("--from", "latest")
    try:
        assert run.outcome()["events"] == EVENTS
    finally:
        run.clean_up()
    expect_exact(read_output(tmp_path / "similar"))
    assert len(read_output(tmp_path / "rejects")) == 2 * len(BAD_LINES)
