"""What shards hold: open windows and bytes of state, against a count of every window and of every entry."""

from __future__ import annotations

import random
from typing import Any

import pytest
from engine import WINDOW_MAPS, Engine, at, counting_plan

MINUTE = 60_000
WINDOWS: list[list[dict[str, str]]] = [
    [{"tumbling": "5m"}],
    [{"sliding": "5m", "every": "2m"}],
    [{"sliding": "10m", "every": "1m"}, {"tumbling": "4m", "offset": "1m"}],
    [{"session": "3m"}],
]


def engine(windows: list[dict[str, str]], **options: Any) -> Engine:
    metric = {"name": "n", "kind": "count", "by": ["k"], "windows": windows, **options}
    event = {"fields": {"k": "string", "t": "long"}, "time": {"field": "t", "unit": "ms"}}
    return Engine({"name": "shop", "event": event, "metrics": [metric]})


def counted(engine: Engine) -> int:
    return sum(engine._turn_to(shard).held().open_windows for shard in {shard for shard, _ in engine.records})


def expected(windows: list[dict[str, str]], events: list[tuple[str, int]], watermark: int) -> int:
    """Return how many windows of keys hold an event and have not ended, by looking at each minute."""
    found = set()
    for window in windows:
        if "session" in window:
            return _sessions(events, int(window["session"][:-1]), watermark)
        size = int(window.get("tumbling", window.get("sliding"))[:-1])
        every = int(window.get("every", f"{size}m")[:-1])
        offset = int(window.get("offset", "0m")[:-1])
        for start in range(-size, 200):
            if (start - offset) % every == 0 and (start + size) * MINUTE - 1 > watermark:
                found |= {(size, start, key) for key, time in events if start <= time < start + size}
    return len(found)


def _sessions(events: list[tuple[str, int]], gap: int, watermark: int) -> int:
    count = 0
    for key in {key for key, _ in events}:
        times = sorted(time for own, time in events if own == key)
        last = [time for time, then in zip(times, [*times[1:], 10**6], strict=True) if then - time > gap]
        count += sum((time + gap) * MINUTE - 1 > watermark for time in last)
    return count


@pytest.mark.parametrize("windows", WINDOWS, ids=lambda w: "+".join(next(iter(one)) for one in w))
@pytest.mark.parametrize("lateness", ["0s", "7m"])
def test_open_windows_are_those_that_hold_an_event_and_have_not_ended(
    windows: list[dict[str, str]], lateness: str
) -> None:
    chance = random.Random(7)
    events = [(f"k{chance.randrange(12)}", chance.randrange(60, 100)) for _ in range(60)]
    running = engine(windows, allowed_lateness=lateness)
    running.send(*({"k": key, "t": time * MINUTE} for key, time in events))
    assert counted(running) == expected(windows, events, -1)
    for watermark in (61 * MINUTE, 70 * MINUTE - 2, 70 * MINUTE - 1, 70 * MINUTE, 83 * MINUTE, 105 * MINUTE):
        running.move_watermark(watermark)
        assert counted(running) == expected(windows, events, watermark), watermark
    running.end()
    assert counted(running) == 0


EVENT = {"fields": {"k": "string", "u": "string", "t": "long"}, "time": {"field": "t", "unit": "ms"}}
HOLDING: dict[str, dict[str, Any]] = {
    "small partials": {"kind": "count", "windows": [{"tumbling": "5m"}]},
    "many slices": {"kind": "count", "windows": [{"sliding": "5m", "every": "2m"}, {"tumbling": "4m"}]},
    "large partials": {
        "kind": "distinct",
        "of": "u",
        "lg_k": 12,
        "windows": [{"sliding": "6m", "every": "2m"}],
    },
    "revisions": {"kind": "count", "windows": [{"sliding": "5m", "every": "2m"}], "allowed_lateness": "7m"},
    "early results": {"kind": "count", "windows": [{"tumbling": "5m"}], "emit_every": "10s"},
    "both": {"kind": "count", "windows": [{"tumbling": "5m"}], "emit_every": "10s", "allowed_lateness": "7m"},
    "sessions": {"kind": "count", "windows": [{"session": "3m"}], "allowed_lateness": "7m"},
}


