"""`sketchstream check --sample`: what the first events of a file become, without a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from flink_job.commands.results_table import plain
from flink_job.pipeline.spec import Pipeline
from flink_job.simulation.simulation import SimulatorSpec
from flink_job.sources.csv_headers import FirstRecord, first_records, open_file
from flink_job.sources.manifest import chunks_of, matching_files
from operators.events.event_columns import EventColumns
from operators.metric import Metric
from operators.parsing import CsvFormat, Format, make_parser
from operators.parsing.payloads import Payloads

_SAMPLE_BYTES = 64 * 1024
_WINDOWS_SHOWN = 6


@dataclass(frozen=True)
class Sample:
    """What the first payloads of a file become.

    Attributes:
        columns: the type of every column.
        events: accepted events as `{column: value}`, with `event_time`.
        rejects: line, reason, detail and payload of the others.
        windows: metric and the windows of the first accepted event.
    """

    columns: dict[str, str]
    events: list[dict[str, object]]
    rejects: list[dict[str, object]]
    windows: dict[str, list[str]]

    def __rich__(self) -> RenderableType:
        """The sample for a terminal."""
        names = ["event_time", *self.columns]
        events = _table(
            "events",
            [
                "event_time",
                *(plain(name) + Text(f"\n{type_}", "dim") for name, type_ in self.columns.items()),
            ],
        )
        for event in self.events:
            events.add_row(*(_shown(event[name]) for name in names))
        rejects = _table("rejects", ["line", "reason", "detail", "payload"])
        for reject in self.rejects:
            rejects.add_row(*(_shown(reject[name]) for name in ("line", "reason", "detail", "payload")))
        windows = _table("windows of the first event", ["metric", "windows"])
        for metric, spans in self.windows.items():
            windows.add_row(metric, "\n".join(spans))
        return Group(events, rejects if self.rejects else Text("no rejects\n"), windows)


def take_sample(pipeline: Pipeline, path: Path, count: int) -> Sample:
    """Show what the first payloads of a file become.

    Args:
        pipeline: the pipeline.
        path: the file, in the format of the pipeline's source.
        count: how many payloads.

    Raises:
        SourceProblem: where the file cannot be read.
    """
    format: Format = "json" if isinstance(pipeline.source, SimulatorSpec) else pipeline.source.format
    paths = matching_files(str(path))
    starts, columns = first_records(paths, format, pipeline.columns_of_fields())
    if isinstance(format, CsvFormat):
        format = format.with_columns(columns)
    for beginning, name in zip(starts, paths, strict=True):
        payloads = _first_payloads(name, beginning, format, count)
        if len(payloads):
            break
    return _become(pipeline, format, payloads, beginning.line)


def _first_payloads(path: str, beginning: FirstRecord, format: Format, count: int) -> Payloads:
    """Return the first payloads of a file, reading only as many chunks as they need."""
    payloads, data = Payloads.from_lines(b""), b""
    with open_file(path) as file:
        file.seek(beginning.start)
        for chunk in chunks_of(0, path, beginning, format, _SAMPLE_BYTES):
            data += file.read(chunk.length)
            payloads = Payloads.from_lines(data, format)
            if len(payloads) >= count:
                break
    return Payloads(payloads.data, payloads.starts[:count], payloads.ends[:count], payloads.lines[:count])


def _become(pipeline: Pipeline, format: Format, payloads: Payloads, first_line: int) -> Sample:
    event = pipeline.event_with_checks()
    parsed = make_parser(
        format, {name: (field.path, field.type) for name, field in event.fields.items()}
    ).parse(payloads)
    prepared = EventColumns(event).prepare(
        parsed.frame, None, None, check_max_future=False, check_min_time=False
    )
    rejects = [(r.row, r.reason, r.detail) for r in parsed.rejects]
    rejects += [(int(parsed.row[r.row]), r.reason, r.detail) for r in prepared.rejected]
    events = [
        {"event_time": _time(time_ms), **row}
        for time_ms, row in zip(prepared.time_ms.tolist(), prepared.frame.to_dicts(), strict=True)
    ]
    windows = {}
    if len(prepared.time_ms):
        windows = {m.name: _windows(m, int(prepared.time_ms[0])) for m in pipeline.resolved_metrics()}
    return Sample(
        columns=event.column_types(),
        events=events,
        rejects=[
            {
                "line": first_line + int(payloads.lines[row]),
                "reason": reason,
                "detail": detail,
                "payload": (payloads.payload(row) or b"").decode(errors="replace"),
            }
            for row, reason, detail in sorted(rejects)
        ],
        windows=windows,
    )


def _windows(metric: Metric, time_ms: int) -> list[str]:
    spans = []
    if metric.grid is not None:
        slice_end = metric.grid.slice_end(time_ms)
        for window in metric.grid.windows:
            ends = list(metric.grid.ends_over(window, slice_end))
            spans += [
                f"{window.type} {_time(end - window.size_ms)} .. {_time(end)}"
                for end in ends[:_WINDOWS_SHOWN]
            ]
            if len(ends) > _WINDOWS_SHOWN:
                spans.append(f"and {len(ends) - _WINDOWS_SHOWN} more {window.type} windows")
    spans += [f"session {_time(time_ms)} .. {_time(time_ms + window.gap_ms)}" for window in metric.sessions]
    return spans


def _time(time_ms: int) -> str:
    when = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(milliseconds=time_ms)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _shown(value: object) -> Text:
    text = "null" if value is None else str(value)
    return plain(text if len(text) <= 80 else text[:77] + "...")


def _table(title: str, columns: Sequence[str | Text]) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
