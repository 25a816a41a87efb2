"""What a benchmark says: tables for people, or with `--json` the same as one JSON object."""

from __future__ import annotations

import argparse
import json
import os
import platform
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.report.stopwatch import Race

Cell = str | int | float


class Report:
    """Collects tables and prints them at the end or at once.

    Args:
        title: what is measured, one line.
        as_json: whether the tables are printed as one JSON object by `finish`, and nothing before.
    """

    def __init__(self, title: str, as_json: bool) -> None:
        """Print the heading."""
        self._as_json = as_json
        self._found: dict[str, object] = {"title": title, "machine": machine(), "tables": {}, "notes": []}
        self._console = Console(width=None if Console().is_terminal else 120, highlight=False)
        if not as_json:
            self._console.print(f"\n[bold]{title}[/bold]")
            about = ", ".join(f"{name} {value}" for name, value in machine().items())
            self._console.print(about, style="dim")

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Cell]]) -> None:
        """Add a table.

        Args:
            name: its heading.
            columns: names of the columns; the first is text, the others numbers.
            rows: the cells, as they are; numbers are formatted for people here.
        """
        self._found["tables"][name] = [dict(zip(columns, row, strict=True)) for row in rows]
        if self._as_json:
            return
        table = Table(title=name, title_justify="left", title_style="bold")
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 else "right", no_wrap=number > 0)
        for row in rows:
            table.add_row(*map(shown, row))
        self._console.print(table)

    def race(self, name: str, result: Race, unit: str, beside: str) -> None:
        """Add a table of timings: best and median, the rate, and how many times as fast as one of them.

        Args:
            name: the heading.
            result: the timings.
            unit: what is counted, such as "event".
            beside: the contender that all are compared with.
        """
        base = result[beside].best_ns
        columns = (f"way (1 = {beside})", f"best ns/{unit}", "median", f"{unit}s/s at best", "times as fast")
        rows = [
            (t.name, t.best_ns, t.median_ns, round(t.best_rate), base / t.best_ns) for t in result.timings
        ]
        self.table(name, columns, rows)
        rounds = len(result.timings[0].seconds)
        self.note(f"{rounds} rounds, in turn; the process had {result.core_share:.0%} of its core.")

    def note(self, text: str) -> None:
        """Add a sentence."""
        self._found["notes"].append(text)
        if not self._as_json:
            self._console.print(text, style="dim")

    def verdict(self, text: str, reached: bool) -> None:
        """Say whether a stated goal was reached."""
        self._found.setdefault("goals", {})[text] = reached
        if not self._as_json:
            mark = "[green]reached[/green]" if reached else "[red]missed[/red]"
            self._console.print(f"{mark}  {text}")

    def finish(self) -> None:
        """Print the JSON object where that is wanted."""
        if self._as_json:
            print(json.dumps(self._found, indent=2))


def arguments(doc: str, rounds: int) -> argparse.ArgumentParser:
    """Return the options all benchmarks have.

    Args:
        doc: the module's docstring; its first line is the help.
        rounds: how often everything is repeated by default.
    """
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--rounds", type=int, default=rounds, help=f"repeats (default {rounds})")
    return parser


def machine() -> dict[str, str]:
    """Return when and on what this runs."""
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        named = [line for line in cpuinfo.read_text().splitlines() if line.startswith("model name")]
        model = named[0].split(":", 1)[1].strip() if named else model
    return {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d"),
        "processor": f"{model}, {os.cpu_count()} cores",
        "load": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "polars", "datasketches")},
    }


def shown(cell: Cell) -> str:
    """Return a number as people read it: thousands apart, three digits where it is small."""
    if isinstance(cell, float):
        return f"{cell:,.0f}" if cell >= 100 else f"{cell:.3g}"
    return f"{cell:,}" if isinstance(cell, int) else cell
