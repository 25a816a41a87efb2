"""Escapes control and invisible characters in untrusted text for terminals, logs and mail."""

from __future__ import annotations

import unicodedata

# Unicode categories: control (C0 and C1), format (such as text direction), surrogate, line and paragraph
# separator.
_UNSEEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})


def in_one_line(text: str) -> str:
    r"""Return a text with control and invisible characters escaped, such as `\x1b`, `\n` and `\u202e`.

    The result is one line, has no terminal escape sequences and no changes of text direction. Letters of all
    scripts, symbols and blanks are unchanged.

    Args:
        text: untrusted text, of an event, a file or a server.
    """
    if text.isprintable():
        return text
    return "".join(map(_seen, text))


def in_lines(text: str) -> str:
    """Return a text of several lines, each escaped by `in_one_line`.

    Args:
        text: our own lines with untrusted text in them.
    """
    return "\n".join(map(in_one_line, text.split("\n")))


def _seen(character: str) -> str:
    if unicodedata.category(character) not in _UNSEEN:
        return character
    return character.encode("unicode_escape").decode()
