"""Delivery against what must hold whatever happens, over random alerts, receivers, outages and restarts."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from itertools import pairwise
from typing import Any

import pytest
from alerting import Delivery, Receiver, Sending, StateMap, alert, result_alert, spec_of

from operators.alerts.channel import Message, Outcome

SECOND, MINUTE = 1000, 60_000
CHANNEL = {"breaker_after": 3, "breaker_pause": "4s", "back_off": "300ms", "back_off_max": "3s"}


def moody(choose: random.Random, calm_ms: int) -> Receiver:
    """Return a receiver that does anything until some time, and then what it should."""
    phases = sorted(
        (choose.randrange(calm_ms), choose.choice(["ok", "down", "lost", "any", "busy"])) for _ in range(8)
    )

    def behave(now_ms: int, message: Message) -> tuple[int, Outcome, bool]:
        mood = next((mood for since_ms, mood in reversed(phases) if since_ms <= now_ms), "any")
        if now_ms >= calm_ms:
            mood = "ok"
        if mood == "any":
            mood = choose.choice(["ok", "ok", "down", "lost", "busy"])
        takes_ms = choose.randrange(1, 400)
        return {
            "ok": (takes_ms, Outcome("accepted"), True),
            "down": (takes_ms, Outcome("retry", "HTTP 503"), False),
            "lost": (5000, Outcome("retry", "timed out"), True),
            "busy": (takes_ms, Outcome("retry", "HTTP 429", choose.randrange(5000)), False),
        }[mood]

    return Receiver(behave)


def some_alerts(choose: random.Random, count: int) -> list[tuple[int, bytes, tuple[str, str], str]]:
    """Return alerts at random times: when, the alert, its id and status, its rule."""
    made, now_ms, firing = [], 0, []
    for number in range(count):
        now_ms += choose.choice([0, 0, 5, 50, 900])
        rule = choose.choice(["a", "b", "c"])
        if firing and choose.random() < 0.3:
            which, rule = firing.pop(choose.randrange(len(firing)))
            made.append((now_ms, result_alert(which, "resolved", rule), (f"{which:0>8}", "resolved"), rule))
        elif choose.random() < 0.5:
            firing.append((number, rule))
            made.append((now_ms, result_alert(number, "firing", rule), (f"{number:0>8}", "firing"), rule))
        else:
            made.append((now_ms, alert(number, "firing", rule), (f"{number:0>8}", "firing"), rule))
    return made


def acknowledged(receiver: Receiver) -> list[Sending]:
    return [
        one for one in receiver.sendings if one.collected_ms is not None and one.outcome.kind == "accepted"
    ]


def check_order_of_attempts(running: Delivery, back_off: tuple[int, int], after: int, pause_ms: int) -> None:
    """Replay what was sent and heard within each life, and check that nothing was sent that should not be."""
    by_life: dict[int, list[Sending]] = defaultdict(list)
    for one in running.receiver.sendings:
        by_life[one.life].append(one)
    for sendings in by_life.values():
        failures, shut_ms, attempts, failed_ms = 0, 0, Counter(), {}
        events = [(one.handed_ms, 1, number, one) for number, one in enumerate(sendings)]
        events += [
            (one.collected_ms, 0, n, one) for n, one in enumerate(sendings) if one.collected_ms is not None
        ]
        out = 0
        for at_ms, is_hand, _, one in sorted(events, key=lambda event: event[:3]):
            if not is_hand:
                out -= 1
                if one.outcome.kind == "retry":
                    failures += 1
                    attempts[one.message.key] += 1
                    failed_ms[one.message.key] = at_ms
                    asked_ms = one.outcome.wait_ms or 0
                    shut_ms = max(shut_ms, at_ms + asked_ms, at_ms + pause_ms if failures >= after else 0)
                else:
                    failures = 0
                continue
            assert at_ms >= shut_ms, "sent while the breaker was open or the receiver wanted to be left alone"
            assert out < (4 if failures == 0 else 1)
            out += 1
            if one.message.key in failed_ms:
                longest = min(back_off[1], back_off[0] * 2 ** (attempts[one.message.key] - 1))
                assert at_ms - failed_ms[one.message.key] >= longest // 2


@pytest.mark.parametrize("seed", range(12))
def test_without_a_restart_each_alert_is_acknowledged_once_and_never_sent_again(seed: int) -> None:
    choose = random.Random(seed)
    spec = spec_of(
        CHANNEL,
        at_most=10**6,
        group_wait=choose.choice(["0s", "500ms"]),
        group_by=choose.choice([[], ["rule"]]),
    )
    running = Delivery(spec, moody(choose, 60 * SECOND), choose.random)
    made = some_alerts(choose, 150)
    for at_ms, text, _, _ in made:
        running.until(at_ms)
        running.send(text)
    running.until(30 * MINUTE)
    got = Counter(name for one in acknowledged(running.receiver) for name in one.names)
    assert got == Counter(name for _, _, name, _ in made) and set(got.values()) == {1}
    for one in acknowledged(running.receiver):
        later = [other for other in running.receiver.sendings if other.handed_ms >= one.collected_ms]
        assert not {name for other in later for name in other.names} & set(one.names)
    orders = defaultdict(list)
    for one in acknowledged(running.receiver):
        for name, status in one.names:
            orders[name].append(status)
    assert {tuple(order) for order in orders.values()} <= {("firing",), ("firing", "resolved")}
    check_order_of_attempts(running, (300, 3000), 3, 4 * SECOND)
    assert running.dead == [] and running.runner.pending == 0 and running.runner.delivered == len(made)
    assert {key[:1] for key in running.held} <= {b"r", b"f"}


@pytest.mark.parametrize("seed", range(25))
def test_whenever_a_process_dies_nothing_is_lost_and_only_what_may_be_is_sent_once_more(seed: int) -> None:
    choose = random.Random(1000 + seed)
    spec = spec_of(CHANNEL, at_most=10**6, group_wait=choose.choice(["0s", "500ms"]))
    receiver = moody(choose, 90 * SECOND)
    running = Delivery(spec, receiver, choose.random)
    made = some_alerts(choose, 120)
    saved: tuple[StateMap, int] = (StateMap(), 0)
    next_one, restarts = 0, []
    first_ms = running.now_ms
    while next_one < len(made):
        at_ms, text, _, _ = made[next_one]
        running.until(max(running.now_ms, first_ms + at_ms))
        running.send(text)
        next_one += 1
        if choose.random() < 0.15:
            running.wait(choose.randrange(300))
            saved = StateMap(running.held), next_one
        if choose.random() < 0.05:
            restarts.append(running.now_ms)
            running.wait(choose.randrange(2000))
            running.go_on_from(saved[0])
            next_one = saved[1]
    running.until(running.now_ms + 30 * MINUTE)
    wanted = {name for _, _, name, _ in made}
    got = Counter(name for one in acknowledged(receiver) for name in one.names)
    assert got.keys() == wanted and running.runner.pending == 0 and running.dead == []
    by_name: dict[tuple[str, str], list[Sending]] = defaultdict(list)
    for one in receiver.sendings:
        for name in one.names:
            by_name[name].append(one)
    for sendings in by_name.values():
        for one, other in pairwise(sendings):
            heard = one.collected_ms is not None and one.outcome.kind == "accepted"
            assert not heard or other.life > one.life, "sent once more though nothing had died"
    assert sum(got.values()) == len(wanted) or restarts


@pytest.mark.parametrize("seed", range(10))
def test_what_was_sent_before_a_snapshot_is_sent_after_it_under_the_same_key(seed: int) -> None:
    choose = random.Random(2000 + seed)
    receiver = Receiver(
        lambda *_: (10**12, Outcome("retry"), True)
    )  # it has them all, and nobody hears of it
    running = Delivery(spec_of(CHANNEL, at_most=10**6, group_by=["user"]), receiver, choose.random)
    running.send(*(alert(number, key={"user": choose.randrange(4)}) for number in range(30)))
    running.wait(2 * SECOND)
    sent = {one.message.key: one.names for one in receiver.sendings}
    running.go_on_from(running.held)
    receiver.behave = lambda *_: (1, Outcome("accepted"), True)
    running.send(*(alert(number, key={"user": choose.randrange(4)}) for number in range(50, 80)))
    running.wait(MINUTE)
    after = {one.message.key: one.names for one in acknowledged(receiver)}
    assert len(sent) == 4 and {key: after.get(key) for key in sent} == sent
    assert Counter(name for names in after.values() for name in names).most_common(1)[0][1] == 1


@pytest.mark.parametrize("seed", range(10))
def test_a_storm_is_limited_as_counting_by_hand_says(seed: int) -> None:
    choose = random.Random(3000 + seed)
    running = Delivery(spec_of(CHANNEL, at_most=4, every="3s", group_wait="100ms"), None, choose.random)
    passed: Counter[tuple[str, int]] = Counter()
    over: Counter[str] = Counter()
    expected, begun = [], set()
    for at_ms, text, (name, status), rule in some_alerts(choose, 400):
        running.until(at_ms)
        running.send(text)
        if status == "resolved":
            if name in begun:
                expected.append((name, status))
            continue
        place = rule, at_ms // (3 * SECOND)
        passed[place] += 1
        if passed[place] <= 4:
            expected.append((name, status))
            begun.add(name)
        else:
            over[rule] += 1
    running.wait(MINUTE)
    real: list[tuple[str, str]] = []
    told: Counter[str] = Counter()
    for one in running.receiver.sendings:
        real += [(each.told.id, each.told.status) for each in one.message.real()]
        told.update(one.message.suppressed())
    assert sorted(real) == sorted(expected) and told == over and over


def test_whatever_is_not_delivered_is_a_dead_letter() -> None:
    reasons: Counter[str] = Counter()
    for seed in range(6):
        choose = random.Random(4000 + seed)

        def behave(_: int, __: Message, choose: random.Random = choose) -> tuple[int, Outcome, bool]:
            kind: Any = choose.choice(["accepted", "retry", "refused"])
            return choose.randrange(1, 900), Outcome(kind), kind == "accepted"

        options = {**CHANNEL, "max_pending": 15, "give_up": "4s"}
        running = Delivery(
            spec_of(options, at_most=10**6, group_by=["user"]), Receiver(behave), choose.random
        )
        names = []
        for number in range(300):
            running.wait(choose.randrange(60))
            running.send(alert(number))
            names.append(f"{number:0>8}")
        running.wait(5 * MINUTE)
        got = [name for name, _ in running.receiver.got()]
        dead = [letter["alert"]["id"] for letter in running.dead]
        assert sorted(got + dead) == names and running.runner.dead == len(dead)
        reasons.update(letter["reason"] for letter in running.dead)
    assert reasons.keys() == {"refused", "queue_full", "given_up"}
