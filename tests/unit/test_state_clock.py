"""What a shard remembers of time."""

from __future__ import annotations

import pytest
from engine import ShardedMap

from state.clock_state import END_OF_TIME_MS, MIN_TIME_MS, ClockState, time_key, time_of


def test_the_order_of_time_keys_is_the_order_of_time() -> None:
    times = [MIN_TIME_MS, -(10**13), -1, 0, 1, 10**13, END_OF_TIME_MS]
    assert sorted(map(time_key, reversed(times))) == [time_key(time) for time in times]
    assert [time_of(time_key(time)) for time in times] == times


def test_a_new_shard_has_no_horizon_and_no_silence() -> None:
    clock = ClockState(ShardedMap())
    assert (clock.horizon(), clock.silent_until()) == (MIN_TIME_MS, None)


def test_horizon_and_silence_are_kept_apart() -> None:
    clock = ClockState(ShardedMap())
    clock.set_horizon(-5)
    clock.set_silent_until(7)
    assert (clock.horizon(), clock.silent_until()) == (-5, 7)


def test_the_first_watermark_heard_becomes_the_horizon_and_later_ones_do_not() -> None:
    clock = ClockState(ShardedMap())
    assert clock.watermark(MIN_TIME_MS) == MIN_TIME_MS == clock.horizon()
    assert clock.watermark(100) == 100 == clock.horizon()
    assert (clock.watermark(200), clock.horizon()) == (200, 100)


def test_a_new_shard_knows_no_time_whole_until_it_is_told() -> None:
    clock = ClockState(ShardedMap())
    assert (clock.whole_from(), clock.held()) == (END_OF_TIME_MS, 0)
    clock.set_whole_from(-5)
    assert (clock.whole_from(), clock.horizon(), clock.held()) == (-5, MIN_TIME_MS, len("whole_from") + 8)


@pytest.mark.parametrize("engine_ms", [MIN_TIME_MS, 50])
def test_a_watermark_that_starts_anew_does_not_go_behind_the_horizon(engine_ms) -> None:
    clock = ClockState(ShardedMap())
    clock.set_horizon(100)
    assert clock.watermark(engine_ms) == 100 == clock.horizon()


def test_the_end_of_the_input_is_no_horizon() -> None:
    clock = ClockState(ShardedMap())
    assert clock.watermark(END_OF_TIME_MS) == END_OF_TIME_MS
    assert clock.horizon() == MIN_TIME_MS
