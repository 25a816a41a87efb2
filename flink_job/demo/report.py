"""The demo's report: the job's answers beside the exact ones, and what both cost in memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from functools import cached_property
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flink_job.demo.checks import Check, check_results, tally
from flink_job.demo.exact import SLIDING_MS, WHOLE_DAY_MS, ExactAnswers, exact_answers
from flink_job.demo.memory import Footprint, Growth, footprints, growth
from flink_job.demo.tables import plain_table
from flink_job.simulation.simulation import Simulation, SimulatorSpec

_CHUNK = 20_000
_STYLES = {"outside": "yellow", "late": "yellow", "wrong": "bold red"}


@dataclass(frozen=True)
class Totals:
    """What the run counted.

    Attributes:
        events: events read, rejects included.
        rejects: events refused.
        late: events that came too late for at least one metric.
        elapsed_s: wall clock from start to end in seconds.
    """

    events: int
    rejects: int
    late: int
    elapsed_s: float


@dataclass(frozen=True)
class DemoReport:
    """The comparison of one run with the exact answers; rich prints it.

    Attributes:
        totals: what the run counted.
        exact: the exact answers.
        checks: every number compared.
    """

    totals: Totals
    exact: ExactAnswers
    checks: Sequence[Check]

    @property
    def within_bounds(self) -> bool:
        """Whether no answer was wrong and every event was accounted for."""
        return tally(self.checks)["wrong"] == 0

    @cached_property
    def footprints(self) -> list[Footprint]:
        """What the answers over the whole run cost in memory."""
        return footprints(self.exact.whole_run())

    @cached_property
    def growth(self) -> list[Growth]:
        """What a distinct count costs at several sizes; takes about two seconds."""
        return growth()

    def as_json(self) -> dict[str, Any]:
        """The report as values that ``json.dumps`` takes."""
        return {
            "within_bounds": self.within_bounds,
            "totals": asdict(self.totals),
            "verdicts": tally(self.checks),
            "checks": [asdict(check) for check in self.checks],
            "memory": [asdict(footprint) for footprint in self.footprints],
            "growth": [asdict(size) for size in self.growth],
        }

    def __rich__(self) -> RenderableType:
        """The report for a terminal."""
        return Group(*_rendered(self))


def report(results: Iterable[Mapping[str, Any]], spec: SimulatorSpec, totals: Totals) -> DemoReport:
    """Compare what the demo answered with the exact answers to the same simulated events.

    Args:
        results: all results the job sent, in any order.
        spec: the simulated source; of an endless one, the events that were read are compared.
        totals: what the run counted.

    Returns:
        The report. Print it with rich; it says ``within_bounds`` and gives itself ``as_json``.
    """
    events = totals.events if spec.events is None else spec.events
    simulation = Simulation(spec)
    chunks = (simulation.chunk(first, min(_CHUNK, events - first)) for first in range(0, events, _CHUNK))
    exact = exact_answers(chunks)
    span = spec.start_ms, round(spec.nominal_ms(events))
    counted = [
        Check("run", {}, span, what, true, got, got, got, "right" if true == got else "wrong")
        for what, true, got in (
            ("events read", exact.events, totals.events),
            ("rejects", exact.rejects, totals.rejects),
        )
    ]
    return DemoReport(totals, exact, [*counted, *check_results(results, exact, totals.late)])


def _rendered(shown: DemoReport) -> Iterator[RenderableType]:
    totals = shown.totals
    rate = f"{totals.events / totals.elapsed_s:,.0f} events/s" if totals.elapsed_s > 0 else "no time taken"
    yield Text(
        f"\n{totals.events:,} events in {totals.elapsed_s:.1f} s ({rate}, start-up included), "
        f"{totals.rejects:,} rejects, {totals.late:,} late\n"
    )
    yield _answers(shown)
    yield from _sliding(shown.checks)
    yield _memory(shown.footprints)
    yield Text()
    yield _growth(shown.growth)
    yield Text(
        "\nBytes of process memory: sys.getsizeof of every object, each once; a sketch as its image.\n"
    )
    yield _verdict(shown)


def _answers(shown: DemoReport) -> Table:
    table = plain_table(
        "Answers over the whole run", "metric", "of", "exact", "answer", "bounds", "error", ""
    )
    whole = shown.exact.whole_run()
    days = [window for window, answers in shown.exact.windows.items() if answers is whole]
    metric = None
    for check in shown.checks:
        in_table = check.window in days and check.what not in ("events", "most frequent item left out")
        if not in_table and check.verdict != "wrong":
            continue
        if metric not in (None, check.metric):
            table.add_section()
        table.add_row(
            "" if check.metric == metric else check.metric,
            _subject(check) if check.window in days else f"{_subject(check)} {_time(check)}",
            _number(check.exact),
            _number(check.value),
            _bounds(check),
            _error(check),
            "" if check.verdict == "right" else Text(check.verdict, style=_STYLES[check.verdict]),
        )
        metric = check.metric
    table.caption = "No bounds: the answer is exact. The bounds of item_frequency are a share of all events."
    return table


def _sliding(checks: Sequence[Check]) -> Iterator[RenderableType]:
    size_ms, every_ms = SLIDING_MS
    sliding = [
        check
        for check in checks
        if check.metric == "unique_users" and check.what == "value" and check.value is not None
        if check.window[1] - check.window[0] == size_ms
    ]
    if not sliding:
        return
    worst = max(sliding, key=lambda check: abs(check.value / check.exact - 1))
    inside = sum(check.verdict == "right" for check in sliding)
    yield Text(
        f"\nunique_users over {size_ms // 60_000} min, every {every_ms // 60_000} min: "
        f"{inside} of {len(sliding)} windows within their bounds; largest error {_error(worst)} "
        f"({_number(worst.value)} for {_number(worst.exact)}, from {_time(worst)})\n"
    )


def _memory(rows: Sequence[Footprint]) -> Table:
    table = plain_table(
        "Memory of these answers", "metric", "the job holds", "bytes", "exactly", "bytes", "exact / sketch"
    )
    for row in rows:
        ratio = f"{row.exact_bytes / row.sketch_bytes:.1f}" if row.exact_bytes else ""
        sizes = f"{row.sketch_bytes:,}", f"{row.exact_bytes:,}" if row.exact_bytes else ""
        table.add_row(row.answer, row.sketch, sizes[0], row.exact, sizes[1], ratio)
    held, exact = sum(row.sketch_bytes for row in rows), sum(row.exact_bytes for row in rows)
    table.add_section()
    table.add_row("all", "", f"{held:,}", "", f"{exact:,}", f"{exact / held:.1f}")
    smaller = [row.answer for row in rows if 0 < row.exact_bytes <= row.sketch_bytes]
    if smaller:
        table.caption = f"Exact is smaller at this size for: {', '.join(smaller)}."
    return table


def _growth(rows: Sequence[Growth]) -> Table:
    table = plain_table(
        "Distinct ids: set or sketch?",
        "ids",
        "estimate",
        "error",
        "sketch bytes",
        "set bytes",
        "set / sketch",
    )
    for row in rows:
        table.add_row(
            f"{row.distinct:,}",
            f"{row.estimate:,.0f}",
            f"{row.estimate / row.distinct - 1:+.2%}",
            f"{row.sketch_bytes:,}",
            f"{row.set_bytes:,}",
            f"{row.set_bytes / row.sketch_bytes:,.1f}",
        )
    return table


def _verdict(shown: DemoReport) -> Text:
    counts = tally(shown.checks)
    told = f"{len(shown.checks)} numbers compared with the exact ones: {counts['right']} within their bounds"
    if counts["outside"]:
        told += (
            f", {counts['outside']} outside by less than the bounds are wide, as a confidence below 1 allows"
        )
    if counts["late"]:
        told += f", {counts['late']} off because of late events"
    if counts["wrong"]:
        told += f", {counts['wrong']} WRONG"
    return Text(told + ".", style="bold red" if counts["wrong"] else "bold green")


def _subject(check: Check) -> str:
    """What the number is about, other than the metric: the group, the item, the quantile."""
    what = "" if check.what == "value" else check.what
    if check.metric == "basket_value" and what[:1].isdigit():
        what = f"p{float(what) * 100:g}"
    return " ".join(filter(None, (*map(str, check.key.values()), what)))


def _bounds(check: Check) -> str:
    if check.lower is None or check.upper is None or check.lower == check.upper:
        return ""
    lower, upper = check.lower, check.upper
    if upper >= 1000:
        lower, upper = math.floor(lower), math.ceil(upper)
    return f"{_number(lower)} .. {_number(upper)}"


def _number(number: float | None) -> str:
    if number is None:
        return ""
    if isinstance(number, int):
        return f"{number:,}"
    return f"{number:,.4f}" if 0 < abs(number) < 1 else f"{number:,.2f}"


def _error(check: Check) -> str:
    if check.exact is None or check.value is None:
        return ""
    if not check.exact:
        return "0 %" if not check.value else f"{_number(check.value)} for 0"
    error = check.value / check.exact - 1
    return "0 %" if abs(error) < 5e-5 else f"{error:+.2%}" if abs(error) < 1 else f"{error:+.0%}"


def _time(check: Check) -> str:
    size_ms = check.window[1] - check.window[0]
    start = datetime.fromtimestamp(check.window[0] / 1000, tz=timezone.utc)
    return start.strftime("%Y-%m-%d") if size_ms == WHOLE_DAY_MS[0] else start.strftime("%Y-%m-%d %H:%M")
