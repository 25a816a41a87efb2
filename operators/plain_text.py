"""Text of events, files and servers made safe for a line on a screen, in a log or in a mail."""

from __future__ import annotations

import unicodedata

# Controls (the old ones of terminals too), formats such as the direction of writing, halves of characters,
# and what ends a line or a paragraph.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def in_one_line(text: str) -> str:
    r"""Return a text with all that is not seen written out, such as `\x1b`, `\n` and `\u202e`.

    So it is one line, steers no terminal, reads in the order in which it is written, and looks otherwise than
    any other text. Letters of all scripts, symbols and blanks stay as they are.

    Args:
        text: of an event, a file or a server.
    """
    if text.isprintable():
        return text
    return "".join(map(_seen, text))


def in_lines(text: str) -> str:
    """Return a text of several lines, each as `in_one_line` makes it.

    Args:
        text: lines of ours with texts of others in them.
    """
    return "\n".join(map(in_one_line, text.split("\n")))


def _seen(character: str) -> str:
    if unicodedata.category(character) not in _UNSEEN:
        return character
    return character.encode("unicode_escape").decode()
