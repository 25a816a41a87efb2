"""Vectors of texts: the same everywhere, near where words and spelling are alike."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from operators.similar.text_encoder import HashingEncoder

TITLES = [
    "Red running shoe", "red running shoes for men", "Running shoe, red", "blue hiking boot",
    "green tea 100 g", "Green teapot", "teapot of green glass", "wireless mouse",
]  # fmt: skip


def cosines(dimension: int = 256) -> np.ndarray:
    vectors = HashingEncoder(dimension).encode(TITLES)
    return vectors @ vectors.T


def test_texts_with_the_same_words_are_nearest() -> None:
    alike = cosines()
    for one, other in ((0, 2), (0, 1), (5, 6)):
        unrelated = [n for n in range(len(TITLES)) if n not in (0, 1, 2, 5, 6)]
        assert alike[one, other] > 0.4 > alike[one, unrelated].max()


def test_spelling_that_is_nearly_right_is_near_and_case_and_form_of_letters_do_not_count() -> None:
    encode = HashingEncoder(256).encode
    right, wrong, other = encode(["headphones", "headphnoes", "television"])
    assert right @ wrong > 0.3 > right @ other
    one, two = encode(["CAF\u00c9 \uff34ea", "cafe\u0301 tea"])
    assert one == pytest.approx(two)


def test_the_cosine_is_about_that_of_the_counts_of_features() -> None:
    encode = HashingEncoder(4096).encode
    (one, other) = encode(["a b c d", "a b x y"])
    # Words count 1 each, pairs 0.5, pieces 0.35: 4, 3 and 4 of them, of which 2, 1 and 2 are shared.
    expected = (2 + 0.25 + 2 * 0.35**2) / (4 + 3 * 0.25 + 4 * 0.35**2)
    assert one @ other == pytest.approx(expected, abs=0.05)


def test_every_vector_has_length_one_but_that_of_a_text_without_a_word() -> None:
    vectors = HashingEncoder(64).encode([*TITLES, "", " !?", "a", "\ud800", "x" * 10_000])
    assert vectors.shape == (13, 64) and vectors.dtype == np.float32
    lengths = np.linalg.norm(vectors, axis=1)
    assert lengths[8:10].tolist() == [0, 0]
    assert np.delete(lengths, [8, 9, 11]) == pytest.approx(1)


def test_vectors_are_the_same_in_every_process_and_never_change() -> None:
    script = (
        "from operators.similar.text_encoder import HashingEncoder\n"
        "print(HashingEncoder(8).encode(['green tea']).round(4).tolist())"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", script], env={"PYTHONHASHSEED": seed}, capture_output=True, text=True
        ).stdout
        for seed in ("1", "2")
    }
    assert told == {str(HashingEncoder(8).encode(["green tea"]).round(4).tolist()) + "\n"}


def test_of_a_long_text_the_beginning_counts() -> None:
    one, other, short = HashingEncoder(64).encode(["tea " * 1024 + "x", "tea " * 1024 + "y", "y"])
    assert one.tolist() == other.tolist() != short.tolist()


def test_no_text_gives_no_vector() -> None:
    assert HashingEncoder(16).encode([]).shape == (0, 16)
