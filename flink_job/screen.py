"""Terminal output with control characters escaped."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import click
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from flink_job.pipeline.redaction import without_secrets
from operators.plain_text import in_lines


def print_error(message: str) -> None:
    """Print an error message to standard error, with secrets redacted and control characters escaped."""
    click.echo(in_lines(without_secrets(message)), err=True)


class Screen(Console):
    """A rich console that escapes control characters in all text and does not replace emoji codes."""

    def __init__(self, **options: Any) -> None:
        """Create a console from the options of `rich.console.Console`."""
        super().__init__(emoji=False, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield the segments to write, with invisible characters escaped."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(in_lines(segment.text), segment.style)
