"""When a channel may be tried: not for a while after failures in a row, or as long as it asks for."""

from __future__ import annotations

from collections.abc import Callable

_HANDED = 4
"""How many messages may be on their way to a receiver of which nothing is wrong."""


class Breaker:
    """Opens after failures in a row; then one message after each pause shows whether the receiver is back.

    Args:
        after: how many failures in a row open it.
        pause_ms: for how long nothing is sent then.
    """

    def __init__(self, after: int, pause_ms: int) -> None:
        """Begin closed."""
        self._after, self._pause_ms = after, pause_ms
        self._failures, self.shut_until_ms = 0, 0

    @property
    def is_open(self) -> bool:
        """Whether it was opened and no message was answered since."""
        return self._failures >= self._after

    def room(self, on_their_way: int, now_ms: int) -> int:
        """Return how many more messages may be sent now, beside those that are on their way."""
        if now_ms < self.shut_until_ms:
            return 0
        return max(0, (1 if self._failures else _HANDED) - on_their_way)

    def answered(self) -> None:
        """Note that the receiver answered a message, be it with a refusal."""
        self._failures = 0

    def failed(self, now_ms: int, asked_ms: int | None) -> None:
        """Note a failure.

        Args:
            now_ms: the wall clock.
            asked_ms: how long the receiver wants to be left alone; None where it said nothing.
        """
        self._failures += 1
        pause_ms = max(self._pause_ms if self.is_open else 0, asked_ms or 0)
        self.shut_until_ms = max(self.shut_until_ms, now_ms + pause_ms)


def back_off_ms(attempts: int, first_ms: int, most_ms: int, random: Callable[[], float]) -> int:
    """Return how long to wait before a message is tried again.

    Args:
        attempts: how often it failed, 1 or more.
        first_ms: how long to wait at most after the first time; twice as long after each further one.
        most_ms: how long to wait at most, ever.
        random: gives numbers in [0, 1): waits are up to a half shorter, so that not all come back at once.
    """
    full_ms = min(most_ms, first_ms << min(attempts - 1, 40))
    return full_ms - int(full_ms * random() / 2)
