"""Features of the events before: whether there was one, how long ago, its value, how far off, how fast."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import asin, cos, inf, isfinite, radians, sin, sqrt

from operators.rules.record_columns import Value
from operators.rules.resolved import FeatureColumn
from state.history import Last, Moments, Place

FURTHEST = 1_000_000.0
"""The most standard deviations that are told."""
_EARTH_KM = 6371.0088
"""The mean radius of the earth (IUGG)."""
_MS_AN_HOUR = 3_600_000
_LEAST_MS = 1000


class FirstRun:
    """Tells whether no event came before.

    Args:
        column: the feature.
    """

    new = Last

    def __init__(self, column: FeatureColumn) -> None:
        """Need nothing."""

    def run(
        self,
        states: Sequence[Last],
        owners: Sequence[int],
        clocks: Sequence[int],
        counts: Iterable[int],
        reads: Sequence[Sequence[Value]],
    ) -> list[Value]:
        """Return whether each event, in order, is the first."""
        told = []
        for owner, clock, counted in zip(owners, clocks, counts, strict=False):
            state = states[owner]
            told.append(state.time_ms is None)
            if counted:
                state.time_ms = clock
        return told


class SinceRun:
    """Tells how long ago the event before was.

    Args:
        column: the feature.
    """

    new = Last

    def __init__(self, column: FeatureColumn) -> None:
        """Need nothing."""

    def run(
        self,
        states: Sequence[Last],
        owners: Sequence[int],
        clocks: Sequence[int],
        counts: Iterable[int],
        reads: Sequence[Sequence[Value]],
    ) -> list[Value]:
        """Return the milliseconds before each event, in order; null where there was none before."""
        told = []
        for owner, clock, counted in zip(owners, clocks, counts, strict=False):
            state = states[owner]
            told.append(None if state.time_ms is None else clock - state.time_ms)
            if counted:
                state.time_ms = clock
        return told


class PreviousRun:
    """Tells the value of the event before.

    Args:
        column: the feature.
    """

    new = Last

    def __init__(self, column: FeatureColumn) -> None:
        """Need nothing."""

    def run(
        self,
        states: Sequence[Last],
        owners: Sequence[int],
        clocks: Sequence[int],
        counts: Iterable[int],
        reads: Sequence[Sequence[Value]],
    ) -> list[Value]:
        """Return the value before each event, in order; null where there was none before."""
        told = []
        for owner, counted, value in zip(owners, counts, reads[0], strict=False):
            state = states[owner]
            told.append(state.value)
            if counted:
                state.value = value
        return told


class DeviationsRun:
    """Tells how many standard deviations a number is away from its mean (population; Welford, 1962).

    Args:
        column: the feature.
    """

    new = Moments

    def __init__(self, column: FeatureColumn) -> None:
        """Take from how many events on it tells."""
        self._at_least = column.feature.at_least

    def run(
        self,
        states: Sequence[Moments],
        owners: Sequence[int],
        clocks: Sequence[int],
        counts: Iterable[int],
        reads: Sequence[Sequence[Value]],
    ) -> list[Value]:
        """Return the deviations of each event, in order; null without a number or enough events before."""
        at_least, told = self._at_least, []
        for owner, counted, value in zip(owners, counts, reads[0], strict=False):
            state = states[owner]
            told.append(None if value is None or state.count < at_least else _deviations(state, value))
            if counted and value is not None:
                off = value - state.mean
                mean = state.mean + off / (state.count + 1)
                squares = state.squares + off * (value - mean)
                if isfinite(squares):  # an overflow would void all later deviations
                    state.count, state.mean, state.squares = state.count + 1, mean, squares
        return told


class SpeedRun:
    """Tells how fast the way from the place of the event before was.

    Args:
        column: the feature.
    """

    new = Place

    def __init__(self, column: FeatureColumn) -> None:
        """Need nothing: columns are read in the order in which the feature names them."""

    def run(
        self,
        states: Sequence[Place],
        owners: Sequence[int],
        clocks: Sequence[int],
        counts: Iterable[int],
        reads: Sequence[Sequence[Value]],
    ) -> list[Value]:
        """Return the speed in km/h of each event, in order; null for the first, and without a place."""
        told = []
        latitudes, longitudes = reads[0], reads[-1]
        for owner, clock, counted, latitude, longitude in zip(
            owners, clocks, counts, latitudes, longitudes, strict=False
        ):
            if latitude is None or longitude is None:
                told.append(None)
                continue
            state = states[owner]
            if state.time_ms is None:
                told.append(None)
            else:
                way_km = distance_km(state.latitude, state.longitude, latitude, longitude)
                told.append(way_km * _MS_AN_HOUR / max(clock - state.time_ms, _LEAST_MS))
            if counted:
                state.time_ms, state.latitude, state.longitude = clock, latitude, longitude
        return told


def distance_km(latitude: float, longitude: float, other_latitude: float, other_longitude: float) -> float:
    """Return the length of the great circle between two places, by the haversine formula.

    Args:
        latitude: of the one, in degrees.
        longitude: of the one.
        other_latitude: of the other.
        other_longitude: of the other.

    >>> round(distance_km(52.52, 13.405, 48.8566, 2.3522))  # Berlin to Paris
    877
    """
    north = sin(radians(other_latitude - latitude) / 2)
    east = sin(radians(other_longitude - longitude) / 2)
    share = north * north + cos(radians(latitude)) * cos(radians(other_latitude)) * east * east
    return 2 * _EARTH_KM * asin(min(1.0, sqrt(max(0.0, share))))


def _deviations(state: Moments, value: float) -> float | None:
    off, spread = value - state.mean, sqrt(state.squares / state.count)
    if off == 0:
        return 0.0
    deviations = off / spread if spread else off * inf
    return max(-FURTHEST, min(FURTHEST, deviations)) if isfinite(spread) else None
