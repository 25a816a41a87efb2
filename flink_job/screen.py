"""The terminal, as commands write to it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from flink_job.pipeline.outside import without_secrets
from operators.plain_text import in_lines


def tell(message: str) -> None:
    """Say on standard error what is wrong, without secrets and without anything that steers a terminal."""
    click.echo(in_lines(without_secrets(message)), err=True)


class Screen(Console):
    """A console whose text steers no terminal, wherever it came from; nor is `:smile:` a picture."""

    def __init__(self, **options: Any) -> None:
        """Take the options of a `Console`."""
        super().__init__(emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is written, with what is not seen in it written out."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(in_lines(segment.text), segment.style)
