"""The commands. Exit codes: 0 done, 1 failed, 2 a pipeline or an argument is wrong."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click
from rich.console import Console

from flink_job.kafka_clients.problem import KafkaProblem
from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.private_folder import private_folder
from flink_job.pipeline.reading import PipelineProblem, load_pipeline
from flink_job.pipeline.spec import Pipeline
from flink_job.screen import Screen, print_error
from flink_job.sources.source import SourceProblem
from operators.own_words import in_own_words
from operators.plain_text import in_one_line

if TYPE_CHECKING:
    from flink_job.cluster.failures import JobFailed

DEMO_PIPELINE = Path(__file__).resolve().parent.parent / "pipelines" / "demo.yaml"
DEMO_ITEMS = DEMO_PIPELINE.with_name("shop_items.jsonl")
_FAILED, _WRONG = 1, 2
_WIDTH = 120

pipeline_argument = click.argument("pipeline_path", metavar="PIPELINE", type=click.Path(path_type=Path))
set_option = click.option(
    "--set",
    "overrides",
    metavar="KEY=VALUE",
    multiple=True,
    help="Override a value, such as source.path=x.json.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")


def _told_plainly(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what a user can mend into one message and an exit code."""

    @wraps(command)
    def wrapper(*args: Any, **options: Any) -> None:
        try:
            command(*args, **options)
        except (PipelineProblem, SourceProblem) as problem:
            print_error(str(problem))
            sys.exit(_WRONG)
        except KafkaProblem as problem:
            print_error(str(problem))
            sys.exit(_FAILED)
        except EnvironmentProblem as problem:
            print_error(f"{problem.message}\n{problem.remedy}")
            sys.exit(_FAILED)
        except OSError as problem:
            if problem.filename is None:
                raise
            print_error(f"{problem.filename}: {problem.strerror}")
            sys.exit(_FAILED)

    return wrapper


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="sketchstream")
def main() -> None:
    """Answers over event streams while they flow, in bounded memory, with stated error."""


