"""Windows that go by what shards of entities tell: none before all have, the end told apart, bytes."""

from __future__ import annotations

from typing import Any

import pytest
from engine import Engine, ShardedMap

from operators.records import Progress
from operators.windows.gathered import GatheredWindows, NoEventTimers
from operators.windows.runner import Clock, Held
from sketches.errors import BadData
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS
from state.progress_state import ProgressState


class Seen:
    """A runner that notes what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_record(self, record: Any, clock: Clock) -> list[Any]:
        self.calls.append((record, clock.watermark_ms))
        return ["record"]

    def on_event_time(self, time_ms: int, clock: Clock) -> list[Any]:
        self.calls.append((time_ms, clock.watermark_ms))
        return ["fired"]

    def on_processing_time(self, time_ms: int, clock: Clock) -> list[Any]:
        self.calls.append(("clock", time_ms, clock.watermark_ms))
        return []

    def held(self) -> Held:
        return Held(3, 4)


def test_the_watermark_is_that_of_the_slowest_shard_whatever_the_engine_says() -> None:
    seen = Seen()
    windows = GatheredWindows(seen, ProgressState(ShardedMap(), 3))
    late = Clock(10**15, 7)
    assert list(windows.on_record(Progress(0, 500), late)) == []
    assert list(windows.on_record(Progress(2, 300), late)) == []
    assert list(windows.on_record("partial", late)) == ["record"]
    assert list(windows.on_record(Progress(1, 400), late)) == ["fired"]
    assert list(windows.on_record(Progress(1, 600), late)) == []
    assert list(windows.on_record(Progress(2, 200), late)) == []  # none goes back
    assert list(windows.on_record("partial", late)) == ["record"]
    assert list(windows.on_record(Progress(2, 550), late)) == ["fired"]
    list(windows.on_processing_time(9, late))
    assert list(windows.on_event_time(5, late)) == []
    assert seen.calls == [
        ("partial", MIN_TIME_MS), (300, 300), ("partial", 300), (500, 500), ("clock", 9, 500)
    ]  # fmt: skip
    assert windows.held() == (3, 4 + len(b"gathered") + 1 + 3 * 9)


def test_the_end_comes_once_all_shards_are_there_and_is_not_kept() -> None:
    seen, held = Seen(), ShardedMap()
    windows = GatheredWindows(seen, ProgressState(held, 2))
    clock = Clock(END_OF_TIME_MS, 0)
    list(windows.on_record(Progress(0, 100), clock))
    list(windows.on_record(Progress(1, 200), clock))
    list(windows.on_record(Progress(0, END_OF_TIME_MS), clock))
    assert seen.calls == [(100, 100)]
    # Between the two the job may start anew: what was told is state.
    windows = GatheredWindows(seen, ProgressState(held, 2))
    list(windows.on_record(Progress(1, END_OF_TIME_MS), clock))
    assert seen.calls[1:] == [(END_OF_TIME_MS, END_OF_TIME_MS)]
    assert ProgressState(held, 2).watermark_ms() == 100
    list(windows.on_record(Progress(0, 300), clock))
    list(windows.on_record(Progress(1, END_OF_TIME_MS), clock))
    assert seen.calls[2:] == [(200, 200)]


def test_only_timers_of_the_wall_clock_are_set() -> None:
    class Asked:
        def __init__(self) -> None:
            self.times: list[int] = []

        def at_processing_time(self, time_ms: int) -> None:
            self.times.append(time_ms)

    asked = Asked()
    timers = NoEventTimers(asked)
    timers.at_event_time(5)
    timers.at_processing_time(6)
    assert asked.times == [6]


def test_what_was_told_is_in_the_bytes_that_are_documented_and_others_are_refused() -> None:
    held = ShardedMap()
    state = ProgressState(held, 2)
    assert state.held() == 0 and state.watermark_ms() == MIN_TIME_MS
    state.told(0, 258)
    state.told(1, END_OF_TIME_MS)
    data = b"\x01" + bytes([2, 1] + [0] * 6) + b"\0" + bytes([0] * 7 + [128]) + b"\x01"
    assert held.shards[""] == {b"gathered": data}
    for wrong in (*(data[:length] for length in range(len(data))), data + b"\0", b"\x02" + data[1:]):
        held.put(b"gathered", wrong)
        with pytest.raises(BadData, match="expected progress of version 1 and 19 bytes"):
            state.watermark_ms()


def test_a_shard_that_hears_of_a_watermark_at_first_tells_windows_at_once() -> None:
    """As where a metric is added to a job that goes on: no window waits for the shard's next boundary."""
    metric = {"name": "m", "kind": "top_pairs", "of": "item", "within": "order", "gap": "1m"}
    plan = {
        "name": "shop",
        "event": {
            "fields": {"item": "string", "order": "string", "t": "long"},
            "time": {"field": "t", "unit": "ms"},
        },
        "metrics": [metric | {"windows": [{"tumbling": "1h"}]}],
    }
    engine = Engine(plan)
    engine.move_watermark(10_000_000)
    engine.send({"item": "x", "order": "a", "t": 10_000_000})
    told = engine.maps["clock"]
    told.shard = "m/0"
    assert ProgressState(told, 8).watermark_ms() == 10_000_000 - 60_000
