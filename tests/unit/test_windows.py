"""Window arithmetic, against windows enumerated one by one."""

from __future__ import annotations

import pytest

from operators.windows.slices import SessionWindow, SliceGrid, TimeWindow

MINUTE = 60_000
WINDOWS = [
    TimeWindow(5, 5),
    TimeWindow(5, 1),
    TimeWindow(5, 2),
    TimeWindow(6, 4, 3),
    TimeWindow(1, 1),
    TimeWindow(9, 3, 14),
]


def enumerated_ends(window: TimeWindow, time_ms: int) -> list[int]:
    """Return the ends of the windows that hold a time, by trying every start."""
    starts = range(time_ms - 2 * window.size_ms - 50, time_ms + 50)
    return [
        start + window.size_ms
        for start in starts
        if (start - window.offset_ms) % window.every_ms == 0 and start <= time_ms < start + window.size_ms
    ]


@pytest.mark.parametrize("window", WINDOWS)
def test_the_windows_over_a_slice_are_those_of_each_of_its_events(window) -> None:
    grid = SliceGrid((window,))
    for time_ms in range(-40, 40):
        assert list(grid.ends_over(window, grid.slice_end(time_ms))) == enumerated_ends(window, time_ms)


@pytest.mark.parametrize("window", WINDOWS)
def test_the_first_end_is_the_least_of_all_ends_from_a_time_on(window) -> None:
    for time_ms in range(-40, 40):
        ends = range(window.offset_ms + window.size_ms - 100 * window.every_ms, 400, window.every_ms)
        assert window.first_end_at_or_after(time_ms) == next(end for end in ends if end >= time_ms)


@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_is_a_whole_number_of_slices_that_hold_its_events_and_no_others(window) -> None:
    grid = SliceGrid((window, TimeWindow(12, 6)))
    for end in enumerated_ends(window, 7):
        after, up_to = grid.slices_of(window, end)
        inside = [t for t in range(-60, 60) if after < grid.slice_end(t) <= up_to]
        assert inside == list(range(end - window.size_ms, end))


def test_an_event_of_a_sliding_window_of_five_minutes_by_one_is_in_five_windows() -> None:
    window = TimeWindow(5 * MINUTE, MINUTE)
    grid = SliceGrid((window,))
    assert [end // MINUTE for end in grid.ends_over(window, grid.slice_end(12 * MINUTE + 1))] == [
        13,
        14,
        15,
        16,
        17,
    ]


def test_edges_belong_to_the_window_that_begins() -> None:
    window = TimeWindow(10, 10)
    grid = SliceGrid((window,))
    ends = {t: list(grid.ends_over(window, grid.slice_end(t))) for t in (-11, -10, -1, 0, 9, 10)}
    assert ends == {-11: [-10], -10: [0], -1: [0], 0: [10], 9: [10], 10: [20]}


def test_an_offset_shifts_days_to_working_days() -> None:
    hour = 60 * MINUTE
    window = TimeWindow(24 * hour, 24 * hour, 8 * hour)
    grid = SliceGrid((window,))
    assert grid.slice_ms == 8 * hour
    assert list(grid.ends_over(window, grid.slice_end(7 * hour))) == [8 * hour]
    assert list(grid.ends_over(window, grid.slice_end(8 * hour))) == [32 * hour]


@pytest.mark.parametrize(
    ("windows", "slice_ms"),
    [
        ([TimeWindow(6, 6)], 6),
        ([TimeWindow(6, 4)], 2),
        ([TimeWindow(6, 6), TimeWindow(9, 9)], 3),
        ([TimeWindow(6, 6, 1)], 1),
        ([TimeWindow(300, 60), TimeWindow(3600, 3600, 30)], 30),
    ],
)
def test_a_slice_is_the_greatest_common_divisor(windows, slice_ms) -> None:
    assert SliceGrid(tuple(windows)).slice_ms == slice_ms
    assert SliceGrid(tuple(windows), before_ms=slice_ms * 12).slice_ms == slice_ms
    assert SliceGrid(tuple(windows), before_ms=slice_ms * 12 + 1).slice_ms == 1


def test_windows_of_too_many_slices_are_refused_with_the_numbers() -> None:
    SliceGrid((TimeWindow(10_000, 1),))
    with pytest.raises(ValueError, match="10001 slices of 1 ms"):
        SliceGrid((TimeWindow(10_001, 1),))
    with pytest.raises(ValueError, match="86400000 ms would have 86400000 slices"):
        SliceGrid((TimeWindow(86_400_000, 86_400_000, 1),))
    with pytest.raises(ValueError, match="5000 ms and the 5001 ms before it would have 10001 slices of 1 ms"):
        SliceGrid((TimeWindow(5000, 1),), before_ms=5001)


