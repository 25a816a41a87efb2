"""How many windows are open: against a count of every window of every event."""

from __future__ import annotations

import random
from typing import Any

import pytest
from engine import NEVER_SETTLED, Engine

MINUTE = 60_000
WINDOWS: list[list[dict[str, str]]] = [
    [{"tumbling": "5m"}],
    [{"sliding": "5m", "every": "2m"}],
    [{"sliding": "10m", "every": "1m"}, {"tumbling": "4m", "offset": "1m"}],
    [{"session": "3m"}],
]


def engine(windows: list[dict[str, str]], **options: Any) -> Engine:
    metric = {"name": "n", "kind": "count", "by": ["k"], "windows": windows, **options}
    event = {"fields": {"k": "string", "t": "long"}, "time": {"field": "t", "unit": "ms"}, **NEVER_SETTLED}
    return Engine({"name": "shop", "event": event, "metrics": [metric]})


def counted(engine: Engine) -> int:
    return sum(engine._turn_to(shard).open_windows() for shard in {shard for shard, _ in engine.records})


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
