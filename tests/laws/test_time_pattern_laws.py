"""Laws of time patterns: what is read with one is what `datetime.strptime` reads, or `check` refuses it."""

from __future__ import annotations

import datetime as dt
import re
import string
import warnings

import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from operators.events.event_time import MAX_TIME_MS, MIN_TIME_MS, pattern_problem, read_event_time

EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.timezone.utc)
WHENS = [
    dt.datetime(2024, 2, 29, 0, 5, 9, 1000), dt.datetime(1999, 12, 31, 23, 59, 59, 999_999),
    dt.datetime(1969, 1, 1, 12, 0, 0, 500_000), dt.datetime(2068, 7, 4, 13, 30),
]  # fmt: skip
DATES = [
    "%Y-%m-%d", "%d/%m/%y", "%Y%m%d", "%b %d %Y", "%d %B %Y", "%a %d %b %Y", "%A, %d. %B %Y", "%Y-%j", "%y%j",
    "%m/%d/%Y", "%Y %U %w", "%Y %W %a", "%G-W%V-%u", "%d%b%Y", "%w %Y/%m/%d",
]  # fmt: skip
TIMES = [
    "", " %H:%M", "T%H:%M:%S", " %H:%M:%S,%f", ":%H:%M:%S.%f", " %I:%M %p", " %I%p", " %H%M%S", "T%H%M%S%f",
    " at %H h %M", " 100%% %H",
]  # fmt: skip
ZONES = ["", "%z", " %z"]


def truth(text: str, pattern: str) -> int | None:
    """Milliseconds, rounded towards the past, of what the standard library reads."""
    try:
        when = dt.datetime.strptime(text, pattern)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=dt.timezone.utc)
    time_ms = (when - EPOCH) // dt.timedelta(milliseconds=1)
    return time_ms if MIN_TIME_MS <= time_ms <= MAX_TIME_MS else None


def check(texts: list[str], pattern: str) -> None:
    """Compares one batch with the standard library, and each text alone with the batch."""
    expected = [truth(text, pattern) for text in texts]
    assert read_event_time(pl.Series(texts, dtype=pl.String), pattern).to_list() == expected, pattern


def refused_by_strptime(pattern: str) -> bool:
    try:
        dt.datetime.strptime("", pattern)
    except ValueError as problem:
        return "does not match format" not in str(problem)
    except re.error:
        return True
    return False


@pytest.mark.parametrize("letter", [*string.ascii_letters, "%", ":z", "-d", ""])
@pytest.mark.parametrize("rest", ["", "%Y-%m-%d ", "%Y ", "%m-%d ", "%Y-%m-%d %H:%M "])
def test_each_directive_alone_and_beside_others_is_read_as_by_strptime_or_refused(
    letter: str, rest: str
) -> None:
    pattern = f"{rest}%{letter}"
    if pattern_problem(pattern) is not None:
        return
    if refused_by_strptime(pattern):
        assert letter in ("F", "T", "R", "D", "e", "h", "s", ":z"), pattern
        return
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check([when.replace(tzinfo=dt.timezone.utc).strftime(pattern) for when in WHENS], pattern)


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("time", TIMES)
@pytest.mark.parametrize("date", DATES)
def test_usual_patterns_are_allowed_and_read_what_strftime_wrote(date: str, time: str, zone: str) -> None:
    pattern = date + time + zone
    assert pattern_problem(pattern) is None
    written = [
        when.replace(tzinfo=dt.timezone(dt.timedelta(minutes=offset))).strftime(pattern)
        for when in WHENS
        for offset in (0, 330, -90)
    ]
    assert None not in [truth(text, pattern) for text in written]
    check(written, pattern)


@st.composite
def altered(draw: st.DrawFn, text: str) -> str:
    """A text as people write it otherwise: without zeros, in other case, with other blanks, or wrongly."""
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        way = draw(st.sampled_from(["zero", "case", "blank", "digit", "insert", "drop", "arabic", "Z"]))
        if way == "zero":
            text = re.sub(r"(?<!\d)0(?=\d)", draw(st.sampled_from(["", " "])), text, count=1)
        elif way == "case":
            text = draw(st.sampled_from([text.upper(), text.lower(), text.swapcase()]))
        elif way == "blank":
            text = text.replace(" ", draw(st.sampled_from(["  ", "\t", "\u3000", ""])), 1)
        elif way == "digit":
            text = text[:at] + draw(st.sampled_from("0123456789")) + text[at + 1 :]
        elif way == "insert":
            text = text[:at] + draw(st.sampled_from("0159 -+:.,TZzé\n\x1f")) + text[at:]
        elif way == "drop":
            text = text[:at] + text[at + 1 :]
        elif way == "arabic":
            text = text[:at] + text[at:].translate({ord("0") + n: chr(0x660 + n) for n in range(10)})
        else:
            text = re.sub(
                r"[+-]\d\d:?\d\d$", draw(st.sampled_from(["Z", "z", "+01:00", "-2359", "+0100:30"])), text
            )
    return text


@given(st.data())
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_as_by_strptime_whatever_its_neighbours(data: st.DataObject) -> None:
    pattern = (
        data.draw(st.sampled_from(DATES))
        + data.draw(st.sampled_from(TIMES))
        + data.draw(st.sampled_from(ZONES))
    )
    whens = st.datetimes(
        dt.datetime(1000, 1, 1),
        timezones=st.sampled_from([dt.timezone.utc, dt.timezone(dt.timedelta(hours=-3))]),
    )
    texts = [data.draw(altered(when.strftime(pattern))) for when in data.draw(st.lists(whens, max_size=8))]
    check(texts, pattern)


PIECES = st.sampled_from([f"%{letter}" for letter in "aAbBdfHIjmMpSUwWyYzGVu%"])
BETWEEN = st.text("-/:. ,T0z", max_size=2)


@given(
    st.lists(st.tuples(PIECES, BETWEEN), min_size=1, max_size=9),
    st.lists(st.datetimes(dt.datetime(1000, 1, 1)), max_size=4),
    st.data(),
)
@example([("%Y", ""), ("%m", ""), ("%d", ""), ("%H", "")], [dt.datetime(2024, 1, 2, 3)], None)
@settings(max_examples=600, deadline=None)
def test_any_pattern_is_read_as_by_strptime_or_refused(
    pieces: list[tuple[str, str]], whens: list[dt.datetime], data: st.DataObject | None
) -> None:
    pattern = "".join(directive + between for directive, between in pieces)
    if pattern_problem(pattern) is None:
        written = [when.replace(tzinfo=dt.timezone.utc).strftime(pattern) for when in whens]
        check(written if data is None else [data.draw(altered(text)) for text in written], pattern)
