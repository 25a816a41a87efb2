"""How soon an alert arrives: payments into a real broker, alerts read from a topic by another process."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from threading import Thread
from typing import Any

import numpy as np

from bench.alerts.jobs import JOBS, OUTPUTS, prepared, start
from bench.alerts.payments import frauds, producing, send, simulated
from bench.e2e.meter import processes
from bench.e2e.rig import Stage, fresh_cluster, running_broker
from bench.e2e.workload import create, delete
from bench.report.tables import Report, arguments
from flink_job.standalone.cluster import FlinkCluster

GOAL_MS = 100.0
_DRAIN_S = 5.0
_COLUMNS = (
    "events/s",
    "p50 ms",
    "p99 ms",
    "max ms",
    "p99 least",
    "p99 most",
    "alerts",
    "missed",
    "other",
    "twice",
)
_PARTS = ("from sending to making it", "from there to writing it", "from there to reading it")
_PART_COLUMNS = ("an alert", "events/s", "p50 ms", "p99 ms", "JVM cores", "Python cores")


@dataclass(frozen=True)
class Arrived:
    """What arrived in the measured part of a run.

    Attributes:
        parts_ms: how long each alert was on its way, from sending the payment to making the alert, from there
            to writing it, and from there to reading it, `(n, 3) float64`.
        cores: how many cores the cluster's JVMs and its Python workers had, `(2,) float64`.
        missed: planted frauds without their alert.
        other: alerts of what is no planted fraud.
        twice: alerts that came once more.
    """

    parts_ms: np.ndarray
    cores: np.ndarray
    missed: int
    other: int
    twice: int

    @property
    def ms(self) -> np.ndarray:
        """How long each alert was on its way, `(n,) float64`."""
        return self.parts_ms.sum(axis=1)


def main() -> None:
    """Run what is asked for."""
    options = _arguments().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report("How soon alerts arrive, with a real broker and cluster, and checkpoints", options.json)
    rows, parts = [], []
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder)) as broker:
        stage = Stage(broker, Path(folder))
        for rate in options.rates:
            runs = []
            for _ in range(options.rounds):
                found = _measure(stage, rate, options)
                runs.append(found)
                p50, p99, most = np.percentile(found.ms, (50, 99, 100))
                told = f"{rate:,}/s: p50 {p50:.0f}, p99 {p99:.0f}, max {most:.0f} ms; {len(found.ms)} alerts"
                print(told, file=sys.stderr, flush=True)
            rows.append(_row(rate, runs))
            parts += _parts(rate, runs)
    report.table("From sending a payment to reading its alert", _COLUMNS, rows)
    report.table("Where the time goes, and how many cores the cluster has meanwhile", _PART_COLUMNS, parts)
    report.note(f"Jobs: {options.jobs} {' '.join(options.overrides)}")
    report.note(f"Medians of {options.rounds} runs, each of {options.seconds} s after {options.warm_up} s.")
    for row in rows:
        report.verdict(f"p99 below {GOAL_MS:g} ms at {row[0]} events/s: {row[2]:.0f} seen", row[2] < GOAL_MS)
        wrong = row[7] + row[8] + row[9]
        report.verdict(f"each planted fraud once and no other at {row[0]} events/s: {wrong} wrong", not wrong)
    report.finish()


def _arguments() -> Any:
    parser = arguments(__doc__ or "", rounds=5)
    parser.add_argument("--rates", type=int, nargs="+", default=[5_000, 20_000], help="events a second")
    parser.add_argument("--warm-up", type=int, default=100, help="seconds before the measured part")
    parser.add_argument("--jobs", choices=JOBS, default="one", help="rules and windows in one job, ...")
    parser.add_argument(
        "--set", dest="overrides", action="append", default=[], help="KEY=VALUE of a pipeline"
    )
    parser.add_argument("--seconds", type=int, default=60, help="seconds of the measured part")
    return parser


def _measure(stage: Stage, rate: int, options: Any) -> Arrived:
    lines = simulated(rate * (options.warm_up + options.seconds))
    measured = lines[rate * options.warm_up :]
    for topic in ("payments", "rules", "verdicts", *(f"payments-{output}" for output in OUTPUTS)):
        delete(stage.broker, topic)
    for topic in ("payments", "rules", "verdicts"):
        create(stage.broker, topic)
    jobs = prepared(stage, options.jobs, options.overrides)
    with fresh_cluster(stage.folder / "flink", slots=sum(job.slots for job in jobs)) as cluster:
        start(cluster, jobs)
        with _reading(stage) as alerts, producing(stage.broker, "payments") as producer:
            behind_s = send(lines[: len(lines) - len(measured)], rate, producer)
            before = _cpu_seconds(cluster)
            behind_s = max(behind_s, send(measured, rate, producer))
            cores = (_cpu_seconds(cluster) - before) / options.seconds
            if behind_s > 1:
                raise RuntimeError(f"could not send {rate:,} payments a second: {behind_s:.1f} s behind")
            time.sleep(_DRAIN_S)
        return _arrived(alerts, lines, measured, cores)


def _cpu_seconds(cluster: FlinkCluster) -> np.ndarray:
    """Return what the cluster's JVMs and its Python workers have had so far, `(2,) float64`."""
    java_s, python_s, _ = processes([cluster.job_manager, *cluster.task_managers])
    return np.array([java_s, python_s])


@contextmanager
def _reading(stage: Stage) -> Iterator[list[str]]:
    """Run the reader; what it says is collected in the list."""
    command = [sys.executable, "-m", "bench.alerts.reader", stage.broker.address, "payments-alerts"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
        if reader.stdout.readline().strip() != "ready":
            raise RuntimeError("the reader of alerts did not start")
        said: list[str] = []
        thread = Thread(target=lambda: said.extend(reader.stdout), daemon=True)
        thread.start()
        yield said
        reader.terminate()
        thread.join()


def _arrived(said: list[str], lines: list[bytes], measured: list[bytes], cores: np.ndarray) -> Arrived:
    """Hold all alerts against what was planted, and time those of the measured part."""
    planted, timed = frauds(lines), {payment for payment, _ in frauds(measured)}
    alerts = [line.split() for line in said]
    parts_ms = np.array([list(map(float, parts)) for *parts, payment, _ in alerts if payment in timed])
    if not len(parts_ms):
        raise RuntimeError(f"no alert of the measured part arrived; {len(alerts)} before")
    found = Counter((payment, rule) for *_, payment, rule in alerts)
    return Arrived(
        parts_ms,
        cores,
        len(planted - found.keys()),
        len(found.keys() - planted),
        sum(found.values()) - len(found),
    )


def _row(rate: int, runs: list[Arrived]) -> tuple[Any, ...]:
    p50, p99, most = (median(float(np.percentile(run.ms, q)) for run in runs) for q in (50, 99, 100))
    p99s = [float(np.percentile(run.ms, 99)) for run in runs]
    wrong = (sum(getattr(run, name) for run in runs) for name in ("missed", "other", "twice"))
    return (f"{rate:,}", p50, p99, most, min(p99s), max(p99s), sum(len(run.ms) for run in runs), *wrong)


def _parts(rate: int, runs: list[Arrived]) -> list[tuple[Any, ...]]:
    ms = np.median([np.percentile(run.parts_ms, (50, 99), axis=0) for run in runs], axis=0).T.tolist()
    cores = np.median([run.cores for run in runs], axis=0).tolist()
    return [(part, f"{rate:,}", *own, *cores) for part, own in zip(_PARTS, ms, strict=True)]


if __name__ == "__main__":
    main()
