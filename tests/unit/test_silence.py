"""How the silence of a source is measured."""

from __future__ import annotations

from operators.windows.silence import Silence


def test_a_pause_counts_from_the_last_sign_of_life_once_it_is_long_enough() -> None:
    silence = Silence(30_000)
    assert silence.heard(5_000) == 35_000
    assert [silence.length_ms(now, None) for now in (5_000, 34_999, 35_000, 50_000)] == [0, 0, 30_000, 45_000]


def test_silence_is_counted_once() -> None:
    silence = Silence(30_000)
    silence.heard(0)
    assert silence.length_ms(30_000, None) == 30_000
    assert silence.length_ms(31_000, 30_000) == 1_000
    assert silence.length_ms(31_000, 31_000) == 0


def test_a_sign_of_life_ends_it_and_what_was_counted_before_is_forgotten() -> None:
    silence = Silence(30_000)
    silence.heard(0)
    silence.length_ms(60_000, None)
    silence.heard(61_000)
    assert silence.length_ms(90_999, 60_000) == 0
    assert silence.length_ms(91_000, 60_000) == 30_000


def test_time_before_the_process_started_is_no_silence() -> None:
    silence = Silence(30_000)
    assert silence.length_ms(10**12, 5) == 0
    assert silence.length_ms(10**12 + 30_000, 5) == 30_000


def test_where_windows_wait_there_is_no_silence() -> None:
    silence = Silence(None)
    assert silence.heard(0) is None
    assert (silence.length_ms(10**12, None), silence.look_again_ms(10**12)) == (0, None)


def test_a_shard_looks_again_when_the_source_may_be_idle_and_then_every_full_second() -> None:
    silence = Silence(30_500)
    assert silence.look_again_ms(0) is None
    silence.heard(100)
    assert silence.look_again_ms(200) == 30_600
    assert silence.look_again_ms(30_599) == 30_600
    assert silence.look_again_ms(30_600) == silence.look_again_ms(30_999) == 31_000
    assert silence.look_again_ms(31_000) == 32_000
