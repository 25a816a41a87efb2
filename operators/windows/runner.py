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

    def open_windows(self) -> int:
        """Return how many windows of how many keys of the current shard have events and have not ended."""
