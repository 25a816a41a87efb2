"""End to end on a real broker and cluster: this job beside an idle function, Flink SQL and plain PyFlink.

    python -m bench.e2e [--json] [--rounds 3] [--events 10e6] [--per-second 1000] [--only NAME ...]
    python -m bench.e2e --cardinality | --first-seen | --enrich | --profile [--json] [--events 10e6]

A broker is started and its topics are filled; every run has a cluster of its own, just started, with one
TaskManager of two slots. Runs take turns, round by round; figures are medians of the rounds. A run that did
not find what is in the topic ends the benchmark.
"""

from __future__ import annotations

import os

os.environ.setdefault("POLARS_MAX_THREADS", "1")

import argparse
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median

from bench.e2e.cardinality import cardinality
from bench.e2e.checks import expect_exact, expect_product, expect_rows
from bench.e2e.contenders import Contender, altered, measure, product_job, rival
from bench.e2e.enriched import enriched
from bench.e2e.first_seen import first_seen
from bench.e2e.meter import Measured, Meter
from bench.e2e.profiling import FLIGHT_RECORDER, Profiler
from bench.e2e.rig import Stage, running_broker
from bench.e2e.workload import LONG_WINDOW_MS, WINDOW_MS, Topic, fill
from bench.report.events import BATCH, USERS, batches
from bench.report.tables import Report, arguments

OURS, IDLE, MANY, TORN = "ours", "ours, idle function", "ours, 100 events a message", "ours, 1 % malformed"
TUMBLE, HOP, FIVE = "SQL, exact, tumbling", "SQL, exact, hopping", "SQL, exact, five metrics"
PLAIN = "PyFlink process function"
ONE_TOPIC, MANY_TOPIC, TORN_TOPIC = "one", "many", "torn"
_TUMBLE_SHARE, _HOP_SHARE, _FIVE_SHARE, _PLAIN_SHARE = 0.25, 0.1, 0.1, 0.01
"""How much of the topic the slow ones read, so that all runs take about as long."""
_WINDOWS_OF_HOP = LONG_WINDOW_MS // WINDOW_MS

CONTENDERS = (
    Contender(OURS, ONE_TOPIC, product_job(), expect_product),
    Contender(IDLE, ONE_TOPIC, altered(["--idle"]), expect_rows),
    Contender(MANY, MANY_TOPIC, product_job(), expect_product),
    Contender(TORN, TORN_TOPIC, product_job(), expect_product),
    Contender(
        TUMBLE,
        ONE_TOPIC,
        rival("sql_windows", _TUMBLE_SHARE, queries="tumble"),
        expect_exact(_TUMBLE_SHARE, 1),
        _TUMBLE_SHARE,
    ),
    Contender(
        HOP,
        ONE_TOPIC,
        rival("sql_windows", _HOP_SHARE, queries="hop"),
        expect_exact(_HOP_SHARE, _WINDOWS_OF_HOP),
        _HOP_SHARE,
    ),
    Contender(
        FIVE,
        ONE_TOPIC,
        rival("sql_windows", _FIVE_SHARE, queries="five"),
        expect_exact(_FIVE_SHARE, 1),
        _FIVE_SHARE,
    ),
    Contender(
        PLAIN, ONE_TOPIC, rival("plain_python", _PLAIN_SHARE), expect_exact(_PLAIN_SHARE, 1), _PLAIN_SHARE
    ),
)
GOALS = (
    # What is compared, with what, and how many times its rate it has to have at least.
    (OURS, IDLE, 0.6),
    (OURS, TUMBLE, 5.0),
    (OURS, HOP, 15.0),
    (MANY, OURS, 2.0),
    (TORN, OURS, 0.8),
)


def main() -> None:
    """Run what is asked for."""
    options = _arguments().parse_args()
    # Whoever ends the benchmark ends its servers too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    with _folder() as folder, running_broker(folder) as broker:
        stage = Stage(broker, folder)
        if options.profile:
            report = Report("Where the time goes", options.json)
            _profile(stage, report, _Topics(stage, int(options.events), options.per_second))
        elif options.cardinality:
            report = Report("Cost against cardinality", options.json)
            cardinality(stage, report, int(options.events))
        elif options.enrich:
            report = Report("Each event out again", options.json)
            enriched(stage, report, int(options.events), options.rounds)
        elif options.first_seen:
            report = Report("First events of users", options.json)
            first_seen(stage, report, int(options.events))
        else:
            report = Report("End to end: broker, cluster, exactly once", options.json)
            wanted = [c for c in CONTENDERS if not options.only or c.name in options.only]
            topics = _Topics(stage, int(options.events), options.per_second)
            _race(stage, report, wanted, topics, options.rounds)
        report.finish()


