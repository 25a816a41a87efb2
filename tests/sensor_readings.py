"""Writes `pipelines/sensors.csv.gz`: four simulated sensors for eight and a half days, always the same ones.

    python tests/sensor_readings.py pipelines/sensors.csv.gz

Each sensor reads once a minute. What rules are to find is in it once: a door that stands open (`cold_room`),
an hour of a racing heart (`wearer`), a sensor that is silent for a while (`store`) and a line that begins to
leak (`line`). Some readings cannot be, and some lines cannot be read.
"""

from __future__ import annotations

import gzip
import io
import random
import sys
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from math import pi, sin
from pathlib import Path

BEGIN = datetime(2026, 3, 2, tzinfo=timezone.utc)
STEP = timedelta(minutes=1)
DAYS = 8.5
HEADER = "time,sensor,kind,value"
IMPOSSIBLE = {"cold_room": -999.0, "store": 131.0, "line": -1.0, "wearer": 512.0}
"""What each sensor gives where it is broken."""

OPEN_DOOR = (4 + 14 / 24, 4 + 14.5 / 24)
RACING_HEART = (5 + 10 / 24, 5 + 11 / 24)
SILENCE = (6 + 3 / 24, 6 + 5.5 / 24)
LEAK = 7.25
"""When what rules are to find begins and ends, in days after `BEGIN`."""


def cold_room(day: float, noise: float) -> float:
    """Celsius: warmer in the afternoon, and where the door is open."""
    return -18.0 + 0.6 * sin(2 * pi * (day - 0.4)) + 0.2 * noise + (9.0 if _within(day, OPEN_DOOR) else 0.0)


def store(day: float, noise: float) -> float:
    """Per cent of relative humidity: the opposite of the temperature outside."""
    return 46.0 - 4.0 * sin(2 * pi * (day - 0.4)) + 0.6 * noise


def line(day: float, noise: float) -> float:
    """Bar: as it is set, until it leaks."""
    return 4.0 + 0.03 * noise - 0.3 * max(0.0, day - LEAK)


def wearer(day: float, noise: float) -> float:
    """Beats a minute: slow at night."""
    awake = max(0.0, sin(2 * pi * (day % 1.0 - 0.28)))
    return 58.0 + 22.0 * awake + 3.0 * noise + (75.0 if _within(day, RACING_HEART) else 0.0)


SENSORS = {
    "cold_room": ("temperature", cold_room, 1),
    "store": ("humidity", store, 0),
    "line": ("pressure", line, 2),
    "wearer": ("heart_rate", wearer, 0),
}
"""Kind, what it measures, and how many decimals it gives."""


def lines() -> Iterator[str]:
    """Yield the lines of the file, in the order of their times."""
    chance = random.Random(20)
    yield HEADER
    for step in range(int(DAYS * timedelta(days=1) / STEP)):
        time, day = BEGIN + step * STEP, step * (STEP / timedelta(days=1))
        for name, (kind, measure, decimals) in SENSORS.items():
            value, luck = measure(day, chance.gauss(0, 1)), chance.random()
            if name == "store" and _within(day, SILENCE):
                continue
            text = f"{IMPOSSIBLE[name] if luck < 0.0004 else value:.{decimals}f}"
            if luck > 0.9998:
                text = "#ERR"
            yield f"{time:%Y-%m-%dT%H:%M:%SZ},{name},{kind},{text}"


def packed() -> bytes:
    """Return the file: gzip, without a name and a time, so that it is the same every time."""
    buffer = io.BytesIO()
    with gzip.GzipFile(fileobj=buffer, mode="wb", mtime=0) as file:
        file.write("".join(f"{line}\n" for line in lines()).encode())
    return buffer.getvalue()


def _within(day: float, span: tuple[float, float]) -> bool:
    return span[0] <= day < span[1]


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(packed())
