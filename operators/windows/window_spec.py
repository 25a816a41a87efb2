"""The `windows:` of a metric in the pipeline file."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from operators.durations import DurationMs
from operators.windows.slices import SessionWindow, TimeWindow

Positive = Annotated[DurationMs, Field(gt=0)]


class Tumbling(BaseModel):
    """Windows one after another: `{tumbling: 5m, offset: 0s}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    tumbling: Positive
    offset: DurationMs = Field("0s", validate_default=True)

    def window(self) -> TimeWindow:
        """Return the window's arithmetic."""
        return TimeWindow(self.tumbling, self.tumbling, self.offset % self.tumbling)


class Sliding(BaseModel):
    """Overlapping windows: `{sliding: 5m, every: 1m, offset: 0s}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    sliding: Positive
    every: Positive
    offset: DurationMs = Field("0s", validate_default=True)

    @model_validator(mode="after")
    def _every_fits(self) -> Sliding:
        if self.every > self.sliding:
            raise ValueError("every must not be longer than the window: events between windows would be lost")
        return self

    def window(self) -> TimeWindow:
        """Return the window's arithmetic."""
        return TimeWindow(self.sliding, self.every, self.offset % self.every)


class Session(BaseModel):
    """Windows that end after a silence: `{session: 30m}`."""

    model_config = ConfigDict(frozen=True, extra="forbid")
    session: Positive

    def window(self) -> SessionWindow:
        """Return the window's arithmetic."""
        return SessionWindow(self.session)


def _which(value: object) -> str | None:
    if isinstance(value, dict):
        return next((name for name in ("tumbling", "sliding", "session") if name in value), None)
    return type(value).__name__.lower()


WindowSpec = Annotated[
    Annotated[Tumbling, Tag("tumbling")]
    | Annotated[Sliding, Tag("sliding")]
    | Annotated[Session, Tag("session")],
    Discriminator(
        _which,
        custom_error_type="window_type",
        custom_error_message="expected a window: {tumbling: 5m}, {sliding: 5m, every: 1m} or {session: 30m}",
    ),
]
