"""Windows behind the watermark: what they are shown, when their timers come, and what is not shifted."""

from __future__ import annotations

from typing import Any

from operators.windows.delay import Delayed, DelayedTimers
from operators.windows.runner import Clock, Held
from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS


class Seen:
    """A runner that notes what it is called with."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def on_record(self, record: Any, clock: Clock) -> list[Any]:
        self.calls.append(("record", record, clock.watermark_ms, clock.now_ms))
        return ["out"]

    def on_event_time(self, time_ms: int, clock: Clock) -> list[Any]:
        self.calls.append(("event", time_ms, clock.watermark_ms, clock.now_ms))
        return []

    def on_processing_time(self, time_ms: int, clock: Clock) -> list[Any]:
        self.calls.append(("clock", time_ms, clock.watermark_ms, clock.now_ms))
        return []

    def held(self) -> Held:
        return Held(3, 4)


class Asked:
    """Timers that note what they are asked for."""

    def __init__(self) -> None:
        self.event: list[int] = []
        self.processing: list[int] = []

    def at_event_time(self, time_ms: int) -> None:
        self.event.append(time_ms)

    def at_processing_time(self, time_ms: int) -> None:
        self.processing.append(time_ms)


def test_a_runner_sees_the_watermark_later_and_the_wall_clock_as_it_is() -> None:
    seen = Seen()
    delayed = Delayed(seen, 100)
    assert delayed.on_record("r", Clock(1000, 5)) == ["out"]
    delayed.on_event_time(950, Clock(1000, 5))
    delayed.on_processing_time(7, Clock(1000, 7))
    assert seen.calls == [("record", "r", 900, 5), ("event", 850, 900, 5), ("clock", 7, 900, 7)]
    assert delayed.held() == (3, 4)


def test_no_watermark_yet_and_the_end_of_the_input_are_shown_as_they_are() -> None:
    seen = Seen()
    for watermark_ms in (MIN_TIME_MS, MIN_TIME_MS + 1, MIN_TIME_MS + 99, END_OF_TIME_MS):
        Delayed(seen, 100).on_record("r", Clock(watermark_ms, 0))
    assert [call[2] for call in seen.calls] == [
        MIN_TIME_MS,
        MIN_TIME_MS + 1,
        MIN_TIME_MS + 1,
        END_OF_TIME_MS,
    ]


def test_timers_of_event_time_come_later_and_those_that_never_could_are_not_set() -> None:
    asked = Asked()
    timers = DelayedTimers(asked, 100)
    for time_ms in (MIN_TIME_MS + 1, 5, END_OF_TIME_MS - 101, END_OF_TIME_MS - 100, END_OF_TIME_MS):
        timers.at_event_time(time_ms)
    timers.at_processing_time(9)
    assert (asked.event, asked.processing) == ([MIN_TIME_MS + 101, 105, END_OF_TIME_MS - 1], [9])
