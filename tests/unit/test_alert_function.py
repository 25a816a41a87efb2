"""The Flink functions of delivery, without Flink: state, timers and metrics in memory, a real receiver."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alerting import StateMap, alert, result_alert
from operator_chain import Group
from pyflink.datastream import TimeDomain
from receivers import Receiver, receiver
from waiting import wait_for

from operators.alerts.alert_spec import AlertsSpec
from operators.alerts.delivery_function import DEAD_LETTERS, Address, DeliveryFunction
from operators.alerts.delivery_runner import LOOK_AFTER_MS
from state.clock_state import END_OF_TIME_MS

LONG = "10000d"
"""How long storms are counted: the clock is a real one, and an interval's end would be told."""


class Flink:
    """Plays Flink's part for one delivery function."""

    def __init__(self, spec: AlertsSpec, states: dict[str, StateMap] | None = None) -> None:
        self.states, self.key, self.domain = states or {}, "", TimeDomain.PROCESSING_TIME
        self.timers: set[tuple[bool, int, str]] = set()
        self.group, self.dead = Group(), []
        self.address, self.function = Address(spec.shipped()), DeliveryFunction(spec.shipped(), "shop")
        for function in (self.address, self.function):
            function.open(self)

    def get_map_state(self, descriptor: Any) -> Any:
        assert descriptor.get_name() == "deliveries"
        return self

    def items(self) -> Any:
        return self.states.setdefault(self.key, StateMap()).items()

    def put(self, key: bytes, value: bytes) -> None:
        self.states[self.key].put(key, value)

    def remove(self, key: bytes) -> None:
        self.states[self.key].remove(key)

    def get_metrics_group(self) -> Group:
        return self.group

    def timer_service(self) -> Flink:
        return self

    def get_current_key(self) -> str:
        return self.key

    def time_domain(self) -> TimeDomain:
        return self.domain

    def current_watermark(self) -> int:
        return 0

    def current_processing_time(self) -> int:
        return int(time.time() * 1000)

    def register_event_time_timer(self, time_ms: int) -> None:
        self.timers.add((True, time_ms, self.key))

    def register_processing_time_timer(self, time_ms: int) -> None:
        self.timers.add((False, time_ms, self.key))

    def send(self, *alerts: bytes) -> list[str]:
        """Send alerts through; return the channels that they are addressed to."""
        to = []
        for text in alerts:
            for row in list(self.address.process_element(text.decode(), None)):
                self.key = row[0]
                to.append(row[0])
                self._take(self.function.process_element(row, self))
        return to

    def work(self) -> bool:
        """Fire the timers that are due; return whether nothing waits."""
        now_ms = self.current_processing_time()
        for timer in [one for one in self.timers if not one[0] and one[1] <= now_ms]:
            self.timers.discard(timer)
            self.fire(*timer)
        return not any(key[:1] in b"wm" for held in self.states.values() for key in held)

    def fire(self, is_event_time: bool, time_ms: int, key: str) -> None:
        self.key, self.domain = key, (TimeDomain.EVENT_TIME if is_event_time else TimeDomain.PROCESSING_TIME)
        self._take(self.function.on_timer(time_ms, self))

    def _take(self, outputs: Iterator[Any]) -> None:
        for tag, text in list(outputs):
            assert tag is DEAD_LETTERS
            self.dead.append(json.loads(text))


def spec(server: Receiver, *names: str, **alerts: Any) -> AlertsSpec:
    channels = [
        {
            "name": name, "type": "webhook", "url": f"http://127.0.0.1:{server.port}/{name}",
            "timeout": "1s", "back_off": "20ms", "back_off_max": "50ms", "breaker_pause": "50ms",
        } | ({"severities": ["critical"]} if name == "pager" else {})
        for name in names
    ]  # fmt: skip
    return AlertsSpec.model_validate({"group_wait": "0s", "every": LONG, "deliver": channels, **alerts})


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Receiver]:
    with receiver("http", tmp_path) as started:
        yield started


def taken(server: Receiver, path: str) -> list[tuple[str, str]]:
    bodies = [json.loads(one["body"]) for one in server.taken() if one["path"] == path]
    return sorted((one["id"], one["status"]) for body in bodies for one in body["alerts"])


def test_alerts_go_to_the_channels_that_take_them_and_are_forgotten_when_they_are_there(
    server: Receiver,
) -> None:
    flink = Flink(spec(server, "ops", "pager"))
    assert flink.send(alert(1), alert(2, severity="critical")) == ["ops", "ops", "pager"]
    wait_for(flink.work, "delivery")
    assert taken(server, "/ops") == [("00000001", "firing"), ("00000002", "firing")]
    assert taken(server, "/pager") == [("00000002", "firing")]
    told = flink.group.read()
    assert told["channel=ops/alerts_delivered"] == 2 and told["channel=pager/alerts_delivered"] == 1
    assert told["channel=ops/alerts_pending"] == told["channel=ops/breaker_open"] == 0
    flink.function.close()


def test_the_end_of_an_alert_goes_to_whoever_heard_of_it_though_the_rule_was_made_less_severe(
    server: Receiver,
) -> None:
    flink = Flink(spec(server, "pager"))
    flink.send(result_alert(1, severity="critical"), result_alert(2, severity="info"))
    flink.send(result_alert(1, "resolved", severity="info"), result_alert(2, "resolved", severity="info"))
    wait_for(flink.work, "delivery")
    assert taken(server, "/pager") == [("00000001", "firing"), ("00000001", "resolved")]
    assert flink.group.read()["channel=pager/alerts_suppressed"] == 0


