"""The `windows:` of the pipeline file."""

from __future__ import annotations

import pytest
from pydantic import TypeAdapter, ValidationError

from operators.windows.slices import SessionWindow, TimeWindow
from operators.windows.window_spec import WindowSpec

SPEC = TypeAdapter(WindowSpec)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"tumbling": "5m"}, TimeWindow(300_000, 300_000)),
        ({"tumbling": "1d", "offset": "8h"}, TimeWindow(86_400_000, 86_400_000, 28_800_000)),
        ({"sliding": "5m", "every": "1m"}, TimeWindow(300_000, 60_000)),
        ({"sliding": "5m", "every": "5m"}, TimeWindow(300_000, 300_000)),
        ({"session": "30m"}, SessionWindow(1_800_000)),
        ({"tumbling": "5m", "offset": "12m"}, TimeWindow(300_000, 300_000, 120_000)),
        ({"sliding": "5m", "every": "1m", "offset": "61s"}, TimeWindow(300_000, 60_000, 1_000)),
    ],
)
def test_a_window_is_read(given, expected) -> None:
    assert SPEC.validate_python(given).window() == expected


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"hopping": "5m"}, "expected a window: {tumbling: 5m}"),
        ("5m", "expected a window"),
        ({"tumbling": "0s"}, "greater than 0"),
        ({"session": "0ms"}, "greater than 0"),
        ({"sliding": "5m"}, "every"),
        ({"sliding": "5m", "every": "0s"}, "greater than 0"),
        ({"sliding": "5m", "every": "6m"}, "must not be longer than the window"),
        ({"tumbling": "5m", "every": "1m"}, "Extra inputs"),
        ({"session": "5m", "offset": "1m"}, "Extra inputs"),
        ({"tumbling": 300}, "expected a duration such as"),
    ],
)
def test_a_wrong_window_is_refused_with_what_is_allowed(given, message) -> None:
    with pytest.raises(ValidationError, match=message):
        SPEC.validate_python(given)


def test_a_window_is_written_as_it_is_read() -> None:
    given = {"sliding": "5m", "every": "1m", "offset": "10s"}
    assert SPEC.dump_python(SPEC.validate_python(given), mode="json") == given
