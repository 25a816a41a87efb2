"""Simulated events that anyone can make again, byte for byte, from a seed and an event's number.

What depends on chance depends on the seed and the event's number alone (see `random_bits`). So it does not
matter how a reader cuts the stream in chunks, and a source that restarts replays the same events. What events
are is the business of a scenario: `shop` or `payments`.

All scenarios have **ts**: ``start`` plus ``n / event_rate`` seconds for event ``n``, less a uniform delay up
to ``disorder``, but never before ``start``. With ``event_rate`` as ``rate`` and ``start`` now, it is the wall
clock. A good event ends with its one closing brace, so that whoever sends events can put a field of its own,
such as the time of sending, before it.
"""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from flink_job.simulation.payers import MAX_FRAUD_SHARE, Payers, check_payers
from flink_job.simulation.payments import Payments
from flink_job.simulation.random_bits import RandomBits
from flink_job.simulation.scenario import Scenario
from flink_job.simulation.shop import Shop
from flink_job.simulation.simulated_rows import BAD_KINDS, MAX_EVENTS, as_lines
from operators.durations import DurationMs, format_duration
from operators.section import Section

_EVENT_RATES = {"shop": 100.0, "payments": 2.0}
_FRAUD_SHARE = 0.01
_PIECE = 8_192  # rows made at a time: some 2 MB of scratch memory
_FIRST_START_MS = 10**12  # 2001-09-09: from here on an epoch time in ms has 13 digits ...
_LAST_TIME_MS = 10**13  # ... until 2286
_MAX_DISORDER_MS = 30 * 86_400_000


def _read_instant(value: Any) -> datetime:
    expected = "expected an ISO time such as 2026-01-01T00:00:00Z"
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            raise ValueError(f"{expected}, got {value!r:.60}") from None
    if isinstance(value, date) and not isinstance(value, datetime):  # YAML reads a bare 2026-01-01 as a date
        value = datetime(value.year, value.month, value.day)
    if not isinstance(value, datetime):
        raise ValueError(f"{expected}, got a {type(value).__name__}")
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)


class SimulatorSpec(Section):
    """The ``source: {type: simulator, ...}`` section of a pipeline file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["simulator"] = "simulator"
    format: Literal["json"] = "json"
    scenario: Literal["shop", "payments"] = Field("shop", description="What the events are of.")
    events: Annotated[int, Field(ge=0, le=MAX_EVENTS)] | None = Field(
        100_000, description="How many events in all; null: without end."
    )
    users: Annotated[int, Field(ge=1, le=10**7)] = Field(
        5_000, description="How many users there are at a time."
    )
    rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="Events a second of wall clock; null: as fast as possible."
    )
    seed: int = Field(42, ge=0, lt=2**64, description="The same seed gives the same events.")
    disorder: DurationMs = Field(
        "0s", validate_default=True, description="How late an event may come: a random delay up to this."
    )
    bad_share: float = Field(
        0.0, ge=0, le=1, description=f"Share of bad events, 0 to 1, of these kinds: {', '.join(BAD_KINDS)}."
    )
    skew: float = Field(
        1.0,
        ge=0,
        le=4,
        description="Zipf exponent of items and regular users, or of merchants; 0: all alike.",
    )
    start: Annotated[datetime, BeforeValidator(_read_instant)] = Field(
        datetime(2026, 1, 1, tzinfo=timezone.utc),
        description="Event time of the first event; UTC unless it says otherwise.",
    )
    event_rate: Annotated[float, Field(ge=1e-3, le=1e6)] | None = Field(
        None, description="Events a second of event time; default: 100 of a shop, 2 of payments."
    )
    fraud_share: Annotated[float, Field(ge=0, le=MAX_FRAUD_SHARE)] | None = Field(
        None, description="Payments: the share of planted frauds in the long run; default: 0.01."
    )

    @model_validator(mode="after")
    def _fits_together(self) -> SimulatorSpec:
        if self.start_ms < _FIRST_START_MS:
            raise ValueError(f"start: expected 2001-09-09T01:46:40Z or later, got {self.start.isoformat()}")
        if self.nominal_ms(self.events or 0) >= _LAST_TIME_MS:
            raise ValueError("events / event_rate: expected a last event before the year 2286")
        if self.disorder > _MAX_DISORDER_MS:
            raise ValueError(f"disorder: expected at most 30d, got {format_duration(self.disorder)}")
        if self.scenario == "payments":
            check_payers(self.users, self.events_per_s, self.disorder)
        elif self.fraud_share is not None:
            raise ValueError("fraud_share: needs scenario payments")
        return self

    @property
    def start_ms(self) -> int:
        """The first event's time in epoch ms."""
        return round(self.start.timestamp() * 1000)

    @property
    def events_per_s(self) -> float:
        """Events a second of event time."""
        return self.event_rate if self.event_rate is not None else _EVENT_RATES[self.scenario]

    def nominal_ms(self, number: int) -> float:
        """The time in epoch ms that event ``number`` has without disorder."""
        return self.start_ms + number * 1000.0 / self.events_per_s


class Simulation:
    """The events of one spec, any range of them at a time.

    Args:
        spec: what to simulate.

    Attributes:
        fields: names of the fields that every good event has.
    """

    def __init__(self, spec: SimulatorSpec) -> None:
        """Prepare the scenario, whose tables take a few MB."""
        self.spec = spec
        self._scenario = _scenario(spec)
        self.fields = self._scenario.fields

    def chunk(self, first: int, count: int) -> bytes:
        r"""Events ``first`` to ``first + count - 1`` as JSON, one a line, each line ended by ``\n``.

        The chunks of adjacent ranges, put one after another, equal the chunk of the whole range.

        Args:
            first: number of the first event, from 0.
            count: how many events; those past the end of the simulation are left out.

        Returns:
            The lines, some 140 to 230 bytes each; empty at and after the end.

        Raises:
            ValueError: negative ``first`` or ``count``, or an event past the year 2286.
        """
        if first < 0 or count < 0:
            raise ValueError(f"chunk: expected first >= 0 and count >= 0, got {first} and {count}")
        end = min(first + count, MAX_EVENTS if self.spec.events is None else self.spec.events)
        if first < end and self.spec.nominal_ms(end) >= _LAST_TIME_MS:
            raise ValueError(f"chunk: expected events before the year 2286, got up to number {end - 1}")
        return b"".join(self._piece(at, min(_PIECE, end - at)) for at in range(first, end, _PIECE))

    def _piece(self, first: int, count: int) -> bytes:
        bits = RandomBits.of(self.spec.seed, first, count)
        numbers = np.arange(first, first + count, dtype=np.int64)
        times_ms = self._times(numbers, bits.words[:, 5])
        return as_lines(self._scenario.rows(numbers, times_ms, bits))

    def _times(self, numbers: NDArray[np.int64], random: NDArray[np.uint32]) -> NDArray[np.int64]:
        times = np.floor(numbers * 1000.0 / self.spec.events_per_s).astype(np.int64)
        if self.spec.disorder:
            delays = random.astype(np.uint64) * np.uint64(self.spec.disorder + 1) >> np.uint64(32)
            times = np.maximum(times - delays.astype(np.int64), 0)
        return times + self.spec.start_ms


def _scenario(spec: SimulatorSpec) -> Scenario:
    if spec.scenario == "shop":
        return Shop(spec.users, spec.skew, spec.bad_share)
    frauds = _FRAUD_SHARE if spec.fraud_share is None else spec.fraud_share
    return Payments(Payers(spec.seed, spec.users, spec.events_per_s, frauds, spec.bad_share), spec.skew)