def test_gauges_tell_of_trouble(server: Receiver) -> None:
    server.behave("503")
    flink = Flink(spec(server, "ops", at_most=1))
    flink.send(result_alert(1), result_alert(2))
    wait_for(lambda: flink.work() or flink.group.read()["channel=ops/breaker_open"], "an open breaker")
    told = flink.group.read()
    assert told["channel=ops/alerts_pending"] == told["channel=ops/alerts_firing"] == 1
    assert told["channel=ops/alerts_retried"] >= 4 and told["channel=ops/alerts_suppressed"] == 1
    server.behave("400")
    wait_for(flink.work, "refusals")
    assert flink.group.read()["channel=ops/alerts_dead"] == len(flink.dead) == 1


def test_when_the_input_ends_all_is_sent_before_the_job_ends(server: Receiver) -> None:
    server.behave("503")
    flink = Flink(spec(server, "ops", group_wait="1h", at_most=2))
    flink.send(alert(1), alert(2), alert(3))
    (end,) = [timer for timer in flink.timers if timer[0]]
    assert end == (True, END_OF_TIME_MS, "ops")
    server.behave("ok")
    flink.fire(*end)
    assert taken(server, "/ops") == [("00000001", "firing"), ("00000002", "firing")]
    assert json.loads(server.taken()[-1]["body"])["suppressed"] == {"big": 1} and flink.dead == []


def test_when_the_input_ends_and_nobody_listens_what_is_left_is_dead_letters(
    server: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("operators.alerts.delivery_function._FINISH_S", 0.3)
    server.behave("hang")
    flink = Flink(spec(server, "ops"))
    flink.send(alert(1), alert(2))
    flink.fire(True, END_OF_TIME_MS, "ops")
    assert [(one["reason"], one["alert"]["id"]) for one in flink.dead] == [
        ("ended", "00000001"), ("ended", "00000002"),
    ]  # fmt: skip


def test_a_channel_whose_receiver_never_ends_its_answer_holds_no_other_up(
    server: Receiver, tmp_path: Path
) -> None:
    (tmp_path / "slow").mkdir()
    with receiver("endless", tmp_path / "slow") as endless:
        endless.behave("header")
        slow = {
            "name": "slow",
            "type": "webhook",
            "url": f"http://127.0.0.1:{endless.port}/",
            "timeout": "5m",
        }
        flink = Flink(with_slow(server, slow))
        flink.send(*(alert(number) for number in range(9)))
        wait_for(lambda: flink.work() or len(taken(server, "/ops")) == 9, "delivery by the other channel")
        assert flink.group.read()["channel=slow/alerts_pending"] == 9
        flink.function.close()


def test_when_the_input_ends_a_slow_channel_holds_no_other_up(server: Receiver, tmp_path: Path) -> None:
    (tmp_path / "slow").mkdir()
    with receiver("endless", tmp_path / "slow") as endless:
        endless.behave("header")
        slow = {
            "name": "slow", "type": "webhook", "url": f"http://127.0.0.1:{endless.port}/",
            "timeout": "100ms", "back_off": "20ms", "back_off_max": "50ms", "breaker_pause": "50ms",
        }  # fmt: skip
        flink = Flink(with_slow(server, slow, group_wait="1h", group_by=["user"]))
        flink.send(*(alert(number) for number in range(9)))
        end = threading.Thread(target=flink.fire, args=(True, END_OF_TIME_MS, "slow"))
        end.start()
        wait_for(lambda: len(taken(server, "/ops")) == 9, "delivery by the other channel", end.is_alive)
        endless.behave("ok")
        end.join()
    assert len(flink.states["ops"]) > 9, "written while the other channel was at hand"
    flink.fire(True, END_OF_TIME_MS, "ops")
    assert flink.states == {"slow": {}, "ops": {}}
    assert flink.dead == [] and len(taken(server, "/ops")) == 9


def with_slow(server: Receiver, slow: dict[str, Any], **alerts: Any) -> AlertsSpec:
    deliver = [slow, *spec(server, "ops").deliver]
    return AlertsSpec.model_validate({"group_wait": "0s", "every": LONG, "deliver": deliver, **alerts})


def test_another_process_goes_on_with_what_waits_and_with_channels_that_are_gone(server: Receiver) -> None:
    server.behave("503")
    before = set(threading.enumerate())
    flink = Flink(spec(server, "ops", "other"))
    flink.send(alert(1))
    wait_for(lambda: flink.work() or len(server.got()) >= 2, "attempts")
    flink.function.close()
    wait_for(lambda: set(threading.enumerate()) <= before, "what is on its way")
    server.behave("ok")
    again = Flink(spec(server, "ops"), {key: StateMap(held) for key, held in flink.states.items()})
    again.timers = set(flink.timers)
    wait_for(again.work, "the rest")
    assert taken(server, "/ops") == [("00000001", "firing")]
    assert [(one["channel"], one["reason"]) for one in again.dead] == [("other", "channel_removed")]


def test_a_burst_of_alerts_has_few_timers(server: Receiver) -> None:
    flink = Flink(spec(server, "ops", group_wait="1h", at_most=10**6))
    began_s = time.monotonic()
    flink.send(*(alert(number) for number in range(500)))
    assert len(flink.timers) <= 2 + (time.monotonic() - began_s) * 1000 / LOOK_AFTER_MS < 500
