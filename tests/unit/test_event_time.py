from __future__ import annotations

import datetime as dt
import math
from pathlib import Path
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from operators.events.event_time import (
    MAX_TIME_MS,
    MIN_TIME_MS,
    format_time,
    pattern_problem,
    read_event_time,
    zone_exists,
)

ONLINE_RETAIL = Path(__file__).parents[3] / "shared/data/online_retail/online_retail.csv.gz"
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
LONDON = ZoneInfo("Europe/London")


def read(values: list[object], unit: str, zone: str | None = None) -> list[int | None]:
    return read_event_time(pl.Series(values, strict=False), unit, zone).to_list()


def epoch_ms(when: dt.datetime) -> int:
    return (when - EPOCH) // dt.timedelta(milliseconds=1)


def london_ms(local: dt.datetime) -> int | None:
    """What Python's own zones say: the first of two, and nothing for a time that was skipped."""
    first = local.replace(tzinfo=LONDON, fold=0)
    exists = first.astimezone(dt.timezone.utc).astimezone(LONDON).replace(tzinfo=None) == local
    return epoch_ms(first.astimezone(dt.timezone.utc)) if exists else None


def test_long_units_round_towards_the_past() -> None:
    assert read([0, 1, -1, None], "s") == [0, 1_000, -1_000, None]
    assert read([0, 1, -1, None], "ms") == [0, 1, -1, None]
    assert read([0, 999, 1_000, -1, -1_000, -1_001], "us") == [0, 0, 1, -1, -1, -2]


def test_double_units_round_towards_the_past() -> None:
    assert read([1.9, -0.5, 0.0], "ms") == [1, -1, 0]
    assert read([1_999.9, -0.5, -1_000.0], "us") == [1, -1, -1]
    assert read([1.0015, -0.0005, 1.25], "s") == [1_001, -1, 1_250]


@settings(max_examples=300)
@given(st.integers(0, 4_000_000_000_000))
def test_milliseconds_written_as_double_seconds_come_back(time_ms: int) -> None:
    assert read([time_ms / 1000], "s") == [time_ms]


def test_numbers_may_be_texts() -> None:
    assert read(["1700000000", "1700000000.123", "-1", "x", "", None, "1e3"], "s") == [
        1_700_000_000_000, 1_700_000_000_123, -1_000, None, None, None, 1_000_000,
    ]  # fmt: skip
    assert read(["1700000000123", "12.9"], "ms") == [1_700_000_000_123, 12]


def test_a_number_that_is_no_time_is_null() -> None:
    assert read([math.nan, math.inf, -math.inf, 1e300, None], "s") == [None] * 5
    assert read([2**63 - 1, -(2**63), 0], "s") == [None, None, 0]
    assert read([MAX_TIME_MS, MAX_TIME_MS + 1, MIN_TIME_MS, MIN_TIME_MS - 1], "ms") == [
        MAX_TIME_MS, None, MIN_TIME_MS, None,
    ]  # fmt: skip
    assert read(["99999999999999999999", "nan"], "ms") == [None, None]


@settings(max_examples=300)
@given(
    st.lists(
        st.tuples(
            st.datetimes(dt.datetime(1, 1, 3), dt.datetime(9999, 12, 28)),
            st.sampled_from("T "),
            st.sampled_from([0, 3, 6]),
            st.none() | st.integers(-23 * 60 - 59, 23 * 60 + 59),
            st.booleans(),
        ),
        max_size=20,
    )
)
def test_iso_date_times_are_read_as_python_reads_them(cases: list[tuple]) -> None:
    texts, truth = [], []
    for when, separator, digits, offset, colon in cases:
        when = when.replace(
            microsecond=when.microsecond if digits == 6 else when.microsecond // 1000 * 1000 * (digits > 0)
        )
        text = when.isoformat(separator, {0: "seconds", 3: "milliseconds", 6: "microseconds"}[digits])
        zone = dt.timezone.utc if offset is None else dt.timezone(dt.timedelta(minutes=offset))
        if offset is not None:
            sign, hours, minutes = "+-"[offset < 0], abs(offset) // 60, abs(offset) % 60
            text += f"{sign}{hours:02d}{':' if colon else ''}{minutes:02d}"
        elif colon:
            text += "Z"
        texts.append(text)
        truth.append(epoch_ms(when.replace(tzinfo=zone)))
    assert read_event_time(pl.Series(texts, dtype=pl.String), "iso8601").to_list() == truth