def _arguments() -> argparse.ArgumentParser:
    parser = arguments(__doc__ or "", rounds=3)
    parser.add_argument("--events", type=float, default=10e6, help="events of a topic (default 10e6)")
    parser.add_argument(
        "--only", nargs="+", choices=[c.name for c in CONTENDERS], metavar="NAME", help="some contenders"
    )
    parser.add_argument(
        "--per-second", type=int, default=1_000, help="events in a second of event time (default 1000)"
    )
    parser.add_argument("--cardinality", action="store_true", help="measure users and keys instead")
    parser.add_argument("--first-seen", action="store_true", help="measure what remembering users costs")
    parser.add_argument("--enrich", action="store_true", help="measure what sending each event on costs")
    parser.add_argument("--profile", action="store_true", help="show where the time goes instead")
    return parser


def _race(
    stage: Stage, report: Report, contenders: Sequence[Contender], topics: _Topics, rounds: int
) -> None:
    filled = {name: topics.fill(name) for name in {c.topic for c in contenders}}
    runs: dict[str, list[Measured]] = {contender.name: [] for contender in contenders}
    for number in range(rounds):
        turn = number % len(contenders)
        for contender in (*contenders[turn:], *contenders[:turn]):
            found = measure(contender, stage, filled[contender.topic])
            runs[contender.name].append(found)
            print(f"{contender.name}: {found.events_per_s:,.0f} events/s", file=sys.stderr, flush=True)
    rates = {name: median(run.events_per_s for run in found) for name, found in runs.items()}
    report.table("Rate", RATE_COLUMNS, [_rate_row(name, found) for name, found in runs.items()])
    report.table("Cost", COST_COLUMNS, [_cost_row(name, found) for name, found in runs.items()])
    report.note(f"Medians of {rounds} runs of {topics.events:,} events each ({_shares(contenders)}).")
    for name, beside, goal in GOALS:
        if name in rates and beside in rates:
            times = rates[name] / rates[beside]
            report.verdict(f"{name}, at least {goal:g} times {beside}: {times:.2f} seen", times >= goal)


RATE_COLUMNS = ("way", "events/s", "least", "most", "start-up s", "whole run s")
COST_COLUMNS = (
    "way",
    "CPU s/million: Java",
    "Python",
    "memory MB",
    "state MB",
    "checkpoint MB",
    "checkpoint ms",
)


def _profile(stage: Stage, report: Report, topics: _Topics) -> None:
    """Profile the product, one event a message."""
    topic = topics.fill(ONE_TOPIC)
    recording = stage.folder / "task-manager.jfr"
    options = f"-XX:+UseParallelGC {FLIGHT_RECORDER}{recording}"
    recorded = replace(stage, cluster_settings={"env.java.opts.taskmanager": options})
    profilers: list[Profiler] = []

    def at_start(meter: Meter) -> None:
        profilers.append(Profiler(meter, sum(topic.ends), stage.folder))
        profilers[0].start()

    measure(CONTENDERS[0], recorded, topic, at_start)
    found = profilers[0].profile(recording)
    report.table("CPU time by thread", ("thread", "us/event"), list(found.threads.items()))
    report.table("TaskManager, samples by method", ("method", "%"), _percent(found.java))
    if found.python:
        report.table("Workers, samples by function", ("function", "%"), _percent(found.python))
    else:
        report.note("No py-spy on the path: the workers' functions are not known.")


def _percent(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    return [(name, 100 * share) for name, share in shares.items()]


def _rate_row(name: str, runs: Sequence[Measured]) -> tuple[str | float, ...]:
    rates = [run.events_per_s for run in runs]
    return (
        name,
        median(rates),
        min(rates),
        max(rates),
        median(run.startup_s for run in runs),
        median(run.whole_s for run in runs),
    )


def _cost_row(name: str, runs: Sequence[Measured]) -> tuple[str | float, ...]:
    return (
        name,
        *(
            median(getattr(run, cost) for run in runs)
            for cost in (
                "java_cpu_s",
                "python_cpu_s",
                "memory_mb",
                "state_mb",
                "checkpoint_mb",
                "checkpoint_ms",
            )
        ),
    )


@dataclass(frozen=True)
class _Topics:
    """How the topics are filled: how many events each has, and how many in a second of event time."""

    stage: Stage
    events: int
    per_second: int

    def fill(self, name: str) -> Topic:
        made = batches(-(-self.events // BATCH), self.per_second)
        torn_share = 0.01 if name == TORN_TOPIC else 0.0
        return fill(self.stage.broker, name, made, self.events, USERS, torn_share, many=name == MANY_TOPIC)


def _shares(contenders: Sequence[Contender]) -> str:
    shares = [f"{c.name}: {c.share:.0%} of them" for c in contenders if c.share < 1]
    return "; ".join(shares) or "all of them"


@contextmanager
def _folder() -> Iterator[Path]:
    """Make a folder that is gone afterwards, unless something went wrong: its logs say what."""
    folder = Path(tempfile.mkdtemp(prefix="bench-e2e-"))
    try:
        yield folder
    except BaseException:
        print(f"What was run, and its logs, are in {folder}", file=sys.stderr)
        raise
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
