"""What is remembered of an entity, as bytes: all of it comes back, and nothing else is taken for it."""

from __future__ import annotations

import pytest

from sketches.errors import BadData
from state.clock_state import END_OF_TIME_MS
from state.history import (
    Counted,
    Different,
    History,
    Last,
    Moments,
    Pending,
    Place,
    Summed,
    read_history,
    times_of,
    write_history,
)


def full() -> History:
    features = {
        1: Counted([1, 2**40], [2, 3]), 0: Summed([-5], [1.5]), 7: Different([7], [-(2**63)], [3], [4]),
        2**32 - 1: Last(9, "é"), 200: Last(None, True), 2**31: Moments(3, 1.25, 0.5), 5: Place(4, 52.5, 13.4),
    }  # fmt: skip
    pending = {"r": Pending(10, 30, b'"id"', b"{}"), "q": Pending(5, 20, b"1", b'{"a":1}')}
    return History(42, features, pending)


def test_a_history_comes_back_as_it_was() -> None:
    for history in (full(), History(), History(-7, {1: Counted()})):
        assert read_history(write_history(history)) == history


def test_the_two_times_are_read_without_the_rest() -> None:
    assert times_of(write_history(full())) == (42, 20)
    assert times_of(write_history(History(-7))) == (-7, END_OF_TIME_MS)


def test_bytes_that_are_cut_short_too_long_or_of_another_version_are_refused() -> None:
    data = write_history(full())
    for length in range(len(data)):
        with pytest.raises(BadData):
            read_history(data[:length])
    for wrong in (data + b"\0", data[:3] + b"\x01" + data[4:], b"SPR\x01" + data[4:]):
        with pytest.raises(BadData):
            read_history(wrong)


def test_amounts_that_are_not_as_many_as_their_times_are_refused() -> None:
    counted = Counted([1], [1])
    counted.times.append(2)
    with pytest.raises(BadData, match="expected 2 values"):
        read_history(write_history(History(1, {1: counted})))
