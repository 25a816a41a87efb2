"""What a window runner is given and gives: clocks, timers, outputs. Knows no engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol

from operators.records import Record
from operators.windows.results import Late, Result

Outputs = Iterator[Result | Late]


class Clock(NamedTuple):
    """The times at which something happens.

    Attributes:
        watermark_ms: the engine's current watermark; the least int64 before there is one.
        now_ms: the wall clock.
    """

    watermark_ms: int
    now_ms: int


class Held(NamedTuple):
    """What a shard holds.

    Attributes:
        open_windows: how many windows of how many keys have events and have not ended.
        state_bytes: how many bytes are in keyed state: the map keys and values of packed slices, large
            partials, revisions, sessions, indexes and clocks, as we wrote them. What Flink and RocksDB add
            to an entry, their copies of it that wait for compaction, and timers are not in it.
    """

    open_windows: int
    state_bytes: int


class Timers(Protocol):
    """Registers timers for the current shard; the same time twice is one timer."""

    def at_event_time(self, time_ms: int) -> None:
        """Ask to be called when the watermark reaches this time."""

    def at_processing_time(self, time_ms: int) -> None:
        """Ask to be called when the wall clock reaches this time."""


class Runner(Protocol):
    """The logic of one stream of windows; all that it keeps is in the state of the current shard."""

    def on_record(self, record: Record, clock: Clock) -> Outputs:
        """Take partials of one batch, or a beat."""

    def on_event_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Do what is due when the watermark reaches `time_ms`."""

    def on_processing_time(self, time_ms: int, clock: Clock) -> Outputs:
        """Do what is due when the wall clock reaches `time_ms`."""

    def held(self) -> Held:
        """Return what the current shard holds, from one pass over its state."""