@pytest.mark.parametrize(
    ("text", "time_ms"),
    [
        ("1970-01-01T00:00:00.1", 100),
        ("1970-01-01T00:00:00.12Z", 120),
        ("1970-01-01T00:00:00,123456789Z", 123),
        ("1969-12-31T23:59:59.999999999Z", -1),
        ("1970-01-01t00:00:00.12345z", 123),
        ("1970-01-01 01:00:00+01", 0),
        ("1969-12-31 23:00:00.5-01:00", 500),
        ("2000-02-29T00:00:00Z", 951_782_400_000),
        ("0001-01-01T00:00:00Z", MIN_TIME_MS),
        ("9999-12-31T23:59:59.999Z", MAX_TIME_MS),
    ],
)
def test_each_form_of_iso_date_times_is_read(text: str, time_ms: int) -> None:
    assert read([text, None, text + "!", "x"], "iso8601") == [time_ms, None, None, None]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1970-01-01",
        "1970-01-01T00:00",
        "1970-01-01T00:00:00.",
        "1970-01-01T00:00:00.1234567890",
        "1970-01-01T00:00:60Z",
        "1970-01-01T24:00:00Z",
        "1970-01-01T00:60:00Z",
        "1970-13-01T00:00:00Z",
        "1970-00-01T00:00:00Z",
        "1970-01-00T00:00:00Z",
        "1970-04-31T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2023-02-29T00:00:00Z",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+00:01",
        "1970-01-01T00:00:00+24:00",
        "1970-01-01T00:00:00+00:60",
        "1970-01-01T00:00:00+1",
        "1970-01-01T00:00:00+0:00",
        "1970-01-01T00:00:00ZZ",
        "1970/01/01T00:00:00Z",
        "1970-01-01_00:00:00Z",
        "1970-01-01T00.00.00Z",
        " 1970-01-01T00:00:00",
        "+970-01-01T00:00:00",
        "1970-01-01T00:00:00.1a",
        "197\uff10-01-01T00:00",
        "1970-01-01T0a:00:00Z",
        "1970-01-01T00:00:00.12 ",
        "1970-01-01T00:00:00*00:00",
        "1970-01-01T00:00:00+00-00",
    ],
)
def test_what_is_no_iso_date_time_is_null(text: str) -> None:
    assert read([text], "iso8601") == [None]
    assert read(["1970-01-01T00:00:00Z", text], "iso8601") == [0, None]


@settings(max_examples=300)
@given(st.text("0123456789-:T Z+.", min_size=19, max_size=35))
def test_a_random_text_is_read_only_if_python_reads_it_too(text: str) -> None:
    (time_ms,) = read([text], "iso8601")
    if time_ms is not None:
        assert dt.datetime.strptime(text[:19].replace(" ", "T"), "%Y-%m-%dT%H:%M:%S")


def test_no_rows_and_only_nulls_are_fine() -> None:
    for unit in ("s", "iso8601", "%Y-%m-%d"):
        assert read_event_time(pl.Series([], dtype=pl.String), unit, None).to_list() == []
        assert read_event_time(pl.Series([None], dtype=pl.String), unit, None).to_list() == [None]


def test_a_slice_of_a_longer_column_is_read_by_its_own_rows() -> None:
    texts = pl.Series([f"1970-01-01T00:00:{second:02d}Z" for second in range(60)])
    assert read_event_time(texts[7:9], "iso8601").to_list() == [7_000, 8_000]


@pytest.mark.parametrize("unit", ["iso8601", "%Y-%m-%dT%H:%M:%S"])
def test_local_times_across_both_clock_changes_agree_with_python(unit: str) -> None:
    locals_ = [
        day + dt.timedelta(minutes=7 * step)
        for day in (
            dt.datetime(2024, 3, 30, 20),
            dt.datetime(2024, 10, 26, 20),
            dt.datetime(2011, 10, 29, 20),
        )
        for step in range(100)
    ]
    truth = [london_ms(local) for local in locals_]
    assert None in truth
    assert read([local.isoformat() for local in locals_], unit, "Europe/London") == truth


def test_a_repeated_local_time_is_its_first_and_a_skipped_one_does_not_exist() -> None:
    texts = ["2024-10-27 01:30:00", "2024-03-31 01:30:00", "2024-10-27 02:00:00"]
    assert read(texts, "iso8601", "Europe/London") == [
        epoch_ms(dt.datetime(2024, 10, 27, 0, 30, tzinfo=dt.timezone.utc)),
        None,
        epoch_ms(dt.datetime(2024, 10, 27, 2, 0, tzinfo=dt.timezone.utc)),
    ]


