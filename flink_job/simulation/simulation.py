"""A simulated shop: events that anyone can make again, byte for byte, from a seed and an event's number.

Event ``n`` takes exactly one step of the counter-based generator Philox (Salmon et al., "Parallel Random
Numbers: As Easy as 1, 2, 3", SC 2011): 256 random bits that depend on the seed and ``n`` alone. So it does
not matter how a reader cuts the stream in chunks, and a source that restarts replays the same events.

The shop:

- **Users**: four visits in five are by regulars, whose activity follows a Zipf law (``user_00000`` is the
  most active); one in five is by anybody, uniformly. So nearly all of 5,000 users are seen in 100,000 events.
- **Items**: 1,000, by a Zipf law, ``item_0000`` the most wanted.
- **Actions**: view 70 %, click 15 %, add_cart 10 %, purchase 5 %.
- **value**: for add_cart and purchase the item's price, which varies by a fifth each way; otherwise 0.0.
- **quantity**: 1 to 5, mostly 1.
- **text**: absent in seven events of eight; often with hashtags, not all of them ASCII.
- **ts**: ``start`` plus ``n / event_rate`` seconds, less a uniform delay up to ``disorder``, but never
  before ``start``.
"""

from __future__ import annotations

from datetime import date, datetime, timezone
from typing import Annotated, Any, Literal

import numpy as np
from numpy.random import Philox
from numpy.typing import NDArray
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from flink_job.simulation.simulated_rows import ACTIONS, BAD_KINDS, ITEMS, MAX_EVENTS, RowWriter
from operators.durations import DurationMs, format_duration

_ACTION_SHARES = {"view": 0.70, "click": 0.15, "add_cart": 0.10, "purchase": 0.05}
_REGULARS_OF_256 = 205  # 80 % of the visits
_PIECE = 8_192  # rows made at a time: about 1.5 MB of scratch memory
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


class SimulatorSpec(BaseModel):
    """The ``source: {type: simulator, ...}`` section of a pipeline file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: Literal["simulator"] = "simulator"
    format: Literal["json"] = "json"
    events: Annotated[int, Field(ge=0, le=MAX_EVENTS)] | None = Field(
        100_000, description="How many events in all; null: without end."
    )
    users: Annotated[int, Field(ge=1, le=10**7)] = Field(5_000, description="How many users the shop has.")
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
        1.0, ge=0, le=4, description="Zipf exponent of items and regular users; 0: all alike."
    )
    start: Annotated[datetime, BeforeValidator(_read_instant)] = Field(
        datetime(2026, 1, 1, tzinfo=timezone.utc),
        description="Event time of the first event; UTC unless it says otherwise.",
    )
    event_rate: float = Field(100.0, ge=1e-3, le=1e6, description="Events a second of event time.")

    @model_validator(mode="after")
    def _check_times(self) -> SimulatorSpec:
        if self.start_ms < _FIRST_START_MS:
            raise ValueError(f"start: expected 2001-09-09T01:46:40Z or later, got {self.start.isoformat()}")
        if self.nominal_ms(self.events or 0) >= _LAST_TIME_MS:
            raise ValueError("events / event_rate: expected a last event before the year 2286")
        if self.disorder > _MAX_DISORDER_MS:
            raise ValueError(f"disorder: expected at most 30d, got {format_duration(self.disorder)}")
        return self

    @property
    def start_ms(self) -> int:
        """The first event's time in epoch ms."""
        return round(self.start.timestamp() * 1000)

    def nominal_ms(self, number: int) -> float:
        """The time in epoch ms that event ``number`` has without disorder."""
        return self.start_ms + number * 1000.0 / self.event_rate


class Simulation:
    """The events of one spec, any range of them at a time.

    Args:
        spec: what to simulate.
    """

    def __init__(self, spec: SimulatorSpec) -> None:
        """Prepare the tables that random bits are looked up in: a few MB."""
        self.spec = spec
        self._rows = RowWriter(spec.users)
        self._regulars = _zipf_slots(spec.users, spec.skew, slots=2**18)
        self._items = _zipf_slots(ITEMS, spec.skew, slots=2**16)
        self._actions = np.searchsorted(
            np.cumsum([_ACTION_SHARES[action] for action in ACTIONS[:-1]]), (np.arange(2**16) + 0.5) / 2**16
        )

    def chunk(self, first: int, count: int) -> bytes:
        r"""Events ``first`` to ``first + count - 1`` as JSON, one a line, each line ended by ``\n``.

        The chunks of adjacent ranges, put one after another, equal the chunk of the whole range.

        Args:
            first: number of the first event, from 0.
            count: how many events; those past the end of the simulation are left out.

        Returns:
            The lines, about 140 bytes each; empty at and after the end.

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
        raw = Philox(key=self.spec.seed, counter=first).random_raw(4 * count).astype("<u8", copy=False)
        words = raw.view("<u4").reshape(count, 8)  # 0, 1: user; 4: price; 5: delay; 6, 7: bad or not, how
        halves = raw.view("<u2").reshape(count, 16)  # 4: item; 5: action; 6: quantity; 7: text
        numbers = np.arange(first, first + count, dtype=np.int64)
        rows = self._rows.begin(numbers, self._times(numbers, words[:, 5]))
        self._rows.write_users(rows, self._users(words))
        self._rows.write_action(
            rows, self._actions.take(halves[:, 5]), self._items.take(halves[:, 4]), words[:, 4]
        )
        self._rows.write_quantity_and_text(rows, halves[:, 6], halves[:, 7])
        if self.spec.bad_share:
            bad = np.flatnonzero(words[:, 6] < self.spec.bad_share * 2**32)
            self._rows.spoil(rows, bad, words[bad, 7])
        return self._rows.text(rows)

    def _users(self, words: NDArray[np.uint32]) -> NDArray[np.int64]:
        anybody = words[:, 0].astype(np.uint64) * np.uint64(self.spec.users) >> np.uint64(32)
        regular = self._regulars.take(words[:, 1] & (len(self._regulars) - 1))
        return np.where(words[:, 1] >> 24 < _REGULARS_OF_256, regular, anybody.astype(np.int64))

    def _times(self, numbers: NDArray[np.int64], random: NDArray[np.uint32]) -> NDArray[np.int64]:
        times = np.floor(numbers * 1000.0 / self.spec.event_rate).astype(np.int64)
        if self.spec.disorder:
            delays = random.astype(np.uint64) * np.uint64(self.spec.disorder + 1) >> np.uint64(32)
            times = np.maximum(times - delays.astype(np.int64), 0)
        return times + self.spec.start_ms


def _zipf_slots(size: int, exponent: float, slots: int) -> NDArray[np.int64]:
    """A table in which a random slot holds rank r with a probability near to (r + 1) ** -exponent.

    "Near to" is within one slot; ranks rarer than a slot may be missing, which is why a fifth of the visits
    is not drawn from here.
    """
    cumulative = np.cumsum(np.arange(1, size + 1, dtype=np.float64) ** -exponent)
    return np.searchsorted(cumulative, (np.arange(slots) + 0.5) / slots * cumulative[-1])
