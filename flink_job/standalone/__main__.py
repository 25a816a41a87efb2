"""`python -m flink_job.standalone up|down|status`: a broker and a Flink cluster on this machine."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.private_folder import private_folder
from flink_job.screen import Screen, print_error
from flink_job.standalone.broker import Broker
from flink_job.standalone.cluster import FlinkCluster
from flink_job.standalone.daemons import Daemon, Daemons

_BROKER, _FLINK = "broker", "flink"
_FAILED = 1

folder_option = click.option(
    "--folder",
    default=Path(".sketchstream", "cluster"),
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where data, configuration and logs are.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Start, show and end a Kafka broker and a Flink cluster on this machine."""


@main.command()
@folder_option
@click.option(
    "--port", default=8081, show_default=True, type=click.IntRange(1, 65535), help="Flink's REST and web UI."
)
@click.option("--broker-port", default=9092, show_default=True, type=click.IntRange(1, 65535))
@click.option("--task-managers", default=1, show_default=True, type=click.IntRange(min=1))
@click.option("--slots", default=2, show_default=True, type=click.IntRange(min=1), help="Of a TaskManager.")
@click.option(
    "--prometheus/--no-prometheus",
    default=False,
    show_default=True,
    help="Serve metrics, on all interfaces: Flink's reporter cannot keep to localhost.",
)
def up(folder: Path, port: int, broker_port: int, task_managers: int, slots: int, prometheus: bool) -> None:
    """Start what does not run yet. The broker goes on with the data of its folder."""
    screen = _screen()
    before = {daemon.pid for daemon in _noted(folder) if daemon.is_running()}
    broker = Broker(folder / _BROKER, broker_port)
    cluster = FlinkCluster(folder / _FLINK, port, task_managers, slots, prometheus=prometheus)
    try:
        with (
            private_folder(folder / _BROKER),
            private_folder(folder / _FLINK),
            screen.status("starting the broker") as status,
        ):
            broker.start()
            status.update("starting Flink")
            cluster.start()
    except EnvironmentProblem as problem:
        print_error(f"{problem.message}\n{problem.remedy}")
        sys.exit(_FAILED)
    if before == {daemon.pid for daemon in _noted(folder)}:
        click.echo("They run already.")
    screen.print(_table(folder))


@main.command()
@folder_option
def down(folder: Path) -> None:
    """End what `up` started, and Python workers that it left. The broker's data stay."""
    ended = [daemon for part in (_FLINK, _BROKER) for daemon in Daemons(folder / part).end()]
    click.echo(f"Ended: {', '.join(daemon.name for daemon in ended)}." if ended else "Nothing was running.")


@main.command()
@folder_option
def status(folder: Path) -> None:
    """Show what runs; exit code 1 where anything that was started does not, or nothing was."""
    noted = list(_noted(folder))
    if noted:
        _screen().print(_table(folder))
    else:
        click.echo("Nothing was started.")
    if not noted or not all(daemon.is_running() for daemon in noted):
        sys.exit(_FAILED)


def _noted(folder: Path) -> Iterator[Daemon]:
    for part in (_BROKER, _FLINK):
        yield from Daemons(folder / part).all()


def _table(folder: Path) -> Table:
    table = Table("what", "address", "pid", "log")
    for daemon in _noted(folder):
        pid = str(daemon.pid) if daemon.is_running() else "[red]ended[/red]"
        table.add_row(daemon.name, daemon.address, pid, Text(daemon.log))
    # A path that is cut short or broken cannot be copied.
    for column in table.columns:
        column.no_wrap, column.overflow = True, "ignore"
    return table


def _screen() -> Screen:
    """Return standard output: as wide as the terminal, or as wide as it takes in a file."""
    screen = Screen(highlight=False)
    return screen if screen.is_terminal else Screen(highlight=False, width=1000)


if __name__ == "__main__":
    main(prog_name="python -m flink_job.standalone")