def test_a_text_that_names_its_offset_is_not_local() -> None:
    texts = ["2024-07-01T12:00:00", "2024-07-01T12:00:00Z", "2024-07-01T12:00:00+02:00", None]
    noon = epoch_ms(dt.datetime(2024, 7, 1, 12, tzinfo=dt.timezone.utc))
    assert read(texts, "iso8601", "Europe/London") == [noon - 3_600_000, noon, noon - 7_200_000, None]


def test_patterns_are_read_with_and_without_a_zone() -> None:
    texts = ["01/07/2011 12:30", "31/02/2011 12:30", None, "x"]
    noon = epoch_ms(dt.datetime(2011, 7, 1, 12, 30, tzinfo=dt.timezone.utc))
    assert read(texts, "%d/%m/%Y %H:%M") == [noon, None, None, None]
    assert read(texts, "%d/%m/%Y %H:%M", "Europe/London") == [noon - 3_600_000, None, None, None]
    assert read(["1969-12-31 23:59:59.9999"], "%Y-%m-%d %H:%M:%S%.f") == [-1]
    assert read(["2011-07-01 12:30:00+0200"], "%Y-%m-%d %H:%M:%S%z") == [noon - 7_200_000]
    assert read(["2011-07-01"], "%Y-%m-%d") == [noon - 45_000_000]


def test_fractions_of_a_logging_time_are_milliseconds() -> None:
    texts = ["2024-03-01 10:00:00,100", "2024-03-01 10:00:00,9", "2024-03-01 10:00:01,250000"]
    ten = epoch_ms(dt.datetime(2024, 3, 1, 10, tzinfo=dt.timezone.utc))
    assert read(texts, "%Y-%m-%d %H:%M:%S,%f") == [ten + 100, ten + 900, ten + 1250]
    assert read(["2024-03-01 10:00:00.123456789", "2024-03-01 10:00:00"], "%F %T%.f") == [ten + 123, ten]


@pytest.mark.parametrize(
    ("pattern", "told"),
    [
        ("%Y-%m-%d %Q", "%Q is no directive; allowed are %a %A"),
        ("%Y-%m-%d %I:%M", "%I, an hour up to 12, and %p, AM or PM, go together"),
        ("%Y-%m-%d %H:%M %p", "go together"),
        ("%d.%m. %H:%M", "it needs a year, a month and a day"),
        ("%Y-%m-%d %d", "expected each directive once, got %d more than once"),
        ("%Y-%m-%d %V", "ISO week directive '%V' must be used with"),
        ("%Y-%m-%d %Z", "names of zones are ambiguous"),
    ],
)
def test_a_pattern_that_cannot_be_honoured_is_told_with_what_is_wrong(pattern: str, told: str) -> None:
    assert told in pattern_problem(pattern)


def test_patterns_without_a_full_date_are_found_out() -> None:
    assert all(
        pattern_problem(good) is None for good in ("%Y-%m-%d", "%s", "%d/%m/%y %H:%M", "%FT%T%z", "%b %d %Y")
    )
    assert all(pattern_problem(bad) for bad in ("%H:%M", "%Y-%m", "%Q", "%", "%%", "%Y-%m-%d %Z"))


def test_zones_are_those_of_the_iana_database() -> None:
    assert zone_exists("Europe/London") and zone_exists("UTC") and zone_exists("Asia/Kolkata")
    assert not zone_exists("Europe/Londn") and not zone_exists("") and not zone_exists("+01:00")


def test_times_are_written_in_utc() -> None:
    assert [format_time(ms) for ms in (0, -1, 951_782_400_500)] == [
        "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.999Z", "2000-02-29T00:00:00.500Z",
    ]  # fmt: skip
    assert format_time(MAX_TIME_MS + 1) == "253402300800000 ms"


def test_every_time_of_a_real_shop_in_london_is_read_as_python_reads_it() -> None:
    if not ONLINE_RETAIL.exists():
        pytest.skip(f"the online_retail data set is not beside the project ({ONLINE_RETAIL.name})")
    texts = pl.read_csv(ONLINE_RETAIL, columns=["InvoiceDate"], infer_schema=False)["InvoiceDate"]
    distinct = texts.unique(maintain_order=True)
    assert (len(texts), len(distinct)) == (541_909, 23_260)
    truth = [london_ms(dt.datetime.fromisoformat(text)) for text in distinct]
    assert read_event_time(distinct, "iso8601", "Europe/London").to_list() == truth
    assert read_event_time(distinct, "%Y-%m-%d %H:%M:%S", "Europe/London").to_list() == truth
