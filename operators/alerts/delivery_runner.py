"""Delivers alerts to one channel, at least once: the logic, without an engine.

An alert is in state from when it comes until its receiver has it, or until it is a dead letter. Time is told;
whoever owns a runner calls it again at `next_ms`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from math import inf

import msgspec

from operators.alerts.alert_queue import AlertQueue, Held, QueuedMessage
from operators.alerts.alert_spec import AlertmanagerSpec, AlertsSpec, ChannelSpec
from operators.alerts.breaker import Breaker, back_off_ms
from operators.alerts.channel import Message, Outcome, ToldAlert
from operators.alerts.sending import Sender
from operators.alerts.storm import StormLimit, Suppressed
from operators.alerts.told import Told, read_told, suppressed_json
from state.delivery_state import DeliveryState, FiringAlert

LOOK_AFTER_MS = 20
"""How long after a message went on its way to see what became of it, and again until it is known."""
_AT_A_TIME = 500
_REPEATS = 3
"""How often an alert that fires is told again within the time for which an Alertmanager holds it."""


class DeliveryRunner:
    """Delivers the alerts of one channel.

    Args:
        spec: the section `alerts`.
        channel: the channel.
        pipeline: the pipeline's name.
        state: what the channel has in state.
        sender: sends messages.
        random: gives numbers in [0, 1).

    Attributes:
        delivered: how many alerts the receiver has got since this was made.
        retried: how many messages were sent once more since then.
        dead: how many dead letters there were since then.
        suppressed: how many alerts were not delivered since then because there were too many of their rule,
            or because they are the end of such a one.
        breaker: when the channel may be tried.
    """

    def __init__(
        self,
        spec: AlertsSpec,
        channel: ChannelSpec,
        pipeline: str,
        state: DeliveryState,
        sender: Sender,
        random: Callable[[], float],
    ) -> None:
        """Go on from state; nothing is sent yet."""
        self._channel, self._pipeline, self._state = channel, pipeline, state
        self._sender, self._random = sender, random
        self._queue = AlertQueue(state, spec.group_by, spec.group_wait)
        self._storm = StormLimit(state, spec.at_most, spec.every)
        self._firing = dict(state.firing)
        self.breaker = Breaker(channel.breaker_after, channel.breaker_pause)
        self._on_their_way = 0
        self._repeated_ms: float = -inf
        self._repeats_out, self._repeat_failed = 0, False
        self.delivered = self.retried = self.dead = self.suppressed = 0

    @property
    def pending(self) -> int:
        """How many alerts wait, those that are on their way included."""
        return len(self._queue)

    @property
    def firing(self) -> int:
        """How many alerts fire that have an end to come."""
        return len(self._firing)

    def on_alert(self, text: bytes, now_ms: int) -> list[bytes]:
        """Take an alert that is for this channel; return the dead letters that come of it."""
        dead = self._settle(now_ms)
        told = read_told(text)
        came_twice = self._queue.has(told.id, told.status)
        if told.status == "resolved" and not came_twice:
            self._take_end(told, text, now_ms)
        elif told.id not in self._firing and not came_twice:
            self._take_beginning(told, text, now_ms)
        while len(self._firing) > self._channel.max_firing:
            oldest = next(iter(self._firing))
            dead.append(self._dead(self._firing[oldest].told, "too_many_firing", "", 0, now_ms))
            self._end(oldest)
        while len(self._queue) > self._channel.max_pending and (dropped := self._drop("queue_full", now_ms)):
            dead += dropped
        return dead + self._go_on(now_ms)

    def on_time(self, now_ms: int) -> list[bytes]:
        """Do what is due; return the dead letters that come of it."""
        return self._settle(now_ms) + self._go_on(now_ms)

    def hurry(self, now_ms: int) -> None:
        """Send all that waits as soon as it can be: no more alerts will come."""
        self._tell_suppressed(self._storm.end(), now_ms)
        self._queue.hurry()

    def abandon(self, reason: str, now_ms: int) -> list[bytes]:
        """Make dead letters of all that waits, on its way or not: the last that is done."""
        self._queue.recall()
        self._tell_suppressed(self._storm.end(), now_ms)
        dead: list[bytes] = []
        while dropped := self._drop(reason, now_ms):
            dead += dropped
        return dead

    def next_ms(self, now_ms: int) -> int | None:
        """Return when something is to be done; None where that is only with the next alert."""
        times: list[float] = []
        if self._on_their_way:
            times.append(now_ms + LOOK_AFTER_MS)
        due_ms = self._queue.next_ms()
        if due_ms is not None and self.breaker.room(self._on_their_way, max(now_ms, self._shut_ms())):
            times.append(max(due_ms, self._shut_ms()))
        oldest_ms = self._queue.oldest_ms()
        if oldest_ms is not None:
            times.append(oldest_ms + self._channel.give_up)
        if (ends_ms := self._storm.next_ms()) is not None:
            times.append(ends_ms)
        if self._repeats and self._firing and not self._repeats_out:
            times.append(max(self._repeated_ms + self._repeats, self._shut_ms()))
        return max(now_ms, int(min(times))) if times else None

    @property
    def _repeats(self) -> int:
        """How often alerts that fire are told again in milliseconds, 0 for never."""
        return self._channel.hold // _REPEATS if isinstance(self._channel, AlertmanagerSpec) else 0

    def _shut_ms(self) -> int:
        return self.breaker.shut_until_ms

    def _take_beginning(self, told: Told, text: bytes, now_ms: int) -> None:
        if not self._storm.lets_pass(told.rule, told.severity, now_ms):
            self.suppressed += 1
            return
        if told.metric is not None:
            self._firing[told.id] = FiringAlert(now_ms, text)
            self._state.put_firing(told.id, self._firing[told.id])
        self._queue.put(text, None, now_ms)

    def _take_end(self, told: Told, text: bytes, now_ms: int) -> None:
        began = self._firing.get(told.id)
        if began is None:
            # Its beginning was not told either. Where it never was to be, nobody misses its end.
            self.suppressed += self._channel.takes(told.rule, told.severity)
            return
        self._end(told.id)
        self._queue.put(text, began.told, now_ms)

    def _settle(self, now_ms: int) -> list[bytes]:
        """See what became of messages, and which intervals are over."""
        dead: list[bytes] = []
        for message, outcome in self._sender.collect():
            self._on_their_way -= 1
            if outcome.kind == "retry":
                self.breaker.failed(now_ms, outcome.wait_ms)
            else:
                self.breaker.answered()
            if message is None:
                self._repeats_out -= 1
                self._repeat_failed |= outcome.kind != "accepted"
            else:
                dead += self._came_back(message, outcome, now_ms)
        self._tell_suppressed(self._storm.ended(now_ms), now_ms)
        return dead

    def _came_back(self, message: QueuedMessage, outcome: Outcome, now_ms: int) -> Iterator[bytes]:
        if outcome.kind == "retry":
            channel = self._channel
            wait_ms = back_off_ms(message.attempts + 1, channel.back_off, channel.back_off_max, self._random)
            self._queue.failed(message, now_ms + max(wait_ms, outcome.wait_ms or 0))
            return
        self._queue.done(message)
        if outcome.kind == "accepted":
            self.delivered += len(message.alerts)
        reason = {"refused": "refused", "accepted": "partly_refused"}[outcome.kind]
        if outcome.kind == "refused" or outcome.detail:
            for alert in message.alerts:
                yield self._dead(alert.stored.told, reason, outcome.detail, message.attempts + 1, now_ms)
                if outcome.kind == "refused":
                    self._never_told(alert)

    def _go_on(self, now_ms: int) -> list[bytes]:
        """Give up what is too old and send what is due."""
        dead: list[bytes] = []
        while (oldest_ms := self._queue.oldest_ms()) is not None:
            if oldest_ms + self._channel.give_up > now_ms:
                break
            dead += self._drop("given_up", now_ms)
        while self.breaker.room(self._on_their_way, now_ms):
            message = self._queue.next_message(now_ms)
            if message is None:
                break
            self.retried += message.attempts > 0
            alerts = tuple(ToldAlert(one.told, one.stored.told, one.began) for one in message.alerts)
            self._hand(message, Message(alerts, self._queue.named(message.group)))
        self._repeat(now_ms)
        return dead

    def _repeat(self, now_ms: int) -> None:
        """Tell alerts again that fire, before the receiver takes them for resolved."""
        if not self._repeats or not self._firing or self._repeats_out:
            return
        if self._repeat_failed:
            self._repeat_failed = False
            again_ms = back_off_ms(1, self._channel.back_off, self._channel.back_off_max, self._random)
            self._repeated_ms = now_ms + again_ms - self._repeats
        if now_ms < self._repeated_ms + self._repeats or not self.breaker.room(self._on_their_way, now_ms):
            return
        self._repeated_ms = now_ms
        # Those that wait were not told yet, and the others are to stay as they are.
        told = (one.told for alert_id, one in self._firing.items() if not self._queue.has(alert_id, "firing"))
        while part := list(islice(told, _AT_A_TIME)):
            self._repeats_out += 1
            self._hand(None, Message(tuple(ToldAlert(read_told(text), text) for text in part), {}))

    def _hand(self, about: QueuedMessage | None, message: Message) -> None:
        self._on_their_way += 1
        self._sender.hand(about, message)

    def _tell_suppressed(self, suppressed: Sequence[Suppressed], now_ms: int) -> None:
        for one in suppressed:
            text = suppressed_json(
                self._pipeline, self._channel.name, one.rule, one.severity, one.count, one.from_ms, one.to_ms
            )
            self._queue.put(text, None, now_ms)

    def _drop(self, reason: str, now_ms: int) -> list[bytes]:
        """Make dead letters of the oldest alert that is not on its way and those that travel with it."""
        dropped = self._queue.drop_oldest()
        if dropped is None:
            return []
        alerts, attempts = dropped
        for alert in alerts:
            self._never_told(alert)
        return [self._dead(alert.stored.told, reason, "", attempts, now_ms) for alert in alerts]

    def _never_told(self, alert: Held) -> None:
        """Note that nobody heard of an alert, so that nobody is told of its end."""
        firing = self._firing.get(alert.told.id)
        if firing is not None and firing.told == alert.stored.told:
            self._end(alert.told.id)

    def _end(self, alert_id: str) -> None:
        if self._firing.pop(alert_id, None) is not None:
            self._state.remove_firing(alert_id)

    def _dead(self, told: bytes, reason: str, detail: str, attempts: int, now_ms: int) -> bytes:
        self.dead += 1
        return dead_letter(self._channel.name, told, reason, detail, attempts, now_ms)


def removed_channel(
    name: str, pipeline: str, state: DeliveryState, every_ms: int, now_ms: int
) -> list[bytes]:
    """Return the dead letters of a channel that the pipeline no longer has, and forget all that it had.

    Args:
        name: its name.
        pipeline: the pipeline's name.
        state: what it has in state.
        every_ms: the length of intervals in which alerts are counted.
        now_ms: the wall clock.
    """
    told = [alert.told for alert in state.waiting.values()]
    told += [
        suppressed_json(pipeline, name, one.rule, one.severity, one.count, one.from_ms, one.to_ms)
        for one in StormLimit(state, 1, every_ms).end()
    ]
    state.clear()
    return [dead_letter(name, text, "channel_removed", "", 0, now_ms) for text in told]


def dead_letter(channel: str, told: bytes, reason: str, detail: str, attempts: int, now_ms: int) -> bytes:
    """Return an alert that could not be delivered as the output of dead letters has it.

    Args:
        channel: the channel's name.
        told: the alert, a JSON object.
        reason: why, a word.
        detail: what the receiver said.
        attempts: how often it was sent.
        now_ms: the wall clock.
    """
    return msgspec.json.encode(
        {
            "channel": channel,
            "reason": reason,
            "detail": detail,
            "attempts": attempts,
            "dead_ms": now_ms,
            "alert": msgspec.Raw(told),
        }
    )
