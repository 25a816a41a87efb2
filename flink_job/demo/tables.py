"""The look of the demo's tables."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.table import Table

_WORDS = frozenset({"metric", "of", "the job holds", "exactly", "", "user", "action", "item", "new?"})


def plain_table(title: str, *columns: str) -> Table:
    """Return an empty table; columns of words are flush left, those of numbers right."""
    made = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        show_edge=False,
        pad_edge=False,
    )
    for column in columns:
        made.add_column(column, justify="left" if column in _WORDS else "right", overflow="fold")
    return made
