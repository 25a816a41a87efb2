"""The state of one channel, as it is also while Flink has another channel at hand."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from state.delivery_state import WalkedMap


class ChannelMap:
    """A `WalkedMap` over Flink's, which is always that of the key at hand.

    What is written while another channel is at hand is kept in memory until `catch_up`.

    Args:
        held: Flink's map.
        is_at_hand: whether the map is that of this channel now.
    """

    def __init__(self, held: WalkedMap, is_at_hand: Callable[[], bool]) -> None:
        """Have nothing to catch up with."""
        self._held, self._is_at_hand = held, is_at_hand
        self._later: dict[bytes, bytes | None] = {}

    def put(self, key: bytes, value: bytes) -> None:
        """Store a value."""
        if self._is_at_hand():
            self._held.put(key, value)
        else:
            self._later[key] = value

    def remove(self, key: bytes) -> None:
        """Forget a value."""
        if self._is_at_hand():
            self._held.remove(key)
        else:
            self._later[key] = None

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """Return all that there is; to be asked where the channel is at hand."""
        return self._held.items()

    def catch_up(self) -> None:
        """Write what was kept; to be called where the channel is at hand."""
        for key, value in self._later.items():
            if value is None:
                self._held.remove(key)
            else:
                self._held.put(key, value)
        self._later.clear()
