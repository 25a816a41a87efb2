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
import yaml
from rich.console import Console

from bench.alerts.payments import frauds, producing, send, simulated
from bench.e2e.rig import PARALLELISM, Stage, fresh_cluster, running_broker
from bench.e2e.workload import create, delete
from bench.report.tables import Report, arguments
from flink_job.cluster.rest import FlinkRest
from flink_job.cluster.submission import submit
from flink_job.pipeline.reading import load_pipeline
from flink_job.settings import PYTHON
from flink_job.sinks.opening import open_sinks
from flink_job.standalone.cluster import FlinkCluster

GOAL_MS = 100.0
_OUTPUTS = ("results", "late", "rejects", "alerts", "decisions", "audit")
_PIPELINE = Path(__file__).resolve().parents[2] / "pipelines" / "fraud_kafka.yaml"
_DRAIN_S = 5.0
_STARTS_S = 120.0
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


@dataclass(frozen=True)
class Arrived:
    """What arrived in the measured part of a run.

    Attributes:
        ms: how long each alert was on its way, `(n,) float64`.
        missed: planted frauds without their alert.
        other: alerts of what is no planted fraud.
        twice: alerts that came once more.
    """

    ms: np.ndarray
    missed: int
    other: int
    twice: int


def main() -> None:
    """Run what is asked for."""
    options = _arguments().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    report = Report("How soon alerts arrive: broker, cluster, checkpoints every 5 s", options.json)
    rows = []
    with tempfile.TemporaryDirectory() as folder, running_broker(Path(folder)) as broker:
        stage = Stage(broker, Path(folder))
        for rate in options.rates:
            runs = []
            for _ in range(options.rounds):
                found = _measure(stage, rate, options.warm_up, options.seconds)
                runs.append(found)
                p50, p99, most = np.percentile(found.ms, (50, 99, 100))
                told = f"{rate:,}/s: p50 {p50:.0f}, p99 {p99:.0f}, max {most:.0f} ms; {len(found.ms)} alerts"
                print(told, file=sys.stderr, flush=True)
            rows.append(_row(rate, runs))
    report.table("From sending a payment to reading its alert", _COLUMNS, rows)
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
    parser.add_argument("--seconds", type=int, default=20, help="seconds of the measured part")
    return parser


def _measure(stage: Stage, rate: int, warm_up_s: int, seconds: int) -> Arrived:
    lines = simulated(rate * (warm_up_s + seconds))
    measured = lines[rate * warm_up_s :]
    for topic in ("payments", "rules", "verdicts", *(f"payments-{output}" for output in _OUTPUTS)):
        delete(stage.broker, topic)
    for topic in ("payments", "rules", "verdicts"):
        create(stage.broker, topic)
    with fresh_cluster(stage.folder / "flink") as cluster:
        _start(stage, cluster)
        with _reading(stage) as alerts, producing(stage.broker, "payments") as producer:
            behind_s = send(lines, rate, producer)
            if behind_s > 1:
                raise RuntimeError(f"could not send {rate:,} payments a second: {behind_s:.1f} s behind")
            time.sleep(_DRAIN_S)
        return _arrived(alerts, lines, measured)


def _start(stage: Stage, cluster: FlinkCluster) -> None:
    """Submit the pipeline that is shipped, with windows of an hour, as its clock runs fast, and wait."""
    document = yaml.safe_load(_PIPELINE.read_text())
    document |= {
        "parallelism": PARALLELISM,
        "checkpoints": {"every": "5s", "dir": (stage.folder / "flink" / "checkpoints").as_uri()},
    }
    document["source"] |= {"brokers": stage.broker.address, "topic": "payments", "stop": "never"}
    document["event"]["fields"]["sent_ms"] = "double"
    for metric in document["metrics"]:
        metric["windows"] = [{"tumbling": "1h"}]
    path = stage.folder / "pipeline.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    pipeline = load_pipeline(path, [])
    open_sinks(pipeline, keep_here=False, console=Console(stderr=True))
    job = submit(pipeline, path, [], cluster.address, None, {PYTHON: sys.executable})
    rest, deadline = FlinkRest(f"http://{cluster.address}"), time.monotonic() + _STARTS_S
    while rest.latest_checkpoint(job) is None:  # then every part of it works
        if time.monotonic() > deadline:
            raise RuntimeError(f"the job had no checkpoint within {_STARTS_S:.0f} s")
        time.sleep(0.5)


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


def _arrived(said: list[str], lines: list[bytes], measured: list[bytes]) -> Arrived:
    """Hold all alerts against what was planted, and time those of the measured part."""
    planted, timed = frauds(lines), {payment for payment, _ in frauds(measured)}
    alerts = [line.split() for line in said]
    if not any(payment in timed for _, payment, _ in alerts):
        raise RuntimeError(f"no alert of the measured part arrived; {len(alerts)} before")
    found = Counter((payment, rule) for _, payment, rule in alerts)
    return Arrived(
        np.array([float(ms) for ms, payment, _ in alerts if payment in timed]),
        len(planted - found.keys()),
        len(found.keys() - planted),
        sum(found.values()) - len(found),
    )


def _row(rate: int, runs: list[Arrived]) -> tuple[Any, ...]:
    p50, p99, most = (median(float(np.percentile(run.ms, q)) for run in runs) for q in (50, 99, 100))
    p99s = [float(np.percentile(run.ms, 99)) for run in runs]
    wrong = (sum(getattr(run, name) for run in runs) for name in ("missed", "other", "twice"))
    return (f"{rate:,}", p50, p99, most, min(p99s), max(p99s), sum(len(run.ms) for run in runs), *wrong)


if __name__ == "__main__":
    main()
