"""What is printed at the end of a run on a cluster."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

from flink_job.commands.cluster_run import ClusterRun
from flink_job.commands.outcome import show, show_cluster_run
from flink_job.commands.run import Outcome, _totals
from flink_job.pipeline.reading import load_pipeline

FRAUD = Path(__file__).resolve().parents[2] / "pipelines" / "fraud_kafka.yaml"


def shown(ran: ClusterRun) -> list[str]:
    screen = Console(file=io.StringIO(), width=120)
    show_cluster_run(ran, load_pipeline(FRAUD), Path("fraud.yaml"), screen)
    return screen.file.getvalue().splitlines()


def test_a_run_that_was_stopped_says_when_it_counted_and_how_to_go_on() -> None:
    counted = {"events": 20_415, "late": 3}
    lines = shown(ClusterRun("ab", "http://localhost:8082", "FINISHED", counted, "file:/savepoint-1"))

    assert lines[0] == "fraud_kafka is finished; when last looked at: 20,415 events, 3 late"
    assert lines[1] == "  results: topic payments-results"
    assert lines[-2:] == [
        "savepoint: file:/savepoint-1",
        "go on with: sketchstream run fraud.yaml --cluster localhost:8082 --from latest",
    ]


def test_a_run_that_was_left_alone_has_no_numbers() -> None:
    lines = shown(ClusterRun("ab", "http://localhost:8082", "RUNNING", {}))

    assert lines[0] == "fraud_kafka is running"
    assert lines[-1] == "it runs on: http://localhost:8082/#/job/running/ab/overview"


def test_rejects_of_several_lines_are_told_with_their_lines() -> None:
    for lines, told in ((990, "2) on 990 lines, 0 late"), (2, "2 rejects (malformed_csv 2), 0 late")):
        screen = Console(file=io.StringIO(), width=300)
        outcome = Outcome(True, 1.0, 10, {"malformed_csv": 2}, 0, 5, rejected_lines=lines)
        show(outcome, load_pipeline(FRAUD), Path("fraud.yaml"), screen)
        assert told in screen.file.getvalue()


def test_lines_of_rejects_are_added_up_and_are_one_each_where_they_are_not_counted(tmp_path: Path) -> None:
    batches = (
        b'{"events": 5, "rejects": {"a": 1, "b": 1}, "rejected_lines": 7}\n',
        b'{"events": 3, "rejects": {"a": 2}}\n',  # of rules and items, and of a run begun by an older version
    )
    for number, batch in enumerate(batches):
        (tmp_path / f"part-{number}.jsonl").write_bytes(batch)
    assert _totals(tmp_path) == (8, {"a": 3, "b": 1}, 9)
