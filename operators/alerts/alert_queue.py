"""The alerts of one channel that wait to be delivered, and the messages in which they travel.

Alerts of one group travel together. A group has one message at a time, so that the end of an alert never
overtakes its beginning. A message that was sent never changes: whoever got it without our knowing gets the
same one again.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from typing import Any

from operators.alerts.told import Told, read_told
from state.delivery_state import DeliveryState, SentMessage, WaitingAlert

_MOST_ALERTS = 100
"""How many alerts travel in one message at most."""
GroupKey = tuple[Any, ...]


@dataclass(eq=False)
class Held:
    """An alert that waits.

    Attributes:
        number: rises from alert to alert.
        told: the alert.
        began: of a resolved one: as it began.
        stored: as it is in state.
    """

    number: int
    told: Told
    began: Told | None
    stored: WaitingAlert


@dataclass(eq=False)
class QueuedMessage:
    """A message: alerts of one group, and how often sending it failed."""

    group: GroupKey
    alerts: list[Held]
    attempts: int = 0
    on_its_way: bool = False

    @property
    def number(self) -> int:
        """What names it among the messages of its channel: the number of its first alert."""
        return self.alerts[0].number


@dataclass(eq=False)
class _Group:
    waiting: deque[Held] = field(default_factory=deque)
    message: QueuedMessage | None = None
    due_ms: int | None = None


class AlertQueue:
    """What one channel has to deliver.

    Args:
        state: what the channel has in state.
        group_by: what alerts of a group have in common.
        group_wait_ms: how long the first alert of a message waits for others; with 0 each travels alone.
    """

    def __init__(self, state: DeliveryState, group_by: Sequence[str], group_wait_ms: int) -> None:
        """Go on from state: messages that were sent are due at once."""
        self._state, self._group_by, self._wait_ms = state, group_by, group_wait_ms
        self._held: dict[int, Held] = {}
        self._in_message: dict[int, QueuedMessage] = {}
        self._groups: dict[GroupKey, _Group] = {}
        self._due: list[tuple[int, int, GroupKey]] = []
        self._last: dict[str, Held] = {}
        self._next, self._last_ms = 0, 0
        self._restore()

    def __len__(self) -> int:
        """Return how many alerts wait, those that are on their way included."""
        return len(self._held)

    def has(self, alert_id: str, status: str) -> bool:
        """Return whether this is what was last said of an alert, and waits."""
        last = self._last.get(alert_id)
        return last is not None and last.told.status == status

    def put(self, told: bytes, began: bytes | None, now_ms: int) -> None:
        """Let an alert wait.

        Args:
            told: the alert, a JSON object.
            began: of a resolved one: as it began.
            now_ms: the wall clock.
        """
        self._last_ms = max(self._last_ms, now_ms)
        stored = WaitingAlert(self._last_ms, told, began)
        self._state.put_waiting(self._next, stored)
        self._take(self._next, stored)

    def hurry(self) -> None:
        """Wait for no more alerts of any group, nor before a message is tried again."""
        for key, group in self._groups.items():
            if group.message is None or not group.message.on_its_way:
                self._is_due(key, group, 0)

    def recall(self) -> None:
        """Take it that nothing is on its way."""
        for message in self._in_message.values():
            message.on_its_way = False

    def next_ms(self) -> int | None:
        """Return when something is due to be sent; None where nothing is."""
        self._skip_stale()
        return self._due[0][0] if self._due else None

    def oldest_ms(self) -> int | None:
        """Return when the oldest alert came that is not on its way."""
        oldest = self._oldest()
        return None if oldest is None else oldest.stored.came_ms

    def next_message(self, now_ms: int) -> QueuedMessage | None:
        """Return the message to be sent now, on its way from then on; None where none is due."""
        self._skip_stale()
        if not self._due or self._due[0][0] > now_ms:
            return None
        key = heappop(self._due)[2]
        group = self._groups[key]
        group.due_ms = None
        if group.message is None:
            most = _MOST_ALERTS if self._wait_ms else 1
            alerts = [group.waiting.popleft() for _ in range(min(most, len(group.waiting)))]
            group.message = QueuedMessage(key, alerts)
            self._write(group.message)
            self._in_message |= dict.fromkeys((alert.number for alert in alerts), group.message)
        group.message.on_its_way = True
        return group.message

    def done(self, message: QueuedMessage) -> None:
        """Forget a message with its alerts."""
        self._state.remove_message(_as_stored(message))
        for alert in message.alerts:
            del self._in_message[alert.number]
            self._forget(alert)
        group = self._groups[message.group]
        group.message = None
        self._follow_up(message.group, group)

    def failed(self, message: QueuedMessage, again_ms: int) -> None:
        """Let a message that could not be sent wait until it is tried again."""
        message.attempts += 1
        message.on_its_way = False
        self._write(message)
        self._is_due(message.group, self._groups[message.group], again_ms)

    def drop_oldest(self) -> tuple[list[Held], int] | None:
        """Forget the oldest alert that is not on its way, and those that travel with it.

        Returns:
            The alerts, and how often sending them failed; None where all are on their way.
        """
        oldest = self._oldest()
        if oldest is None:
            return None
        message = self._in_message.get(oldest.number)
        if message is not None:
            self.done(message)
            return message.alerts, message.attempts
        key = self._key_of(oldest)
        group = self._groups[key]
        group.waiting.remove(oldest)  # at its front: no other alert of the group is older
        self._forget(oldest)
        if group.message is None:
            self._follow_up(key, group)
        return [oldest], 0

    def named(self, key: GroupKey) -> dict[str, Any]:
        """Return what the alerts of a group have in common, by name."""
        return dict(zip(self._group_by, key, strict=False))

    def _restore(self) -> None:
        together = {number for message in self._state.messages.values() for number in message.numbers}
        for number, stored in self._state.waiting.items():
            self._take(number, stored, number not in together)
        for stored_message in self._state.messages.values():
            alerts = [self._held[number] for number in stored_message.numbers]
            message = QueuedMessage(self._key_of(alerts[0]), alerts, stored_message.attempts)
            self._in_message |= dict.fromkeys(stored_message.numbers, message)
            group = self._groups.setdefault(message.group, _Group())
            # Where alerts are grouped otherwise than before the restart, groups may have met.
            while group.message is not None:
                message.group = (*message.group, message.number)
                group = self._groups.setdefault(message.group, _Group())
            group.message = message
            self._is_due(message.group, group, 0)

    def _take(self, number: int, stored: WaitingAlert, is_alone: bool = True) -> None:
        began = None if stored.began is None else read_told(stored.began)
        held = Held(number, read_told(stored.told), began, stored)
        self._held[number] = self._last[held.told.id] = held
        self._next = number + 1
        self._last_ms = max(self._last_ms, stored.came_ms)
        if is_alone:
            key = self._key_of(held)
            group = self._groups.setdefault(key, _Group())
            group.waiting.append(held)
            if group.message is None and len(group.waiting) == 1:
                self._is_due(key, group, stored.came_ms + self._wait_ms)

    def _key_of(self, held: Held) -> GroupKey:
        told = held.began or held.told  # a rule may have become more severe in between
        known = {"rule": told.rule, "severity": told.severity}
        return tuple(known[name] if name in known else told.key.get(name) for name in self._group_by)

    def _oldest(self) -> Held | None:
        for number, held in self._held.items():
            message = self._in_message.get(number)
            if message is None or not message.on_its_way:
                return held
        return None

    def _is_due(self, key: GroupKey, group: _Group, due_ms: int) -> None:
        group.due_ms = due_ms
        first = group.waiting[0].number if group.message is None else group.message.number
        heappush(self._due, (due_ms, first, key))

    def _follow_up(self, key: GroupKey, group: _Group) -> None:
        """See to it that what is left of a group is sent."""
        if group.waiting:
            self._is_due(key, group, group.waiting[0].stored.came_ms + self._wait_ms)
        else:
            del self._groups[key]

    def _skip_stale(self) -> None:
        while self._due:
            due_ms, _, key = self._due[0]
            group = self._groups.get(key)
            if group is not None and group.due_ms == due_ms:
                return
            heappop(self._due)

    def _forget(self, alert: Held) -> None:
        self._state.remove_waiting(alert.number)
        del self._held[alert.number]
        if self._last.get(alert.told.id) is alert:
            del self._last[alert.told.id]

    def _write(self, message: QueuedMessage) -> None:
        self._state.put_message(_as_stored(message))


def _as_stored(message: QueuedMessage) -> SentMessage:
    return SentMessage([alert.number for alert in message.alerts], message.attempts)
