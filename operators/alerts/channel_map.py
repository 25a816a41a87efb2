"""Keyed map state of one alert channel that can also be written while another key is current."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from state.delivery_state import WalkedMap


class ChannelMap:
    """A write buffer over Flink's map state, which is always that of the current key.

    Writes while another channel is the current key are kept in memory until `flush`.

    Args:
        held: Flink's map state.
        is_current: returns whether this channel is the current key.
    """

    def __init__(self, held: WalkedMap, is_current: Callable[[], bool]) -> None:
        """Start with an empty buffer."""
        self._held, self._is_current = held, is_current
        self._later: dict[bytes, bytes | None] = {}

    def put(self, key: bytes, value: bytes) -> None:
        """Store a value, or buffer the write."""
        if self._is_current():
            self._held.put(key, value)
        else:
            self._later[key] = value

    def remove(self, key: bytes) -> None:
        """Remove a value, or buffer the removal."""
        if self._is_current():
            self._held.remove(key)
        else:
            self._later[key] = None

    def items(self) -> Iterable[tuple[bytes, bytes]]:
        """Return all entries; call it only while this channel is the current key."""
        return self._held.items()

    def flush(self) -> None:
        """Apply buffered writes to Flink's map; call it only while this channel is the current key."""
        for key, value in self._later.items():
            if value is None:
                self._held.remove(key)
            else:
                self._held.put(key, value)
        self._later.clear()
