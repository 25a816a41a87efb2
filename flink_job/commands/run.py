"""`sketchstream run`: a pipeline from start to end on this machine."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from flink_job.cluster.embedded_job import EmbeddedJob, start
from flink_job.cluster.rest import FlinkUnreachable
from flink_job.commands.committed import commit_reached, ends_to_reach
from flink_job.commands.interrupts import interrupts
from flink_job.commands.progress import follow
from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.flink import expect_plugin
from flink_job.machine.ports import free_port, holder_of, is_free
from flink_job.pipeline.reading import PipelineProblem
from flink_job.pipeline.spec import Pipeline
from flink_job.runs.began import write_began
from flink_job.runs.checkpoints import restore_point, savepoint_folder
from flink_job.runs.only_one import only_run
from flink_job.sinks.file_sink import FileSink, FileSinkSpec, parts, read_lines, read_objects
from flink_job.sinks.kafka_sink import KafkaSink
from flink_job.sinks.kafka_spec import KafkaSinkSpec
from flink_job.sinks.opening import open_sinks
from flink_job.sources.opening import open_source

DEFAULT_PORT = 8081
_SAVEPOINT_TIMEOUT_S = 120


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        finished: whether the source was read to its end.
        elapsed_s: how long the job took, start of the cluster included.
        events: events read, rejected ones included; since the pipeline began, not since it was gone on with.
        rejects: how many of them were rejected, by reason.
        late: how many came too late.
        results: how many results there are, revisions included.
        savepoint: where a stopped run left its state; None where it had not begun to work.
        folders: where each output is that goes to files.
        topics: where each output is that goes to Kafka. What is counted of it is then what Flink counted
            since the run was begun or gone on with.
        rejected_lines: how many lines the rejects have; more than rejects where records span several lines.
    """

    finished: bool
    elapsed_s: float
    events: int
    rejects: dict[str, int]
    late: int
    results: int
    savepoint: str | None = None
    folders: dict[str, str] = field(default_factory=dict)
    topics: dict[str, str] = field(default_factory=dict)
    rejected_lines: int = 0


def run(
    pipeline: Pipeline,
    console: Console,
    go_on: str | None = None,
    port: int | None = None,
    overwrite: bool = False,
) -> Outcome:
    """Run a pipeline in an embedded mini-cluster until it ends or is interrupted.

    Args:
        pipeline: the pipeline.
        console: where progress is shown.
        go_on: what to go on from: `latest`, or a checkpoint or savepoint; None to begin afresh.
        port: the port of the web UI; None for 8081, or any free one where that is taken.
        overwrite: whether a fresh run may clear output folders that hold results of an earlier one.

    Raises:
        PipelineProblem: where the pipeline cannot be run as it is.
        SourceProblem: where the source cannot be read.
        KafkaProblem: where a topic cannot be read or written.
        EnvironmentProblem: where something on this machine is in the way.
        JobFailed: where the job fails.
    """
    port = _port(port)
    with only_run(pipeline):
        return _run(pipeline, console, go_on, port, overwrite)


def _run(pipeline: Pipeline, console: Console, go_on: str | None, port: int, overwrite: bool) -> Outcome:
    restore = None if go_on is None else restore_point(pipeline, go_on)
    for uri in (pipeline.checkpoint_uri(), *filter(None, [restore])):
        expect_plugin(uri)
    source = open_source(pipeline, go_on is not None, console)
    if restore is None:
        _begin_afresh(pipeline, overwrite)
    sinks = open_sinks(pipeline, True, console)
    ends = ends_to_reach(source, go_on is not None)
    totals = pipeline.run_folder() / "totals"
    started = time.monotonic()
    with interrupts() as interrupted:
        job = start(pipeline, source, sinks | {"totals": FileSink(totals)}, port, restore)
        console.print(
            f"[bold]{pipeline.name}[/] runs as job {job.id}; web UI: {job.rest.address}", soft_wrap=True
        )
        progress = follow(job, console, lambda: bool(interrupted))
        finished, savepoint = _stop(job, pipeline, console) if interrupted else (True, None)
        if finished:
            job.wait(progress.checkpoints.failed_because)
            commit_reached(source, ends, console)
    events, rejects, rejected_lines = _totals(totals)
    folders = {name: sink.folder for name, sink in sinks.items() if isinstance(sink, FileSink)}
    counted = {name: int(progress.counters.get(name, 0)) for name in ("late", "results")}
    if "late" in folders:
        counted["late"] = sum(event.get("events", 1) for event in read_objects(folders["late"]))
    if "results" in folders:
        counted["results"] = sum(1 for _ in read_lines(folders["results"]))
    return Outcome(
        finished=finished,
        elapsed_s=time.monotonic() - started,
        events=events,
        rejects=rejects,
        late=counted["late"],
        results=counted["results"],
        savepoint=savepoint,
        folders={name: str(folder) for name, folder in folders.items()},
        topics={name: sink.topic for name, sink in sinks.items() if isinstance(sink, KafkaSink)},
        rejected_lines=rejected_lines,
    )


def _port(wanted: int | None) -> int:
    if wanted == 0:
        return free_port()
    port = DEFAULT_PORT if wanted is None else wanted
    if is_free(port):
        return port
    if wanted is None:
        return free_port()
    holder = holder_of(port)
    raise EnvironmentProblem(
        f"port {port} for the web UI is taken{f' by {holder}' if holder else ''}",
        "name another with --port, or --port 0 for any that is free",
    )


def _begin_afresh(pipeline: Pipeline, overwrite: bool) -> None:
    """Clear what an earlier run left, but not what a user asked to be written unless told so."""
    for output in pipeline.outputs():
        spec = getattr(pipeline.sinks, output)
        if isinstance(spec, KafkaSinkSpec):
            continue
        folder = pipeline.output_folder(output)
        owned = not isinstance(spec, FileSinkSpec)
        if not owned and not overwrite and parts(folder):
            raise PipelineProblem(
                f"sinks.{output}.path",
                [f"{folder} holds what an earlier run wrote; go on with --from latest, or --overwrite it"],
            )
        for part in [*folder.glob("part-*"), *folder.glob(".part-*")]:
            part.unlink()
    run_folder = pipeline.run_folder()
    run_folder.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(run_folder / "totals", ignore_errors=True)
    write_began(pipeline)


def _stop(job: EmbeddedJob, pipeline: Pipeline, console: Console) -> tuple[bool, str | None]:
    """Stop a job, behind a savepoint if it has begun to work.

    Returns:
        Whether it ended by itself meanwhile, and where the savepoint is, if there is one.
    """
    console.print("stopping with a savepoint; Ctrl-C again to leave at once")
    try:
        return False, job.rest.stop_with_savepoint(job.id, savepoint_folder(pipeline), _SAVEPOINT_TIMEOUT_S)
    except FlinkUnreachable as problem:
        try:
            if job.rest.is_ending(job.id):
                return True, None
            job.rest.cancel(job.id)
        except FlinkUnreachable:
            return True, None
        console.print(f"stopped without a savepoint: {problem}", soft_wrap=True, markup=False)
        return False, None


def _totals(folder: Path) -> tuple[int, dict[str, int], int]:
    """Add up the totals written for each batch: events, rejects by reason, and lines of rejects."""
    events, rejects, lines = 0, Counter[str](), 0
    for batch in read_objects(folder):
        events += batch.get("events", 0)
        of_batch = batch.get("rejects", {})
        rejects.update(of_batch)
        lines += batch.get("rejected_lines", sum(of_batch.values()))
    return events, dict(rejects), lines
