"""Series of the Numenta Anomaly Benchmark, and alerts held against their labelled anomalies.

A labelled window is found if an alert begins to fire within it. An alert that begins to fire within none is
false, also in the first part of a series, which Numenta's own score leaves out.
"""

from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
WEEK_MS = 7 * DAY_MS
SERIES = {
    "machine": "realKnownCause/machine_temperature_system_failure.csv",
    "taxi": "realKnownCause/nyc_taxi.csv",
    "ambient": "realKnownCause/ambient_temperature_system_failure.csv",
    "cpu": "realKnownCause/cpu_utilization_asg_misconfiguration.csv",
    "twitter": "realTweets/Twitter_volume_AAPL.csv",
}
"""What each series is called in the benchmark."""

Span = tuple[int, int]


@dataclass(frozen=True)
class Series:
    """Readings of one sensor.

    Attributes:
        name: the sensor.
        times_ms: times as they are in the file, `(n,) int64`.
        values: readings, `(n,) float64`.
        labelled: the labelled windows, both ends within.
    """

    name: str
    times_ms: np.ndarray
    values: np.ndarray
    labelled: Sequence[Span]

    def events(self) -> list[dict[str, Any]]:
        """The readings as events of `pipelines/sensors.yaml`."""
        pairs = zip(self.times_ms.tolist(), self.values.tolist(), strict=True)
        return [{"time": _text(time), "sensor": self.name, "kind": "other", "value": v} for time, v in pairs]

    def score(self, alerts_ms: Iterable[int]) -> Score:
        """Hold the times at which alerts began to fire against the labels."""
        hits = [[begin <= time <= end for begin, end in self.labelled] for time in alerts_ms]
        found = sum(map(any, zip(*hits, strict=True)))
        weeks = float(self.times_ms.max() - self.times_ms.min()) / WEEK_MS
        return Score(found, len(self.labelled), sum(not any(own) for own in hits), weeks)


@dataclass(frozen=True)
class Score:
    """How many of the labelled windows were found, and how many alerts were false in how many weeks."""

    found: int
    labelled: int
    false: int
    weeks: float

    def told(self) -> tuple[int, int, int]:
        """Found, labelled, false."""
        return self.found, self.labelled, self.false

    def is_good(self) -> bool:
        """Whether half of the windows were found, with one false alert a week at most."""
        return 2 * self.found >= self.labelled and self.false <= self.weeks


def read_part(folder: Path) -> Series:
    """Read the part of a series that comes with the project."""
    labels = json.loads((folder / "machine_temperature_windows.json").read_text(encoding="utf-8"))
    return _read(folder / "machine_temperature_part.csv.gz", "machine", labels)


def read_series(folder: Path) -> dict[str, Series]:
    """Read all series from the folder of recorded event streams."""
    labels = json.loads((folder / "nab" / "combined_windows.json").read_text(encoding="utf-8"))
    return {
        name: _read(folder / "nab" / f"{Path(path).name}.gz", name, labels) for name, path in SERIES.items()
    }


def in_one_stream(series: Iterable[Series]) -> list[dict[str, Any]]:
    """The events of several series by time; those of each stay in the order of its file."""
    arrivals = [
        (int(arrival), event)
        for one in series
        for arrival, event in zip(np.maximum.accumulate(one.times_ms), one.events(), strict=True)
    ]
    return [event for _, event in sorted(arrivals, key=lambda arrival: arrival[0])]


def write_csv(path: Path, events: Iterable[Mapping[str, Any]]) -> None:
    """Write events as the file that `pipelines/sensors.yaml` reads."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ("time", "sensor", "kind", "value"))
        writer.writeheader()
        writer.writerows(events)


def window_means(one: Series, size_ms: int, every_ms: int) -> tuple[np.ndarray, np.ndarray]:
    """Means over windows that have readings, by numpy: their ends and means, `(n,)` each."""
    starts = one.times_ms // every_ms
    parts = [(starts - back, one.values) for back in range(size_ms // every_ms)]
    of_window, values = (np.concatenate(column) for column in zip(*parts, strict=True))
    windows, which = np.unique(of_window, return_inverse=True)
    return windows * every_ms + size_ms, np.bincount(which, values) / np.bincount(which)


def drifts(
    ends_ms: np.ndarray, means: np.ndarray, before: int, away: float, held_for: int, clear: float
) -> list[int]:
    """Tell by numpy when a rule on means begins to fire that are so many deviations away from those before.

    Args:
        ends_ms: the ends of windows, in order.
        means: their means.
        before: with how many windows before it each is compared; a week of hours is the least.
        away: how many standard deviations is too far.
        held_for: for how many windows in a row.
        clear: at how many it is over.
    """
    fired, streak, firing = [], 0, False
    for at in range(168, len(means)):
        known = means[max(0, at - before) : at]
        distance, deviation = abs(means[at] - known.mean()), known.std()
        if firing:
            firing = not distance <= clear * deviation
            streak = 0
            continue
        streak = streak + 1 if distance > away * deviation else 0
        if streak >= held_for:
            fired.append(int(ends_ms[at]))
            firing = True
    return fired


def _read(path: Path, name: str, labels: Mapping[str, Sequence[Sequence[str]]]) -> Series:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    times = np.array([_epoch_ms(row["timestamp"]) for row in rows], np.int64)
    windows = [(_epoch_ms(begin), _epoch_ms(end)) for begin, end in labels[SERIES[name]]]
    return Series(name, times, np.array([float(row["value"]) for row in rows]), windows)


def _epoch_ms(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp() * 1000)


def _text(time_ms: int) -> str:
    return f"{datetime.fromtimestamp(time_ms / 1000, timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
