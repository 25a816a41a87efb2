"""Payloads: where each one lies, tombstones, records of files."""

from __future__ import annotations

from operators.parsing import CsvFormat
from operators.parsing.payloads import Payloads


def contents(payloads: Payloads) -> list[bytes | None]:
    return [payloads.payload(i) for i in range(len(payloads))]


def test_messages_keep_their_bytes_and_tombstones_stay_apart_from_empty_messages() -> None:
    messages = [b"a", None, b"", b"x\ny\n", "é".encode()]
    payloads = Payloads.from_messages(messages)
    assert contents(payloads) == messages
    assert (payloads.starts[1], payloads.ends[1]) == (-1, -1)
    assert payloads.starts.dtype == payloads.ends.dtype == "int64"


def test_no_messages_make_no_payloads() -> None:
    assert len(Payloads.from_messages([])) == len(Payloads.from_lines(b"")) == 0
    assert contents(Payloads.from_messages([None, None])) == [None, None]


def test_lines_lose_their_ends_and_blank_ones_count_but_are_no_records() -> None:
    payloads = Payloads.from_lines(b"one\r\n\n\r\ntwo\nthree")
    assert contents(payloads) == [b"one", b"two", b"three"]
    assert payloads.lines.tolist() == [0, 3, 4]


def test_a_newline_inside_quotes_ends_no_record() -> None:
    payloads = Payloads.from_lines(b'a,"b\nc"\n\nd,"e ""f""\n\n"\ng\n', CsvFormat())
    assert contents(payloads) == [b'a,"b\nc"', b'd,"e ""f""\n\n"', b"g"]
    assert payloads.lines.tolist() == [0, 3, 6]


def test_a_quote_that_is_never_closed_takes_its_own_line_alone() -> None:
    payloads = Payloads.from_lines(b'a\n"b\n"c\nd"\n"e"f\ng', CsvFormat())
    assert contents(payloads) == [b"a", b'"b', b'"c\nd"', b'"e"f', b"g"]
    assert payloads.lines.tolist() == [0, 1, 2, 4, 5] and payloads.line_counts.tolist() == [1, 1, 2, 1, 1]
