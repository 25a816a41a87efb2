"""What is gathered outlives kills, and a change of parallelism: the answers are those of one process."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from engine import Engine, latest
from processes import Run, read_output, write_pipeline
from waiting import wait_for

pytestmark = [pytest.mark.cluster, pytest.mark.slow, pytest.mark.timeout(600)]

EVENTS, START_MS, DISORDER_S = 8_000, 1_700_000_000_000, 50
PLAN: dict[str, Any] = {
    "name": "gathered",
    "event": {
        "fields": {"user": "string", "item": "long", "action": "string", "shop": "string", "ts": "long"},
        "time": {"field": "ts", "unit": "ms"},
        "out_of_orderness": f"{DISORDER_S}s",
    },
    "metrics": [
        {"name": "together", "kind": "top_pairs", "of": "item", "within": "user", "gap": "100s", "k": 40}
        | {"windows": [{"tumbling": "10m"}, {"sliding": "30m", "every": "10m"}], "max_items": 4},
        {
            "name": "ways",
            "kind": "funnel",
            "of": "user",
            "by": ["shop"],
            "steps": [{"name": name, "where": f"action = '{name}'"} for name in ("view", "cart", "buy")],
            "within": "15m",
            "exact": True,
            "windows": [{"tumbling": "10m"}],
        },
    ],
}


def events() -> list[str]:
    """One about each second, of 60 users, in disorder."""
    chance = random.Random(8)
    return [
        json.dumps(
            {
                "user": f"user {chance.randrange(60)}",
                "item": chance.randrange(9),
                "action": chance.choice(["view", "view", "cart", "buy"]),
                "shop": chance.choice(["x", "y"]),
                "ts": START_MS + (second - chance.randrange(DISORDER_S)) * 1000,
            }
        )
        for second in range(EVENTS)
    ]


def test_a_run_that_is_killed_twice_and_goes_on_with_one_worker_gives_every_answer_once(
    tmp_path: Path,
) -> None:
    lines = events()
    (tmp_path / "events.json").write_text("".join(f"{line}\n" for line in lines))
    outputs = ("results", "late", "rejects")
    pipeline = PLAN | {
        "checkpoints": {"every": "1s"},
        "source": {"type": "file", "path": "events.json", "chunk_bytes": 1000},
        "sinks": {name: {"type": "file", "path": name} for name in outputs},
    }
    write_pipeline(tmp_path, pipeline)
    one_process = Engine(PLAN, follow=True)
    for start in range(0, EVENTS, 500):
        one_process.send_raw(*(line.encode() for line in lines[start : start + 500]))
    one_process.end()
    expected = latest(one_process.results)

    for options in ((), ("--from", "latest")):
        run = Run(tmp_path, "run", "pipeline.yaml", "--port", "0", "--json", *options)
        try:
            before = len(read_output(tmp_path / "results"))
            wait_for(
                lambda before=before: len(read_output(tmp_path / "results")) > before,
                "more results",
                lambda run=run: run.process.poll() is None,
            )
            run.kill()
        finally:
            run.clean_up()
    assert 0 < len(read_output(tmp_path / "results")) < len(expected)
    options = ("--from", "latest", "--set", "parallelism=1")
    run = Run(tmp_path, "run", "pipeline.yaml", "--port", "0", "--json", *options)
    try:
        assert run.outcome()["finished"] is True
    finally:
        run.clean_up()

    results = read_output(tmp_path / "results")
    assert set(Counter(result["id"] for result in results).values()) == {1}
    assert {result["id"]: result for result in results} == expected
    assert read_output(tmp_path / "late") == read_output(tmp_path / "rejects") == []
    assert sum(result["oversized_orders"] for result in results if result["metric"] == "together") > 100
    assert max(result["steps"][2]["users"] for result in results if result["metric"] == "ways") > 10