@pytest.mark.parametrize("lateness", [0, 1, 4, 30])
def test_a_slice_is_needed_until_its_last_window_takes_no_more_events(lateness) -> None:
    windows = (TimeWindow(6, 2), TimeWindow(4, 4))
    grid = SliceGrid(windows, lateness)
    for time_ms in range(-20, 20):
        ends = [end for window in windows for end in enumerated_ends(window, time_ms)]
        assert grid.last_needed_ms(grid.slice_end(time_ms)) == max(ends) - 1 + lateness


@pytest.mark.parametrize("before", [0, 1, 7, 30])
@pytest.mark.parametrize("window", WINDOWS)
def test_a_window_looks_back_on_the_slices_that_begin_as_long_before_it(window, before) -> None:
    grid = SliceGrid((window, TimeWindow(12, 6)), before_ms=before)
    for end in enumerated_ends(window, 7):
        start = end - window.size_ms
        after, up_to = grid.slices_before(window, end)
        inside = [t for t in range(-60, 60) if after < grid.slice_end(t) <= up_to]
        assert inside == list(range(start - before, start))
    for time_ms in range(-40, 40):
        later = {end for t in range(time_ms, time_ms + before + 1) for end in enumerated_ends(window, t)}
        ends = sorted(end for end in later if end - window.size_ms - before <= time_ms < end)
        assert list(grid.ends_with(window, grid.slice_end(time_ms))) == ends


@pytest.mark.parametrize("lateness", [0, 3])
def test_a_slice_that_is_looked_back_on_is_needed_longer_than_it_takes_events(lateness) -> None:
    windows = (TimeWindow(6, 2), TimeWindow(4, 4))
    grid, alone = SliceGrid(windows, lateness, before_ms=20), SliceGrid(windows, lateness)
    for time_ms in range(-20, 20):
        slice_end = grid.slice_end(time_ms)
        assert (
            grid.last_taken_ms(slice_end) == alone.last_taken_ms(slice_end) == alone.last_needed_ms(slice_end)
        )
        looking = [
            end
            for window in windows
            for t in range(time_ms, time_ms + 21)
            for end in enumerated_ends(window, t)
            if end - window.size_ms - 20 <= time_ms
        ]
        assert grid.last_needed_ms(slice_end) == max(looking) - 1 + lateness


@pytest.mark.parametrize("lateness", [0, 1, 3, 7])
def test_the_next_boundary_is_the_next_moment_a_window_ends_or_closes(lateness) -> None:
    windows = (TimeWindow(6, 4, 1), TimeWindow(9, 9))
    grid = SliceGrid(windows, lateness)
    boundaries = {
        end - 1 + delay
        for window in windows
        for time_ms in range(-90, 90)
        for end in enumerated_ends(window, time_ms)
        for delay in (0, lateness)
    }
    for watermark_ms in range(-50, 50):
        assert grid.next_boundary(watermark_ms) == min(b for b in boundaries if b > watermark_ms)


@pytest.mark.parametrize("window", WINDOWS)
def test_ends_between_are_those_of_the_slices_that_exist_each_once(window) -> None:
    grid = SliceGrid((window,))
    times = [-30, -29, -3, 0, 1, 2, 14, 31]
    slice_ends = sorted({grid.slice_end(t) for t in times})
    covered = [t for end in slice_ends for t in range(end - grid.slice_ms, end)]
    all_ends = sorted({end for t in covered for end in enumerated_ends(window, t)})
    for after, up_to in [(-100, 100), (-5, 12), (0, 0), (3, 2), (14, 40)]:
        expected = [end for end in all_ends if after < end <= up_to]
        assert list(grid.ends_between(window, slice_ends, after, up_to)) == expected


def test_windows_are_described_with_what_their_type_has() -> None:
    assert TimeWindow(5, 5, 2).describe(7) == {"type": "tumbling", "start_ms": 2, "end_ms": 7, "size_ms": 5}
    assert TimeWindow(5, 1).describe(2) == {
        "type": "sliding",
        "start_ms": -3,
        "end_ms": 2,
        "size_ms": 5,
        "every_ms": 1,
    }
    assert SessionWindow(30).describe(5, 9) == {"type": "session", "start_ms": 5, "end_ms": 39, "gap_ms": 30}


def test_windows_of_a_metric_have_different_names() -> None:
    windows = [
        TimeWindow(5, 5),
        TimeWindow(5, 1),
        TimeWindow(55, 5),
        TimeWindow(5, 5, 1),
        TimeWindow(5, 5, 15),
    ]
    names = [window.name for window in windows]
    assert not any(a.startswith(b) for a in names for b in names if a is not b)