@main.command()
@pipeline_argument
@click.option("--from", "go_on", metavar="latest|PATH", help="Go on from a checkpoint or savepoint.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the web UI; 0: any that is free.")
@click.option("--overwrite", is_flag=True, help="Clear output folders that an earlier run filled.")
@click.option("--cluster", metavar="HOST:PORT", help="Run it on this Flink cluster instead.")
@click.option("--detach", is_flag=True, help="With --cluster: leave when the job runs.")
@set_option
@json_option
@_told_plainly
def run(
    pipeline_path: Path,
    go_on: str | None,
    port: int | None,
    overwrite: bool,
    cluster: str | None,
    detach: bool,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Run a pipeline on this machine, or on a cluster, until it ends or Ctrl-C stops it."""
    pipeline = load_pipeline(pipeline_path, overrides)
    if cluster is not None:
        _refuse_with_cluster(port, overwrite)
        _run_on_cluster(pipeline, pipeline_path, overrides, cluster, detach, go_on, as_json)
        return
    if detach:
        raise click.UsageError("--detach goes with --cluster: a run on this machine ends with its command")
    again = [str(pipeline_path), *(f"--set={override}" for override in overrides)]
    again += [] if port is None else [f"--port={port}"]
    again += ["--json"] if as_json else []
    outcome = _run(pipeline, _screen(as_json), go_on, port, overwrite, again)
    if as_json:
        click.echo(json.dumps(asdict(outcome)))
        return
    from flink_job.commands.outcome import show

    show(outcome, pipeline, pipeline_path, _screen())


@main.command()
@click.option("--port", type=click.IntRange(0, 65535), help="Port of the web UI; 0: any that is free.")
@set_option
@json_option
@_told_plainly
def demo(port: int | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """Run 100,000 events of a simulated shop and compare every answer with the exact one."""
    from flink_job.commands.results_table import latest_results
    from flink_job.demo.processor import processor_report
    from flink_job.demo.report import Totals, report
    from flink_job.sinks.file_sink import read_objects

    pipeline = load_pipeline(DEMO_PIPELINE, (f"similar.like_this.items.path={DEMO_ITEMS}", *overrides))
    outcome = _run(pipeline, _screen(as_json), None, port, True)
    totals = Totals(outcome.events, sum(outcome.rejects.values()), outcome.late, outcome.elapsed_s)
    results = latest_results(read_objects(Path(outcome.folders["results"])))
    shown = report(results, pipeline.source, totals)
    enriched, similar = (read_objects(Path(outcome.folders[name])) for name in ("enriched", "similar"))
    events = processor_report(enriched, similar, shown.exact.whole_run(), pipeline.enrich, DEMO_ITEMS)
    if as_json:
        click.echo(json.dumps(shown.as_json() | {"single_events": events.as_json()}))
    else:
        _screen().print(events, shown)
    if not (shown.within_bounds and events.is_right):
        sys.exit(_FAILED)


@main.command()
@pipeline_argument
@click.option(
    "--sample", type=click.Path(path_type=Path), help="Show what the first events of a file become."
)
@click.option(
    "--count", default=10, show_default=True, type=click.IntRange(1, 10_000), help="How many of them."
)
@set_option
@json_option
@_told_plainly
def check(
    pipeline_path: Path, sample: Path | None, count: int, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Check a pipeline file without running it."""
    pipeline = load_pipeline(pipeline_path, overrides)
    columns, metrics = pipeline.event.column_types(), [metric.name for metric in pipeline.metrics]
    answer: dict[str, Any] = {"pipeline": pipeline.name, "columns": columns, "metrics": metrics}
    if sample is None and not as_json:
        asked = f", metrics {', '.join(metrics)}" if metrics else ""
        told = f"{pipeline_path}: {pipeline.name} is right: {len(columns)} columns{asked}"
        click.echo(in_one_line(told))
    if sample is not None:
        from flink_job.commands.sample import take_sample

        taken = take_sample(pipeline, sample, count)
        answer["sample"] = asdict(taken)
        if not as_json:
            _screen().print(taken)
    if as_json:
        click.echo(json.dumps(answer))


@main.command()
def schema() -> None:
    """Print the JSON Schema of the pipeline file."""
    click.echo(json.dumps(Pipeline.model_json_schema(), indent=2))


@main.command()
@click.option(
    "--scenario",
    type=click.Choice(["shop", "payments"]),
    default="shop",
    show_default=True,
    help="What the events are of.",
)
@click.option("--events", default=100_000, show_default=True, type=click.IntRange(min=0))
@click.option("--users", default=5_000, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=42, show_default=True, type=click.IntRange(min=0))
@click.option("--rate", type=float, help="Events a second; default: as fast as possible.")
@click.option("--event-rate", type=float, help="Events a second of event time.")
@click.option("--start", metavar="TIME", help="Event time of the first event.")
@click.option("--skew", default=1.0, show_default=True, help="Zipf exponent of users, items, merchants.")
@click.option("--disorder", default="0s", show_default=True, help="How late an event may come.")
@click.option("--bad-share", default=0.0, show_default=True, help="Share of bad events, 0 to 1.")
@click.option("--fraud-share", type=float, help="Payments: share of planted frauds.")
@click.option(
    "--to",
    "target",
    default="-",
    metavar="FILE|kafka://HOST:PORT/TOPIC",
    help="A file, - for standard output, or a Kafka topic.",
)
@click.option(
    "--partitions",
    type=click.IntRange(1, 10_000),
    help="Kafka: create the topic with so many if it is absent.",
)
@click.option(
    "--key",
    "key_field",
    metavar="FIELD",
    help="Kafka: the field that is a message's key; events of one key are in one partition, in order.",
)
@click.option(
    "--events-per-message",
    type=click.IntRange(1, 100_000),
    help="Kafka: events in a message, each on a line; default: 1.",
)
@click.option(
    "--property",
    "properties",
    metavar="KEY=VALUE",
    multiple=True,
    help="Kafka: a client property, such as security.protocol=SSL.",
)
@_told_plainly
def simulate(
    target: str,
    events_per_message: int | None,
    properties: tuple[str, ...],
    partitions: int | None,
    key_field: str | None,
    **options: Any,
) -> None:
    """Write simulated events, one JSON object a line, to a file or a Kafka topic."""
    from pydantic import ValidationError

    from flink_job.commands.simulate import told, write_events
    from flink_job.simulation.simulation import SimulatorSpec

    try:
        spec = SimulatorSpec(**{key: value for key, value in options.items() if value is not None})
    except ValidationError as problem:
        raise PipelineProblem("simulate", [_of_option(error) for error in problem.errors()]) from None
    screen = _screen(stderr=True)
    if not target.startswith("kafka:"):
        if properties or any(given is not None for given in (events_per_message, partitions, key_field)):
            raise click.UsageError(
                "--events-per-message, --property, --partitions and --key are for "
                "--to kafka://HOST:PORT/TOPIC"
            )
        with told(spec, screen) as progress:
            write_events(spec, target, progress)
        return
    from flink_job.commands.produce import create_topic, key_reader, no_key, read_properties, send_events
    from flink_job.kafka_clients.producing import Destination

    at_once = events_per_message or 1
    if key_field is not None and at_once > 1:
        raise click.UsageError("--key is for one event in a message, not with --events-per-message above 1")
    try:
        destination, given = Destination.read(target), read_properties(properties)
        key_of = no_key if key_field is None else key_reader(spec, key_field)
    except ValueError as problem:
        raise click.UsageError(str(problem)) from None
    if partitions is not None:
        create_topic(destination, given, partitions)
    with told(spec, screen, lines=True) as progress:
        sent = send_events(spec, destination, given, at_once, progress, key_of)
    screen.print(f"{destination}: {sent}", markup=False, highlight=False)


@main.command()
@click.argument("pipeline_path", metavar="[PIPELINE]", required=False, type=click.Path(path_type=Path))
@click.option("--cluster", metavar="HOST:PORT", help="Look at this Flink cluster too.")
@set_option
@json_option
@_told_plainly
def doctor(
    pipeline_path: Path | None, cluster: str | None, overrides: tuple[str, ...], as_json: bool
) -> None:
    """Say what is in the way of a run, on this machine or on a cluster, and what to do about it.

    With a pipeline, its brokers and topics are looked at too; nothing is created.
    """
    if pipeline_path is None and overrides:
        raise click.UsageError("--set goes with a PIPELINE")
    pipeline = None if pipeline_path is None else load_pipeline(pipeline_path, overrides)
    from flink_job.commands import doctor as examination

    findings = examination.examine(pipeline, cluster)
    if as_json:
        click.echo(examination.as_json(findings))
    else:
        _screen().print(examination.render(findings))
    if any(finding.status == "fail" for finding in findings):
        sys.exit(_FAILED)


def _of_option(error: Mapping[str, Any]) -> str:
    """Say of an option what is wrong with the key of the same name; of several keys it is in the message."""
    told = in_own_words(error)
    if error["loc"]:
        told = f"{error['loc'][0]}: {told}"
    if error["type"] != "value_error":
        told += f", got {error['input']!r}"
    return f"--{told}".replace("_", "-")


def _screen(stderr: bool = False) -> Screen:
    """Return standard output (or error) for people: as wide as the terminal, or 120 columns in a file."""
    screen = Screen(stderr=stderr)
    return screen if screen.is_terminal else Screen(stderr=stderr, width=_WIDTH)


def _run(
    pipeline: Pipeline,
    console: Console,
    go_on: str | None,
    port: int | None,
    overwrite: bool,
    again: list[str] | None = None,
) -> Any:
    """Run a pipeline; a failed job ends the process with its reason.

    Where the embedded cluster is lost, `again` are the arguments with which `run` goes on by itself.
    """
    from flink_job.cluster.embedded_job import ClusterLost, JobFailed
    from flink_job.commands.revival import revive
    from flink_job.commands.run import run as run_pipeline

    try:
        return run_pipeline(pipeline, console, go_on, port, overwrite)
    except JobFailed as problem:
        if isinstance(problem, ClusterLost) and again is not None:
            problem.how_to_resume = revive(pipeline, problem.reason, again)
        _end_failed(pipeline, problem)


def _end_failed(pipeline: Pipeline, problem: JobFailed) -> NoReturn:
    """End the process as that of a job that failed."""
    told = [
        f"{pipeline.name} failed: {problem.reason}",
        problem.how_to_resume,
        f"the whole story: {problem.log}",
    ]
    print_error("\n".join(filter(None, told)))
    sys.exit(_FAILED)


def _refuse_with_cluster(port: int | None, overwrite: bool) -> None:
    for option, given in (("--port", port is not None), ("--overwrite", overwrite)):
        if given:
            raise click.UsageError(f"{option} is for runs on this machine, not with --cluster")


def _run_on_cluster(
    pipeline: Pipeline,
    path: Path,
    overrides: tuple[str, ...],
    cluster: str,
    detach: bool,
    go_on: str | None,
    as_json: bool,
) -> None:
    """Run a pipeline on a cluster; a failed job ends the process with its reason."""
    from flink_job.cluster.failures import JobFailed
    from flink_job.commands.cluster_run import run_on_cluster
    from flink_job.commands.outcome import show_cluster_run

    try:
        with private_folder(pipeline.run_folder()):
            ran = run_on_cluster(pipeline, path, overrides, cluster, detach, go_on, _screen(as_json))
    except JobFailed as problem:
        _end_failed(pipeline, problem)
    if as_json:
        click.echo(json.dumps(asdict(ran)))
    else:
        show_cluster_run(ran, pipeline, path, _screen())


if __name__ == "__main__":
    main()
