"""Delivery in manual time: groups, limits, trying again, the breaker, dead letters, the end of alerts."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from alerting import NEVER_MS, Delivery, Receiver, StateMap, alert, result_alert, spec_of

from operators.alerts.alert_queue import AlertQueue
from operators.alerts.breaker import back_off_ms
from operators.alerts.channel import Message, Outcome
from operators.alerts.delivery_runner import removed_channel
from state.delivery_state import DeliveryState

SECOND, MINUTE = 1000, 60_000
OK = (1, Outcome("accepted"), True)
DOWN = (1, Outcome("retry", "HTTP 503"), False)


def ids(delivery: Delivery) -> list[list[str]]:
    return [[name for name, _ in one.names] for one in delivery.receiver.sendings]


def padded(*numbers: int) -> list[str]:
    return [f"{number:0>8}" for number in numbers]


def test_alerts_of_one_group_within_the_wait_travel_together() -> None:
    running = Delivery(spec_of(group_wait="1s"))
    running.send(alert(1), alert(2, rule="other"))
    running.wait(900)
    running.send(alert(3))
    running.wait(200)
    running.send(alert(4))
    running.wait(5 * SECOND)
    assert ids(running) == [padded(1, 3), padded(2), padded(4)]
    assert [one.handed_ms // 100 for one in running.receiver.sendings] == [10, 10, 21]
    assert [dict(one.message.group) for one in running.receiver.sendings] == [
        {"rule": "big"}, {"rule": "other"}, {"rule": "big"},
    ]  # fmt: skip


def test_groups_may_be_of_severities_and_columns_of_keys() -> None:
    running = Delivery(spec_of(group_by=["severity", "user"]))
    running.send(alert(1), alert(2, key={"user": "u1"}, rule="other"), alert(3, severity="critical"))
    running.wait(5 * SECOND)
    assert sorted(ids(running)) == [padded(1, 2), padded(3)]
    assert running.receiver.sendings[0].message.group == {"severity": "warning", "user": "u1"}


def test_without_a_wait_each_alert_travels_alone() -> None:
    running = Delivery(spec_of(group_wait="0s"))
    running.send(alert(1), alert(2), alert(3))
    running.wait(SECOND)
    assert ids(running) == [padded(1), padded(2), padded(3)]


def test_a_group_of_very_many_travels_in_several_messages() -> None:
    running = Delivery(spec_of(at_most=1000))
    running.send(*(alert(number) for number in range(250)))
    running.wait(10 * SECOND)
    assert [len(one) for one in ids(running)] == [100, 100, 50]
    assert [name for names in ids(running) for name in names] == padded(*range(250))


def test_what_fails_is_tried_again_after_twice_the_time_up_to_the_most() -> None:
    receiver = Receiver(lambda now_ms, _: DOWN)
    running = Delivery(
        spec_of({"back_off": "1s", "back_off_max": "6s", "breaker_after": 1000}, group_wait="0s"), receiver
    )
    running.send(alert(1))
    running.wait(30 * SECOND)
    times = [one.handed_ms for one in receiver.sendings]
    gaps = [round((later - earlier) / SECOND) for earlier, later in pairwise(times)]
    assert gaps[:6] == [1, 2, 4, 6, 6, 6]
    assert len({one.message.key for one in receiver.sendings}) == 1
    assert running.runner.retried == len(times) - 1


def test_waits_are_up_to_a_half_shorter_by_chance() -> None:
    shares = iter([0.0, 0.5, 1.0])
    assert [back_off_ms(3, 1000, 9000, lambda: next(shares)) for _ in range(3)] == [4000, 3000, 2000]
    assert back_off_ms(10_000, 1000, 9000, lambda: 0.0) == 9000


def test_a_receiver_that_asks_to_be_left_alone_is_left_alone_also_with_other_alerts() -> None:
    answers = iter([Outcome("retry", "HTTP 429", 20_000)])
    receiver = Receiver(lambda *_: (1, next(answers, Outcome("accepted")), True))
    running = Delivery(spec_of(group_wait="0s"), receiver)
    running.send(alert(1))
    running.wait(100)
    running.send(alert(2, rule="other"))
    running.wait(19 * SECOND)
    assert len(receiver.sendings) == 1
    running.wait(2 * SECOND)
    assert sorted(ids(running)[1:]) == [padded(1), padded(2)]


def test_after_failures_in_a_row_nothing_is_sent_but_one_message_after_each_pause() -> None:
    receiver = Receiver(lambda now_ms, _: OK if now_ms > 40 * SECOND else DOWN)
    channel = {"breaker_after": 3, "breaker_pause": "10s", "back_off": "1s", "back_off_max": "1s"}
    running = Delivery(spec_of(channel, group_wait="0s", group_by=["user"]), receiver)
    running.send(alert(1))
    running.wait(2500)
    assert running.runner.breaker.is_open and len(receiver.sendings) == 3
    opened_ms = receiver.sendings[-1].collected_ms
    running.send(*(alert(number) for number in range(2, 8)))
    running.until(opened_ms + 10 * SECOND - 1)
    assert len(receiver.sendings) == 3
    running.wait(2)
    assert len(receiver.sendings) == 4
    running.until(39 * SECOND)
    assert len(receiver.sendings) == 6 and running.runner.breaker.is_open
    running.until(60 * SECOND)
    assert sorted(receiver.got()) == [(name, "firing") for name in padded(*range(1, 8))]
    assert not running.runner.breaker.is_open


def test_a_refusal_is_a_dead_letter_at_once_and_no_failure() -> None:
    receiver = Receiver(lambda *_: (1, Outcome("refused", "HTTP 400"), False))
    running = Delivery(spec_of({"breaker_after": 1}, group_wait="0s"), receiver)
    running.send(alert(1))
    running.wait(SECOND)
    (letter,) = running.dead
    assert letter == {
        "channel": "ops", "reason": "refused", "detail": "HTTP 400", "attempts": 1, "dead_ms": 20,
        "alert": json.loads(alert(1)),
    }  # fmt: skip
    assert running.held.keys() == {b"rbig"} and not running.runner.breaker.is_open


def test_of_more_than_may_wait_the_oldest_are_dead_letters_at_once() -> None:
    receiver = Receiver(lambda *_: DOWN)
    running = Delivery(spec_of({"max_pending": 4}, group_wait="0s", group_by=["user"]), receiver)
    running.send(*(alert(number) for number in range(1, 5)))  # all are on their way
    running.wait(30)
    running.send(alert(5), alert(6))
    assert [letter["alert"]["id"] for letter in running.dead] == padded(1, 2)
    assert {letter["reason"] for letter in running.dead} == {"queue_full"}
    assert running.dead[0]["attempts"] == 1 and running.runner.pending == 4


def test_what_waits_too_long_is_a_dead_letter() -> None:
    receiver = Receiver(lambda *_: DOWN)
    running = Delivery(spec_of({"give_up": "1h"}, group_wait="0s"), receiver)
    running.send(alert(1))
    running.wait(30 * MINUTE)
    running.send(alert(2))
    running.wait(29 * MINUTE)
    assert running.dead == []
    running.wait(2 * MINUTE)
    (letter,) = running.dead
    assert (letter["reason"], letter["alert"]["id"]) == ("given_up", padded(1)[0])
    assert letter["attempts"] > 10 and abs(letter["dead_ms"] - 60 * MINUTE) < 50
    running.wait(31 * MINUTE)
    assert running.runner.pending == 0 and len(running.dead) == 2


def test_what_only_some_got_is_delivered_and_a_dead_letter() -> None:
    receiver = Receiver(lambda *_: (1, Outcome("accepted", "not taken for b@x (550)"), True))
    running = Delivery(spec_of(group_wait="0s"), receiver)
    running.send(alert(1))
    running.wait(SECOND)
    assert (running.dead[0]["reason"], running.dead[0]["detail"]) == (
        "partly_refused",
        "not taken for b@x (550)",
    )
    assert len(receiver.sendings) == 1 and running.runner.delivered == 1 and running.runner.pending == 0


def test_of_a_storm_so_many_pass_and_the_number_of_the_others_is_told_at_the_intervals_end() -> None:
    running = Delivery(spec_of(at_most=2, every="1m", group_wait="0s"))
    running.until(30 * SECOND)
    running.send(*(alert(number) for number in range(10)), alert(77, rule="other"))
    running.until(59 * SECOND)
    assert sorted(ids(running)) == [padded(0), padded(1), padded(77)]
    running.until(61 * SECOND)
    summary = running.receiver.sendings[-1].message
    assert summary.suppressed() == {"big": 8} and summary.real() == []
    (told,) = [one.told for one in summary.alerts]
    assert (told.from_ms, told.to_ms, told.severity, told.pipeline) == (0, MINUTE, "warning", "shop")
    running.send(alert(11))
    running.wait(SECOND)
    assert ids(running)[-1] == padded(11)
    assert running.runner.suppressed == 8 and running.runner.pending == 0


def test_the_end_of_an_alert_passes_where_its_beginning_did_and_only_there() -> None:
    running = Delivery(spec_of(at_most=2, group_wait="0s"))
    running.send(*(result_alert(number) for number in range(4)))
    running.wait(SECOND)
    running.send(*(result_alert(number, "resolved") for number in range(4)))
    running.wait(SECOND)
    assert running.receiver.got() == [
        *((name, "firing") for name in padded(0, 1)),
        *((name, "resolved") for name in padded(0, 1)),
    ]
    assert running.runner.firing == 0
    running.wait(MINUTE)
    assert running.receiver.sendings[-1].message.suppressed() == {"slow": 2}


def test_an_end_says_how_it_began_and_travels_in_the_group_of_its_beginning() -> None:
    running = Delivery(spec_of(group_by=["severity"]))
    running.send(result_alert(1))
    running.wait(2 * SECOND)
    running.send(result_alert(1, "resolved", severity="critical"))
    running.wait(2 * SECOND)
    (ended,) = running.receiver.sendings[-1].message.alerts
    assert ended.began is not None and ended.began.severity == "warning"
    assert running.receiver.sendings[-1].message.group == {"severity": "warning"}


def test_an_end_never_overtakes_its_beginning() -> None:
    receiver = Receiver(lambda now_ms, _: OK if now_ms > 20 * SECOND else DOWN)
    running = Delivery(spec_of(group_wait="0s"), receiver)
    running.send(result_alert(1))
    running.wait(5 * SECOND)
    running.send(result_alert(1, "resolved"))
    running.wait(5 * MINUTE)
    assert [status for _, status in receiver.got()] == ["firing", "resolved"]


@pytest.mark.parametrize("pause_ms", [0, 5000])
def test_an_alert_that_comes_twice_is_told_once_while_it_waits_or_fires(pause_ms: int) -> None:
    running = Delivery(spec_of())
    running.send(result_alert(1))
    running.wait(pause_ms)
    running.send(result_alert(1))
    running.wait(5 * SECOND)
    running.send(result_alert(1, "resolved"), result_alert(1, "resolved"))
    running.wait(5 * SECOND)
    running.send(result_alert(1))
    running.wait(5 * SECOND)
    assert [status for _, status in running.receiver.got()] == ["firing", "resolved", "firing"]


def test_the_end_of_an_alert_that_nobody_heard_of_is_not_told() -> None:
    receiver = Receiver(lambda *_: (1, Outcome("refused", "HTTP 400"), False))
    running = Delivery(spec_of(group_wait="0s"), receiver)
    running.send(result_alert(1))
    running.wait(SECOND)
    running.send(result_alert(1, "resolved"))
    running.wait(SECOND)
    assert len(receiver.sendings) == 1 and len(running.dead) == 1


def test_of_more_than_may_fire_the_first_are_dead_letters_and_their_end_is_not_told() -> None:
    running = Delivery(spec_of({"max_firing": 2}, group_wait="0s"))
    running.send(*(result_alert(number) for number in (1, 2, 3)))
    running.wait(SECOND)
    running.send(*(result_alert(number, "resolved") for number in (1, 2, 3)))
    running.wait(SECOND)
    assert [(one["reason"], one["alert"]["id"]) for one in running.dead] == [
        ("too_many_firing", padded(1)[0])
    ]
    assert [name for name, status in running.receiver.got() if status == "resolved"] == padded(2, 3)


def alertmanager(**options: Any) -> dict[str, Any]:
    return {"type": "alertmanager", "hold": "5m", **options}


def test_an_alertmanager_hears_again_of_what_fires_before_it_would_take_it_for_resolved() -> None:
    running = Delivery(spec_of(alertmanager(), group_wait="0s"))
    running.send(result_alert(1), alert(2))
    running.wait(20 * MINUTE)
    times = [one.handed_ms for one in running.receiver.sendings if padded(1)[0] in dict(one.names)]
    assert len(times) >= 12
    assert max(later - earlier for earlier, later in pairwise(times)) < 2 * MINUTE
    assert running.receiver.got().count((padded(2)[0], "firing")) == 1
    running.send(result_alert(1, "resolved"))
    running.wait(20 * MINUTE)
    assert running.receiver.got()[-1] == (padded(1)[0], "resolved")
    assert running.runner.next_ms(running.now_ms) is None and running.runner.delivered == 3


def test_an_alertmanager_hears_at_once_of_what_fires_after_a_restart_and_after_an_outage() -> None:
    receiver = Receiver(lambda now_ms, _: DOWN if 10 * MINUTE < now_ms < 12 * MINUTE else OK)
    running = Delivery(spec_of(alertmanager(), group_wait="0s"), receiver)
    running.send(result_alert(1))
    running.until(5 * MINUTE)
    running.go_on_from(running.held)
    before = len(receiver.got())
    running.wait(1)
    assert len(receiver.got()) == before + 1
    running.until(13 * MINUTE)
    assert [one for one in receiver.sendings if one.got][-1].handed_ms > 12 * MINUTE


def test_a_webhook_hears_of_what_fires_once() -> None:
    running = Delivery(spec_of(group_wait="0s"))
    running.send(result_alert(1))
    running.wait(60 * MINUTE)
    assert len(running.receiver.sendings) == 1


def test_when_the_input_ends_nothing_waits_for_company_or_for_an_intervals_end() -> None:
    running = Delivery(spec_of(at_most=2, group_wait="1m", every="1h"))
    running.send(*(alert(number) for number in range(5)))
    running.runner.hurry(running.now_ms)
    running.wait(100)
    assert ids(running)[0][:2] == padded(0, 1)
    assert sum(sum(one.message.suppressed().values()) for one in running.receiver.sendings) == 3
    assert running.runner.pending == 0


def test_what_is_abandoned_is_dead_letters_and_nothing_is_kept() -> None:
    receiver = Receiver(lambda *_: (NEVER_MS, Outcome("retry"), False))
    running = Delivery(spec_of(at_most=3), receiver)
    running.send(*(alert(number) for number in range(4)))
    running.wait(1500)
    running.send(alert(9, rule="other"))
    letters = [json.loads(one) for one in running.runner.abandon("ended", running.now_ms)]
    assert [one["alert"]["status"] for one in letters] == ["firing"] * 4 + ["suppressed"]
    assert {one["reason"] for one in letters} == {"ended"}
    assert [key for key in running.held if key[:1] in b"wm"] == []


def test_a_channel_that_was_taken_out_leaves_dead_letters_and_nothing_in_state() -> None:
    running = Delivery(spec_of(at_most=2))
    running.send(result_alert(1), *(alert(number) for number in range(2, 6)))
    letters = removed_channel("ops", "shop", DeliveryState(running.held), MINUTE, 7)
    told = [json.loads(one) for one in letters]
    assert {one["reason"] for one in told} == {"channel_removed"}
    assert [one["alert"]["id"] for one in told[:3]] == padded(1, 2, 3)
    assert told[3]["alert"]["suppressed"] == 2 and running.held == {}


def test_messages_stay_as_they_are_where_alerts_are_grouped_otherwise_after_a_restart() -> None:
    receiver = Receiver(lambda now_ms, _: OK if now_ms > 10 * SECOND else DOWN)
    running = Delivery(spec_of(group_by=["user"]), receiver)
    running.send(alert(1), alert(2), alert(1, "resolved", id="x", key={"user": "u1"}))
    running.send(alert(3))
    running.wait(1500)
    keys = {one.message.key for one in receiver.sendings}
    running.spec = spec_of(group_by=[])
    running.go_on_from(running.held)
    running.send(alert(4))
    running.wait(MINUTE)
    assert {one.message.key for one in receiver.sendings} >= keys
    assert sorted(name for name, _ in receiver.got()) == padded(1, 2, 3, 4)


def test_the_clock_may_go_back() -> None:
    running = Delivery(spec_of(at_most=2))
    running.until(10 * MINUTE)
    running.send(alert(1))
    running.now_ms = running.receiver.now_ms = 5 * MINUTE
    running.send(alert(2), alert(3))
    running.until(12 * MINUTE)
    assert sorted(running.receiver.got())[:2] == [(name, "firing") for name in padded(1, 2)]
    assert running.runner.suppressed == 1 and running.runner.pending == 0


def test_an_empty_queue_has_nothing_due() -> None:
    queue = AlertQueue(DeliveryState(StateMap()), ["rule"], 1000)
    told = queue.next_ms(), queue.oldest_ms(), queue.next_message(10**12), queue.drop_oldest(), len(queue)
    assert told == (None, None, None, None, 0)


def test_the_key_of_a_message_is_of_its_ids_and_statuses_in_order() -> None:
    running = Delivery(spec_of())
    running.send(alert(1), alert(2))
    running.wait(2 * SECOND)
    again = Delivery(spec_of(group_by=[]))
    again.send(alert(1, raised_ms=5), alert(2))
    again.wait(2 * SECOND)
    (one,), (other,) = running.receiver.sendings, again.receiver.sendings
    assert one.message.key == other.message.key and len(one.message.key) == 32
    assert Message(one.message.alerts[:1], {}).key != one.message.key


def test_an_alertmanager_hears_again_only_of_what_it_was_told() -> None:
    running = Delivery(spec_of(alertmanager(), group_wait="10s"))
    running.send(result_alert(1))
    running.wait(9 * SECOND)
    assert running.receiver.sendings == []
    running.wait(2 * SECOND)
    assert len(running.receiver.sendings) == 1


def test_an_alert_on_an_event_that_comes_twice_is_told_once_while_it_waits() -> None:
    running = Delivery(spec_of())
    running.send(alert(1), alert(1))
    running.wait(5 * SECOND)
    assert len(running.receiver.got()) == 1 and running.runner.suppressed == 0


def test_what_was_tried_and_what_fires_are_known_after_a_restart() -> None:
    down = {"breaker_after": 1000, "back_off": "1s", "back_off_max": "1s", "give_up": "1m"}
    running = Delivery(spec_of(alertmanager(**down), group_wait="0s"), Receiver(lambda *_: DOWN))
    running.send(result_alert(1))
    running.wait(5500)
    before = len(running.receiver.sendings)
    running.go_on_from(running.held)
    running.wait(MINUTE)
    (letter,) = running.dead
    assert letter["attempts"] == len(running.receiver.sendings) > before > 4
    assert running.held == {} and running.runner.firing == 0


def test_what_is_over_fires_no_more_after_a_restart() -> None:
    running = Delivery(spec_of(alertmanager(), group_wait="0s"))
    running.send(result_alert(1))
    running.wait(SECOND)
    running.send(result_alert(1, "resolved"))
    running.wait(SECOND)
    running.go_on_from(running.held)
    assert running.runner.firing == 0 and running.runner.next_ms(running.now_ms) is None
