"""Time patterns: the supported `strptime` directives, their validation, and parsing of a single text."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime, timedelta, timezone
from typing import Final

DIRECTIVES: Final = "%a %A %b %B %c %d %f %G %H %I %j %m %M %p %S %u %U %V %w %W %x %X %y %Y %z %%"
"""The directives of `datetime.strptime`, except %Z."""

EXTRA_DIRECTIVES: Final = "%F %T %R %D %e %h %:z %.f %s"
"""Additional directives: shorthands, offset %:z, optional fraction %.f of up to 9 digits, epoch seconds."""

_SHORT_FORMS: Final = {
    "%F": "%Y-%m-%d",
    "%T": "%H:%M:%S",
    "%X": "%H:%M:%S",
    "%R": "%H:%M",
    "%D": "%m/%d/%y",
    "%x": "%m/%d/%y",
    "%c": "%a %b %d %H:%M:%S %Y",
    "%e": "%d",
    "%h": "%b",
    "%:z": "%z",
}
_DIRECTIVE: Final = re.compile(r"%(?::z|\.f|.|$)", re.DOTALL)
_NOT_BACK: Final = "a date written with it cannot be read back"
_OPTIONAL_FRACTION: Final = "%.f"
_LONG_FRACTION: Final = re.compile(r"(\.[0-9]{6})[0-9]{1,3}(?![0-9])")
_EXAMPLE: Final = datetime(2023, 11, 14, 22, 13, 20, tzinfo=timezone.utc)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_MS: Final = timedelta(milliseconds=1)


class TimePattern:
    """A parsed time pattern, read as `datetime.strptime` does.

    Attributes:
        pieces: directives and the literal text between them, in order, with shorthands expanded.
        directives: the directives among them.
    """

    def __init__(self, pattern: str) -> None:
        """Split the pattern into directives and literal text."""
        spelled_out = _DIRECTIVE.sub(lambda found: _SHORT_FORMS.get(found[0], found[0]), pattern)
        self.pieces: list[str] = []
        end = 0
        for found in _DIRECTIVE.finditer(spelled_out):
            self.pieces += [spelled_out[end : found.start()], found[0]]
            end = found.end()
        self.pieces = [piece for piece in (*self.pieces, spelled_out[end:]) if piece]
        self.directives = [piece for piece in self.pieces if is_directive(piece)]
        forms = (spelled_out.replace(_OPTIONAL_FRACTION, part) for part in (".%f", ""))
        self._forms = list(dict.fromkeys(forms))

    @property
    def names_offset(self) -> bool:
        """Whether the pattern has a UTC offset, so that no time zone option is needed."""
        return "%z" in self.directives

    def problem(self) -> str | None:
        """What is wrong with the pattern; None where a date formatted with it can be parsed again."""
        known = f"{DIRECTIVES} {EXTRA_DIRECTIVES}".split()
        times = Counter(self.directives)
        for directive in times:
            if directive == "%Z":
                return "%Z cannot be read, as names of zones are ambiguous: use %z, or the key zone"
            if directive not in known:
                allowed = f"{DIRECTIVES} and {EXTRA_DIRECTIVES}"
                return f"{_NOT_BACK}: {directive} is no directive; allowed are {allowed}"
            if directive == "%s":
                return "%s is epoch seconds and stands alone"
            if times[directive] > 1 and directive != "%%":
                return f"expected each directive once, got {directive} more than once"
        if ("%I" in times) != ("%p" in times):
            return "%I, an hour up to 12, and %p, AM or PM, go together; %H is an hour up to 23"
        try:
            read = datetime.strptime(_EXAMPLE.strftime(self._forms[0]), self._forms[0])
        except (ValueError, re.error) as problem:
            return f"{_NOT_BACK}: {problem}"
        if read.date() != _EXAMPLE.date():
            return f"{_NOT_BACK} (it needs a year, a month and a day)"
        return None

    def read(self, text: str) -> int | None:
        """Parse one text as `datetime.strptime` does.

        Returns:
            Milliseconds since the epoch, in UTC where the pattern has no offset; None for an invalid time.
        """
        for form in self._forms:
            if len(self._forms) > 1:
                text = _LONG_FRACTION.sub(r"\1", text)
            try:
                when = datetime.strptime(text, form)
            except (ValueError, OverflowError):
                continue
            return ((when if when.tzinfo else when.replace(tzinfo=timezone.utc)) - _EPOCH) // _MS
        return None


def is_directive(piece: str) -> bool:
    """Return whether a piece of a pattern is a directive rather than literal text."""
    return piece.startswith("%")
