"""What `sketchstream run` says at the end."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from flink_job.commands.cluster_run import ClusterRun
from flink_job.commands.results_table import latest_results, result_tables
from flink_job.commands.run import Outcome
from flink_job.pipeline.spec import RESULTS, Pipeline
from flink_job.sinks.file_sink import FileSinkSpec, read_objects
from flink_job.sinks.kafka_spec import KafkaSinkSpec
from flink_job.sinks.print_sink import PrintSinkSpec


def show(outcome: Outcome, pipeline: Pipeline, path: Path, console: Console) -> None:
    """Print tables where results are to be printed, then the summary.

    Args:
        outcome: how the run ended.
        pipeline: the pipeline.
        path: its file.
        console: where to print.
    """
    if RESULTS in outcome.folders and isinstance(pipeline.sinks.results, PrintSinkSpec):
        for table in result_tables(latest_results(read_objects(Path(outcome.folders[RESULTS])))):
            console.print(table)
    rate = outcome.events / outcome.elapsed_s if outcome.elapsed_s else 0
    rejected = sum(outcome.rejects.values())
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in sorted(outcome.rejects.items()))
    lines = f" on {outcome.rejected_lines:,} lines" if outcome.rejected_lines > rejected else ""
    ended = "is done" if outcome.finished else "was stopped"
    console.print(
        f"[bold]{pipeline.name}[/] {ended}: {outcome.events:,} events in "
        f"{outcome.elapsed_s:.1f} s ({rate:,.0f}/s, start-up included), {outcome.results:,} results, "
        f"{rejected:,} rejects{f' ({reasons})' if reasons else ''}{lines}, {outcome.late:,} late"
    )
    for output, folder in outcome.folders.items():
        _print_plain(console, f"  {output}: {folder}")
    for output, topic in outcome.topics.items():
        _print_plain(console, f"  {output}: topic {topic}")
    if not outcome.finished and outcome.savepoint is None:
        _print_plain(
            console, f"go on from the last checkpoint, if there is one: sketchstream run {path} --from latest"
        )
    if outcome.savepoint is not None:
        _print_plain(
            console,
            f"savepoint: {outcome.savepoint}\ngo on with: sketchstream run {path} --from latest",
        )


def show_cluster_run(ran: ClusterRun, pipeline: Pipeline, path: Path, console: Console) -> None:
    """Print how a run on a cluster stands, and how to go on.

    Args:
        ran: how it stands.
        pipeline: the pipeline.
        path: its file.
        console: where to print.
    """
    counted = ", ".join(f"{count:,} {name}" for name, count in ran.counted.items())
    last = f"; when last looked at: {counted}" if counted else ""
    console.print(f"[bold]{pipeline.name}[/] is {ran.state.lower()}{last}", soft_wrap=True)
    for output in pipeline.outputs():
        sink = getattr(pipeline.sinks, output)
        if isinstance(sink, KafkaSinkSpec):
            _print_plain(console, f"  {output}: topic {sink.topic}")
        else:
            where = f"folder {sink.path}" if isinstance(sink, FileSinkSpec) else "output of the TaskManagers"
            _print_plain(console, f"  {output}: {where}")
    if ran.savepoint is not None:
        cluster = ran.web_ui.removeprefix("http://")
        _print_plain(
            console,
            f"savepoint: {ran.savepoint}\n"
            f"go on with: sketchstream run {path} --cluster {cluster} --from latest",
        )
    elif not ran.counted:
        console.print(f"it runs on: {ran.web_ui}/#/job/running/{ran.job}/overview", soft_wrap=True)


def _print_plain(console: Console, text: str) -> None:
    """Print lines with names of files and topics, without interpreting markup."""
    console.print(text, soft_wrap=True, markup=False, emoji=False)
