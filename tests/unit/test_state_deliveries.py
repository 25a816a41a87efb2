"""What a channel has in state: comes back as it was, harmed bytes are refused, golden bytes."""

from __future__ import annotations

import pytest
from alerting import Delivery, StateMap, result_alert, spec_of

from sketches.errors import BadData
from state.delivery_state import DeliveryState, FiringAlert, RuleCount, SentMessage, WaitingAlert

GOLDEN = {
    b"w" + bytes([0] * 7 + [7]): b"\x01\x93\xcd\x03\xe8\xc4\x02{}\xc0",
    b"w" + bytes([0] * 6 + [1, 0]): b"\x01\x93\xce\x80\x00\x00\x00\xc4\x02{}\xc4\x03{ }",
    b"m" + bytes([0] * 7 + [7]): b"\x01\x92\x92\x07\xcd\x01\x00\x03",
    b"fgr\xc3\xb6\xc3\x9fer": b"\x01\x92\x05\xc4\x02{}",
    b"rbig": b"\x01\x94\xcd\x01\x2c\x02\x09\xa4info",
}


def written() -> StateMap:
    held = StateMap()
    state = DeliveryState(held)
    state.put_waiting(7, WaitingAlert(1000, b"{}", None))
    state.put_waiting(256, WaitingAlert(2**31, b"{}", b"{ }"))
    state.put_message(SentMessage([7, 256], 3))
    state.put_firing("größer", FiringAlert(5, b"{}"))
    state.put_rule("big", RuleCount(300, 2, 9, "info"))
    return held


def test_what_is_written_is_in_the_bytes_that_are_documented_and_comes_back() -> None:
    assert written() == GOLDEN
    state = DeliveryState(StateMap(GOLDEN))
    assert state.waiting == {7: WaitingAlert(1000, b"{}", None), 256: WaitingAlert(2**31, b"{}", b"{ }")}
    assert state.messages == {7: SentMessage([7, 256], 3)}
    assert state.firing == {"größer": FiringAlert(5, b"{}")}
    assert state.rules == {"big": RuleCount(300, 2, 9, "info")}


def test_what_is_removed_is_gone() -> None:
    held = written()
    state = DeliveryState(held)
    for number in (7, 256):
        state.remove_waiting(number)
    state.remove_message(SentMessage([7, 256], 3))
    state.remove_firing("größer")
    state.remove_rule("big")
    assert held == {}
    held = written()
    DeliveryState(held).clear()
    assert held == {}


@pytest.mark.parametrize("key", GOLDEN)
def test_harmed_values_are_refused(key: bytes) -> None:
    value = GOLDEN[key]
    harmed = [value[:length] for length in range(len(value))]
    harmed += [value + b"\0", b"\x02" + value[1:], value[:1] + b"\xc0", b"\x01\x9f" + value[2:]]
    for bad in harmed:
        with pytest.raises(BadData):
            DeliveryState(StateMap(GOLDEN | {key: bad}))


@pytest.mark.parametrize("key", [b"", b"x", b"w", b"w1234567", b"w123456789", b"m12", b"f\xff", b"r\xff"])
def test_keys_of_no_kind_are_refused(key: bytes) -> None:
    value = GOLDEN[b"rbig"] if key[:1] == b"r" else GOLDEN[b"f" + "größer".encode()]
    with pytest.raises(BadData):
        DeliveryState(StateMap({key: value}))


@pytest.mark.parametrize("numbers", [b"\x90", b"\x91\x07", b"\x92\x07\x08"])
def test_a_message_of_alerts_that_do_not_wait_is_refused(numbers: bytes) -> None:
    waiting = bytes([0] * 7 + [8])
    held = {
        b"m" + waiting: b"\x01\x92" + numbers + b"\x00",
        b"w" + waiting: GOLDEN[b"w" + bytes([0] * 7 + [7])],
    }
    with pytest.raises(BadData):
        DeliveryState(StateMap(held))


def test_alerts_that_fire_come_back_in_the_order_in_which_they_came() -> None:
    running = Delivery(spec_of({"max_firing": 2}))
    running.send(result_alert("b"))
    running.until(10)
    running.send(result_alert("a"))
    running.go_on_from(running.held)
    running.send(result_alert("c"))
    assert [letter["alert"]["id"][-1] for letter in running.dead] == ["b"]