def holding(options: dict[str, Any], **event: str) -> Engine:
    metric = {"name": "n", "by": ["k"], **options}
    return Engine({"name": "shop", "event": EVENT | event, "metrics": [metric]})


def told_bytes(engine: Engine) -> int:
    return sum(engine._turn_to(shard).held().state_bytes for shard in {shard for shard, _ in engine.records})


def stored_bytes(engine: Engine) -> int:
    """Return the length of every key and value of every map of every shard."""
    return sum(
        len(key) + len(value)
        for sharded in engine.maps.values()
        for held in sharded.shards.values()
        for key, value in held.items()
    )


@pytest.mark.parametrize("kind", HOLDING)
def test_state_bytes_are_those_of_every_entry_at_every_step(kind: str) -> None:
    chance = random.Random(11)
    running = holding(HOLDING[kind])
    largest = 0
    for step in range(40):
        minutes = [60 + step + chance.randrange(-6, 3) for _ in range(8)]
        running.send(
            *(
                {
                    "k": f"k{chance.randrange(5)}",
                    "u": str(user),
                    "t": minute * MINUTE + chance.randrange(MINUTE),
                }
                for minute in minutes
                for user in range(step * 500, step * 500 + (500 if "of" in HOLDING[kind] else 1))
            )
        )
        assert told_bytes(running) == stored_bytes(running), step
        running.move_watermark((58 + step) * MINUTE)
        assert told_bytes(running) == stored_bytes(running), step
        running.move_clock(step * 15_000)
        assert told_bytes(running) == stored_bytes(running), step
        largest = max(largest, stored_bytes(running))
    clocks = sum(len(k) + len(v) for held in running.maps["clock"].shards.values() for k, v in held.items())
    assert largest > 5 * clocks
    running.move_watermark(300 * MINUTE)
    assert told_bytes(running) == stored_bytes(running) == clocks > 0


def test_every_map_is_filled_by_some_case() -> None:
    filled: set[str] = set()
    for options in HOLDING.values():
        running = holding(options)
        running.send(*({"k": "a", "u": str(user), "t": 60 * MINUTE} for user in range(3000)))
        running.move_watermark(61 * MINUTE)
        running.move_clock(20_000)
        filled |= {name for name in WINDOW_MAPS for held in running.maps[name].shards.values() if held}
    assert filled == set(WINDOW_MAPS)


def test_large_partials_are_counted_without_being_read() -> None:
    running = holding(HOLDING["large partials"])
    running.send(*({"k": "a", "u": str(user), "t": 60 * MINUTE} for user in range(3000)))
    assert sum(len(v) for held in running.maps["large"].shards.values() for v in held.values()) > 4000
    before = running.maps["large"].reads
    assert told_bytes(running) == stored_bytes(running)
    assert running.maps["large"].reads == before


def test_state_bytes_are_right_at_once_after_a_restart() -> None:
    running = holding(HOLDING["large partials"])
    running.send(*({"k": "a", "u": str(user), "t": 60 * MINUTE} for user in range(3000)))
    again = Engine(running.plan.model_dump(), running.snapshot())
    again.send()
    assert told_bytes(again) == stored_bytes(again) == stored_bytes(running)


def test_the_time_of_a_silence_is_part_of_the_state() -> None:
    silent = {"out_of_orderness": "0s", "idle_timeout": "30s", "on_idle": "advance"}
    running = Engine(counting_plan({"tumbling": "9m"}, event=silent), follow=True)
    running.send(*at(0.75))
    running.send(*at(0.9))
    running.move_clock(2 * MINUTE)
    assert any(b"silent_until" in held for held in running.maps["clock"].shards.values())
    assert told_bytes(running) == stored_bytes(running)
