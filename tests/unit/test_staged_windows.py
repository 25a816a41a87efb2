"""Windows behind a stage: none goes on before all its shards have, the end told apart, silence, bytes."""

from __future__ import annotations

from typing import Any

import pytest
from engine import Engine, ShardedMap

from operators.records import Progress
from operators.shard_keys import shard_key
from operators.windows.runner import Clock, Held
from operators.windows.silence import Silence
from operators.windows.staged import StagedWindows
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


WAITING = Silence(None)


def test_the_watermark_is_that_of_the_slowest_shard_however_far_the_engine_is() -> None:
    seen = Seen()
    windows = StagedWindows(seen, ProgressState(ShardedMap(), 3), WAITING)
    ahead = Clock(10**15, 7)
    assert list(windows.on_record(Progress(0, 500), ahead)) == []
    assert list(windows.on_record(Progress(2, 300), ahead)) == []
    assert list(windows.on_event_time(5, ahead)) == []
    assert list(windows.on_record("partial", ahead)) == ["record"]
    assert list(windows.on_record(Progress(1, 400), ahead)) == ["fired"]
    assert list(windows.on_record(Progress(1, 600), ahead)) == []
    assert list(windows.on_record(Progress(2, 200), ahead)) == []  # none goes back
    assert list(windows.on_record("partial", ahead)) == ["record"]
    assert list(windows.on_record(Progress(2, 550), ahead)) == ["fired"]
    list(windows.on_processing_time(9, ahead))
    assert seen.calls == [
        ("partial", MIN_TIME_MS), (300, 300), ("partial", 300), (500, 500), ("clock", 9, 500)
    ]  # fmt: skip
    assert windows.held() == (3, 4 + len(b"progress") + 1 + 3 * 9)


def test_news_ahead_of_the_engine_wait_for_it_as_some_events_do_not_take_that_way() -> None:
    seen = Seen()
    windows = StagedWindows(seen, ProgressState(ShardedMap(), 1), WAITING)
    assert list(windows.on_record(Progress(0, 500), Clock(MIN_TIME_MS, 0))) == []
    list(windows.on_record("partial", Clock(MIN_TIME_MS, 0)))
    assert list(windows.on_event_time(200, Clock(300, 0))) == ["fired"]
    list(windows.on_record("partial", Clock(300, 0)))
    assert list(windows.on_event_time(450, Clock(700, 0))) == ["fired"]
    assert list(windows.on_event_time(600, Clock(700, 0))) == []  # the stage is not there yet
    assert list(windows.on_record(Progress(0, 900), Clock(700, 0))) == ["fired"]
    assert seen.calls == [("partial", MIN_TIME_MS), (300, 300), ("partial", 300), (500, 500), (700, 700)]


@pytest.mark.parametrize("engine_last", [False, True])
def test_the_end_comes_once_all_shards_and_the_engine_are_there_and_is_not_kept(engine_last: bool) -> None:
    seen, held = Seen(), ShardedMap()
    windows = StagedWindows(seen, ProgressState(held, 2), WAITING)
    before, end = Clock(150, 0), Clock(END_OF_TIME_MS, 0)
    list(windows.on_record(Progress(0, 100), before))
    list(windows.on_record(Progress(1, 200), before))
    list(windows.on_record(Progress(0, END_OF_TIME_MS), before))
    assert seen.calls == [(100, 100)]
    # Between the two the job may start anew: what was told is state.
    windows = StagedWindows(seen, ProgressState(held, 2), WAITING)
    if engine_last:
        list(windows.on_record(Progress(1, END_OF_TIME_MS), before))
        list(windows.on_event_time(160, end))
        assert seen.calls[1:] == [(150, 150), (END_OF_TIME_MS, END_OF_TIME_MS)]
    else:
        list(windows.on_event_time(160, end))
        list(windows.on_record(Progress(1, END_OF_TIME_MS), end))
        assert seen.calls[1:] == [(END_OF_TIME_MS, END_OF_TIME_MS)]
    assert list(windows.on_event_time(170, end)) == []
    assert ProgressState(held, 2).watermark_ms() == 100
    del seen.calls[:]
    list(windows.on_record(Progress(0, 300), end))
    list(windows.on_record(Progress(1, END_OF_TIME_MS), end))
    assert seen.calls == [(200, 200)]


def test_a_shard_that_goes_on_after_its_end_is_waited_for_again() -> None:
    told = ProgressState(ShardedMap(), 2)
    told.told(0, END_OF_TIME_MS)
    told.told(0, 300)
    told.told(1, END_OF_TIME_MS)
    assert told.watermark_ms() == MIN_TIME_MS  # shard 1 told of no time yet
    told.told(0, END_OF_TIME_MS)
    assert told.watermark_ms() == END_OF_TIME_MS


def test_in_a_silence_nothing_is_on_its_way_and_the_watermark_is_the_engines() -> None:
    seen, silence = Seen(), Silence(1_000)
    windows = StagedWindows(seen, ProgressState(ShardedMap(), 1), silence)
    silence.heard(0)
    list(windows.on_record(Progress(0, 500), Clock(900, 0)))
    list(windows.on_processing_time(999, Clock(900, 999)))
    list(windows.on_processing_time(1_000, Clock(900, 1_000)))
    assert seen.calls == [(500, 500), ("clock", 999, 500), ("clock", 1_000, 900)]


def test_what_was_told_is_in_the_bytes_that_are_documented_and_others_are_refused() -> None:
    held = ShardedMap()
    state = ProgressState(held, 2)
    assert state.held() == 0 and state.watermark_ms() == MIN_TIME_MS
    state.told(0, 258)
    state.told(1, END_OF_TIME_MS)
    data = b"\x01" + bytes([2, 1] + [0] * 6) + b"\0" + bytes([0] * 7 + [128]) + b"\x01"
    assert held.shards[""] == {b"progress": data}
    for wrong in (*(data[:length] for length in range(len(data))), data + b"\0", b"\x02" + data[1:]):
        held.put(b"progress", wrong)
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
    told.shard = shard_key("m", 0)
    assert ProgressState(told, 8).watermark_ms() == 10_000_000 - 60_000
