"""Vectors of texts. What makes them is behind one small interface, so that a model may take its place."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Protocol

import mmh3
import numpy as np

_WORD = re.compile(r"\w+")
_SEED = 9001
_WORD_WEIGHT, _PAIR_WEIGHT, _PIECE_WEIGHT = 1.0, 0.5, 0.35
_PIECE = 3
_LONGEST = 4_096


class TextEncoder(Protocol):
    """Makes vectors whose cosine says how much texts are alike."""

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector of length 1 for each text, zeros for one without a word, `(n, d) float32`."""


class HashingEncoder:
    """Words, pairs of words and pieces of three characters, each added with a sign to one coordinate.

    Which coordinate and sign follow from a hash of the feature, so that the expected cosine of two vectors is
    that of their features' counts, off by about `1 / sqrt(dimension)`; it is the same in every process. It
    knows spelling, not meaning: words that share most of their letters are alike, synonyms are not. Of a text
    the first 4,096 characters count.

    Args:
        dimension: the length of the vectors.

    Source: Weinberger et al., Feature Hashing for Large Scale Multitask Learning, 2009.

    >>> one, two, other = HashingEncoder(256).encode(["red running shoe", "running shoes", "green tea"])
    >>> bool(one @ two > 0.4 > 0.2 > one @ other)
    True
    """

    def __init__(self, dimension: int) -> None:
        """Take the dimension."""
        self._dimension = dimension

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return a vector of length 1 for each text, zeros for one without a word, `(n, d) float32`."""
        vectors = np.zeros((len(texts), self._dimension))
        for row, text in enumerate(texts):
            for feature, weight in _features(text).items():
                place, sign = mmh3.hash64(feature, _SEED, signed=False)
                vectors[row, place % self._dimension] += weight if sign & 1 else -weight
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)


def _features(text: str) -> Counter[str]:
    """Return the features of a text with their weights."""
    words = _WORD.findall(unicodedata.normalize("NFKC", text[:_LONGEST]).casefold())
    found: Counter[str] = Counter()
    _add(found, (f"w {word}" for word in words), _WORD_WEIGHT)
    _add(found, (f"p {one} {two}" for one, two in pairwise(words)), _PAIR_WEIGHT)
    for word in words:
        framed = f"<{word}>"
        _add(found, (f"c {framed[i : i + _PIECE]}" for i in range(len(framed) - _PIECE + 1)), _PIECE_WEIGHT)
    return found


def _add(found: Counter[str], features: Iterable[str], weight: float) -> None:
    for feature in features:
        found[feature] += weight
