"""What the keeper of rules and rules on results have in state."""

from __future__ import annotations

import numpy as np
import pytest

from sketches.errors import BadData
from state.alarm_state import WINDOW_TYPE, Alarm, Remembered, read_remembered, write_remembered
from state.rule_state import HeldRule, KeptRule, RuleState, read_held_rule, write_held_rule

WINDOWS = np.array([(0, 60_000, 1.5, 0), (60_000, 120_000, float("nan"), 3)], WINDOW_TYPE).tobytes()
ALARMS = [Alarm("r", 3, None, 2, b"\x01\x02"), Alarm("ü", 1, -5, 0, b"\0\0", 7, True)]
BY_KEY = {
    b'["60000/60000/0:",["a"]]': Remembered(9, 8, 60_000, 120_000, WINDOWS, ALARMS),
    b'["60000/60000/0:",[null]]\n"x"': Remembered(2**62, 0, -60_000, 0, b"", []),
}


class Map(dict):
    """State in memory."""

    put = dict.__setitem__

    def remove(self, key: bytes) -> None:
        self.pop(key, None)


def kept() -> Map:
    """State of a keeper with a rule and a few verdicts."""
    held = Map()
    state = RuleState(held)
    state.rules()
    state.put("r", KeptRule(3, b'{"name":"r"}', None))
    for number in range(1002):
        state.remember_alert(str(number))
    return held


def test_alarms_are_read_as_they_were_written() -> None:
    assert read_remembered(write_remembered(BY_KEY)) == BY_KEY


def test_alarms_that_are_cut_short_too_long_or_of_another_version_are_bad_data() -> None:
    whole = write_remembered(BY_KEY)
    for end in range(len(whole)):
        with pytest.raises(BadData):
            read_remembered(whole[:end])
    for wrong in (whole + b"\0", b"\x02" + whole[1:], b"\x01\x93", b"\x01\xc0"):
        with pytest.raises(BadData):
            read_remembered(wrong)


@pytest.mark.parametrize("windows", [WINDOWS[:-1], WINDOWS + b"\0", WINDOWS[:28], WINDOWS * 2])
def test_alarms_whose_flags_are_not_those_of_their_windows_are_bad_data(windows: bytes) -> None:
    with pytest.raises(BadData, match="a flag for each whole window"):
        read_remembered(write_remembered({b"k": Remembered(0, 0, 0, 0, windows, ALARMS)}))


def test_a_held_rule_is_read_as_it_was_written_and_nothing_else_is() -> None:
    held = HeldRule(7, b'{"name":"r"}', True, ["visits", "other"])
    whole = write_held_rule(held)
    assert read_held_rule(whole) == held
    for wrong in (*(whole[:end] for end in range(len(whole))), whole + b"\0", b"\x02" + whole[1:]):
        with pytest.raises(BadData):
            read_held_rule(wrong)


def test_what_the_keeper_kept_is_read_as_it_was_written() -> None:
    state = RuleState(kept())
    assert state.rules() == {"r": KeptRule(3, b'{"name":"r"}', None)}
    assert [state.remember_alert(alert) for alert in ("0", "1001", "1002")] == [False, False, True]


@pytest.mark.parametrize("name", [b"", b"rr", b"v", b"v\0\0\0\0", b"v\0\0\0\x01"])
def test_state_of_the_keeper_that_is_cut_short_or_too_long_is_bad_data(name: bytes) -> None:
    whole = kept()
    stored = whole[name]
    for wrong in (
        *(stored[:end] for end in range(0, len(stored), 1 + len(stored) // 100)),
        stored + b"\0",
        b"\x02" + stored[1:],
    ):
        with pytest.raises(BadData):
            state = RuleState(Map(whole | {name: wrong}))
            state.rules()
            state.remember_alert("new")


def test_a_rule_that_is_in_the_list_and_not_in_state_is_bad_data() -> None:
    held = kept()
    del held[b"rr"]
    with pytest.raises(BadData, match="'r'"):
        RuleState(held).rules()
