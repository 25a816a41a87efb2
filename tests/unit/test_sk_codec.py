"""The preamble: what goes in comes out, and nothing else gets through."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sketches.codec import Family, decode, encode
from sketches.errors import BadArgument, BadData, SketchError

IMAGE = encode(Family.COUNT_MIN, b"payload", version=2, flags=5, parameters=(3, 70_000), seed_hash=0x93CC)


def read(image: bytes):
    return decode(
        image, Family.COUNT_MIN, parameter_count=2, versions=(1, 2), known_flags=7, seed_hash=0x93CC
    )


@given(st.binary(max_size=50), st.lists(st.integers(0, 2**32 - 1), max_size=8), st.integers(0, 255))
def test_a_frame_comes_back_as_it_went(payload: bytes, parameters: list[int], flags: int) -> None:
    image = encode(Family.TOP_K, payload, flags=flags, parameters=tuple(parameters))
    frame = decode(image, Family.TOP_K, parameter_count=len(parameters), known_flags=255)
    assert (bytes(frame.payload), frame.parameters, frame.flags) == (payload, tuple(parameters), flags)


def test_the_wire_format_is_as_documented() -> None:
    assert IMAGE.hex() == "536b02020502cc93070000000300000070110100" + b"payload".hex()


def test_every_truncation_is_refused() -> None:
    for length in range(len(IMAGE)):
        with pytest.raises(BadData):
            read(IMAGE[:length])
    assert bytes(read(IMAGE).payload) == b"payload"


def test_trailing_bytes_are_refused() -> None:
    with pytest.raises(BadData, match="length"):
        read(IMAGE + b"\0")


@pytest.mark.parametrize(
    ("place", "field"),
    [
        (0, "magic"),
        (2, "family"),
        (3, "version"),
        (4, "flags"),
        (5, "parameters"),
        (6, "seed"),
        (8, "length"),
    ],
)
def test_a_field_of_another_value_is_named(place: int, field: str) -> None:
    changed = bytearray(IMAGE)
    changed[place] ^= 0x88
    with pytest.raises(BadData, match=field):
        read(bytes(changed))


@pytest.mark.parametrize(
    "arguments", [{"version": 256}, {"flags": -1}, {"parameters": (2**32,)}, {"parameters": (0,) * 9}]
)
def test_figures_that_do_not_fit_are_refused(arguments: dict) -> None:
    with pytest.raises(BadArgument):
        encode(Family.BLOOM, b"", **arguments)


def test_both_kinds_of_error_are_sketch_errors_and_value_errors() -> None:
    assert issubclass(BadArgument, SketchError)
    assert issubclass(BadData, SketchError)
    assert issubclass(SketchError, ValueError)
