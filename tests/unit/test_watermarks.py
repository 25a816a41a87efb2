"""The watermark of one ingest worker: partitions, idleness, restarts, and what may be late."""

from __future__ import annotations

import pytest

from operators.ingest.watermarks import ALWAYS_MS, PartitionWatermarks

IDLE_MS = 1000


def afresh(disorder: int = 5) -> PartitionWatermarks:
    return PartitionWatermarks(disorder, IDLE_MS, None)


def resumed(settle: int) -> PartitionWatermarks:
    return PartitionWatermarks(0, IDLE_MS, settle)


def test_the_slowest_partition_sets_the_watermark_less_the_disorder() -> None:
    marks = afresh()
    marks.observe({"fast": 500, "slow": 100}, 0)
    assert marks.observe({"fast": 900}, 1) == 95
    assert marks.observe({"slow": 300}, 2) == 295


def test_until_all_partitions_are_heard_from_there_is_no_watermark_however_long_it_takes() -> None:
    marks = afresh()
    assert marks.observe({"a": 100}, 0, all_heard=False) is None
    assert marks.observe({"a": 200}, 10 * IDLE_MS, all_heard=False) is None
    assert marks.observe({"b": 50}, 10 * IDLE_MS, all_heard=True) == 45


def test_all_partitions_may_be_heard_from_without_one_event_of_theirs_being_good() -> None:
    marks = afresh()
    assert marks.observe({}, 0, all_heard=True) is None
    assert marks.observe({"a": 100}, 1, all_heard=True) == 95


def test_an_idle_partition_does_not_stall_the_others_and_counts_again_when_it_speaks() -> None:
    marks = afresh()
    marks.observe({"a": 100, "b": 100}, 0)
    for now in range(IDLE_MS // 4, IDLE_MS, IDLE_MS // 4):
        assert marks.observe({"a": 4000}, now) == 95
    assert marks.observe({"a": 5000}, IDLE_MS - 1) == 95
    assert marks.observe({"a": 6000}, IDLE_MS) == 5995
    assert marks.observe({"b": 7000}, IDLE_MS + 1) == 5995
    assert marks.observe({"a": 9000}, IDLE_MS + 2) == 6995


def test_what_waits_unread_while_the_worker_is_held_up_is_no_silence() -> None:
    marks = afresh()
    marks.observe({"a": 100, "b": 100}, 0)
    held_up = 100 * IDLE_MS
    assert marks.observe({"a": 5000}, held_up) == 95
    assert marks.observe({"b": 200}, held_up + 1) == 195
    marks.observe({"a": 5001}, 2 * held_up)
    for step in range(1, 4):  # where little comes at all, a silence counts in steps
        assert marks.observe({"a": 5001 + step}, (2 + step) * held_up) == (195 if step < 3 else 4999)


@pytest.mark.parametrize("start", [-1000, 0, 5, 10**12])
def test_the_watermark_never_falls_wherever_it_is(start) -> None:
    marks = afresh()
    assert marks.observe({"a": start + 5}, 0) == start
    assert marks.observe({"b": start - 500}, 1) == start
    assert marks.observe({}, 2) == start
    assert marks.observe({"a": start + 9}, 3) == start


def test_old_events_of_a_partition_do_not_set_it_back() -> None:
    marks = afresh()
    marks.observe({"a": 100}, 0)
    assert marks.observe({"a": 50}, 1) == 95


def test_nothing_may_be_late_before_a_job_that_starts_afresh_has_a_watermark() -> None:
    marks = afresh()
    marks.observe({"a": 100}, 0, all_heard=False)
    assert marks.late_before_ms(0) == -ALWAYS_MS
    marks.observe({"b": 100}, 0)
    assert marks.late_before_ms(0) == -ALWAYS_MS
    marks.observe({}, 0)
    assert marks.late_before_ms(0) == 95


def test_a_batch_is_late_against_the_watermark_that_travels_behind_the_one_before() -> None:
    marks = afresh()
    marks.observe({"a": 100}, 0)
    marks.observe({"a": 200}, 0)
    assert marks.late_before_ms(0) == 95


def test_after_a_restart_all_may_be_late_that_a_former_life_can_have_been_beyond() -> None:
    marks = resumed(settle=50)
    assert marks.late_before_ms(0) == ALWAYS_MS
    marks.observe({"a": 100}, 0, all_heard=False)
    assert marks.late_before_ms(0) == ALWAYS_MS
    marks.observe({"b": 80}, 0)
    assert marks.late_before_ms(0) == 80 + 50
    marks.observe({"b": 90}, 1)
    assert marks.late_before_ms(1) == 80 + 50
    marks.observe({"a": 151, "b": 151}, 2)
    assert marks.late_before_ms(2) == 80 + 50
    marks.observe({}, 3)
    assert marks.late_before_ms(3) == 151


def test_after_a_restart_and_a_silence_nothing_is_known_of_how_far_others_are() -> None:
    marks = resumed(settle=50)
    marks.observe({"a": 100}, 0)
    marks.observe({"a": 101}, IDLE_MS)
    assert marks.late_before_ms(IDLE_MS) == ALWAYS_MS


def test_after_a_restart_the_idle_timeout_ends_the_doubt_too() -> None:
    marks = resumed(settle=50)
    marks.observe({"a": 100}, 0)
    marks.observe({"a": 101}, IDLE_MS - 1)
    assert marks.late_before_ms(IDLE_MS - 1) == 100 + 50
    marks.observe({"a": 102}, IDLE_MS)
    assert marks.late_before_ms(IDLE_MS) == 101


def test_after_a_silence_windows_may_be_as_far_ahead_as_it_was_long() -> None:
    marks = afresh(disorder=0)
    marks.observe({"a": 100}, 0)
    marks.observe({"a": 101}, 10 * IDLE_MS)
    for now, newest in ((10 * IDLE_MS, 101), (10 * IDLE_MS + 1, 200), (11 * IDLE_MS + 1, 300)):
        marks.observe({"a": newest}, now)
        assert marks.late_before_ms(now) >= 100 + 10 * IDLE_MS
    marks.observe({"a": 100 + 20 * IDLE_MS}, 11 * IDLE_MS + 2)
    marks.observe({}, 11 * IDLE_MS + 3)
    assert marks.late_before_ms(11 * IDLE_MS + 3) == 100 + 20 * IDLE_MS
