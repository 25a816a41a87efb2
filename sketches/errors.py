"""The two kinds of error that sketches raise: a bad argument and bad data."""

from __future__ import annotations


class SketchError(ValueError):
    """Whatever a sketch refuses."""


class BadArgument(SketchError):
    """The caller passed a value that the sketch cannot take: a parameter, an update, a sketch to merge."""


class BadData(SketchError):
    """The bytes are not a whole, unharmed image of the sketch that was asked for."""
