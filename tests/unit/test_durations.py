from __future__ import annotations

import pytest
from pydantic import BaseModel, ValidationError

from operators.durations import MAX_DURATION_MS, DurationMs, DurationMsOrOff, format_duration, parse_duration


class _Holder(BaseModel):
    gap: DurationMs = 0
    ahead: DurationMsOrOff = None


@pytest.mark.parametrize(
    ("text", "duration_ms"),
    [("500ms", 500), ("5s", 5_000), ("1m", 60_000), ("2h", 7_200_000), ("1d", 86_400_000), ("0s", 0)],
)
def test_each_unit_is_read_and_written_back(text: str, duration_ms: int) -> None:
    assert parse_duration(text) == duration_ms
    assert format_duration(duration_ms) == text


def test_the_largest_unit_that_divides_is_written() -> None:
    assert [format_duration(ms) for ms in (1_500, 90_000, 5_400_000, 129_600_000)] == [
        "1500ms",
        "90s",
        "90m",
        "36h",
    ]


@pytest.mark.parametrize(
    "bad", ["", "5", "s", "5 s", "1.5s", "-1s", "5S", "1h30m", " 5s", "5s\n", "\u0665s", 5, None, True]
)
def test_anything_else_is_refused_and_the_message_shows_what_is_expected(bad: object) -> None:
    with pytest.raises(ValueError, match="expected a duration such as 500ms, 5s, 1m, 2h or 1d, got"):
        parse_duration(bad)  # type: ignore[arg-type]


def test_a_duration_beyond_a_hundred_years_is_refused() -> None:
    assert parse_duration(f"{MAX_DURATION_MS}ms") == MAX_DURATION_MS
    with pytest.raises(ValueError, match="at most"):
        parse_duration(f"{MAX_DURATION_MS + 1}ms")


def test_a_negative_duration_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="0 ms or more"):
        format_duration(-1)


def test_a_model_holds_milliseconds_and_writes_text() -> None:
    holder = _Holder(gap="90s", ahead="1h")
    assert (holder.gap, holder.ahead) == (90_000, 3_600_000)
    assert holder.model_dump() == {"gap": "90s", "ahead": "1h"}
    assert _Holder.model_validate_json(holder.model_dump_json()) == holder


def test_off_is_accepted_as_text_and_as_what_yaml_makes_of_it() -> None:
    assert _Holder(ahead="off").ahead is None
    assert _Holder(ahead=False).ahead is None
    assert _Holder(ahead="off").model_dump()["ahead"] == "off"
    for bad in (True, 0, None, "on"):
        with pytest.raises(ValidationError, match="expected a duration"):
            _Holder(ahead=bad)


def test_the_schema_has_the_pattern() -> None:
    schema = _Holder.model_json_schema()["properties"]["gap"]
    assert (schema["type"], schema["pattern"]) == ("string", "^[0-9]+(ms|s|m|h|d)$")
