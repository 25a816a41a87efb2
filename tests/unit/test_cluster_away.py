"""What `run --cluster` says when the cluster stops answering or forgets its job, and how it goes on.

Flink's REST interface is played here; it can fall silent, and come back without its jobs.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from click.testing import CliRunner, Result

from flink_job.cli import main
from flink_job.cluster import submitted_job
from flink_job.cluster.rest import Checkpoints, FlinkRest, JobUnknown
from flink_job.cluster.submitted_job import SubmittedJob
from flink_job.commands import cluster_run, progress

JOB = "5197da42f6bcb6cda759116bc4cd9ec7"
TEXT = """
name: shop
source: {type: simulator, events: 10}
event: {fields: {u: string, ts: long}, time: {field: ts, unit: ms}}
metrics: [{name: n, kind: count, windows: [{tumbling: 1m}]}]
"""
NO_CHECKPOINTS = {"counts": {"completed": 0}, "latest": {}, "history": []}


class PlayedFlink:
    """A REST interface with one job that runs, until `dies_after` looks at its state.

    Attributes:
        looks: how often the job's state was asked for.
        knows: whether it knows the job.
        state: the job's state.
        checkpoints: what it answers of the job's checkpoints.
        log: the JobManager's log, and how often it was read.
    """

    def __init__(self) -> None:
        self.looks, self.knows, self.state, self.checkpoints = 0, True, "RUNNING", NO_CHECKPOINTS
        self.log, self.log_reads = b"", 0
        self.dies_after, self.port, self._server = 10**9, 0, self._listening(0)
        self.port = self._server.server_address[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def die(self) -> None:
        """Close the port, so that connections to it are refused."""
        self._server.server_close()
        self._server.shutdown()

    def come_back(self) -> None:
        """Listen at the same port again."""
        self._server = self._listening(self.port)

    def answer(self, path: str) -> Any:
        """Return the answer to a question, None where it is not known."""
        if path == "/jobmanager/config":
            return []
        if not path.startswith(f"/jobs/{JOB}") or not self.knows:
            return None
        if path == f"/jobs/{JOB}":
            self.looks += 1
            return {"state": self.state, "now": 1_000_000, "vertices": []}
        return self.checkpoints if path.endswith("/checkpoints") else {}

    def _listening(self, port: int) -> ThreadingHTTPServer:
        flink = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path == "/jobmanager/log":
                    flink.log_reads += 1
                    self.send_response(200)
                    self.send_header("Content-Length", str(len(flink.log)))
                    self.end_headers()
                    self.wfile.write(flink.log)
                    return
                answer = flink.answer(self.path)
                self.send_response(404 if answer is None else 200)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())
                if flink.looks >= flink.dies_after:
                    flink.dies_after = 10**9
                    Thread(target=flink.die).start()

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return server


@pytest.fixture
def flink() -> Iterator[PlayedFlink]:
    played = PlayedFlink()
    yield played
    played.die()


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.yaml").write_text(TEXT)
    monkeypatch.setattr(cluster_run, "submit", lambda *_: JOB)
    monkeypatch.setattr(progress, "_EVERY_S", 0.01)
    monkeypatch.setattr(submitted_job, "WAIT_S", 1)
    monkeypatch.setattr(submitted_job, "_BUSY_S", 0.1)
    return tmp_path


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> Event:
    """Set once the command has said that it waits for the cluster, which it then does for long."""
    said, outage_message = Event(), SubmittedJob.outage_message

    def noted(*given: Any) -> str:
        words = outage_message(*given)
        if words:
            said.set()
        return words

    monkeypatch.setattr(SubmittedJob, "outage_message", noted)
    monkeypatch.setattr(submitted_job, "WAIT_S", 1000)
    return said


def run(flink: PlayedFlink, *options: str) -> Result:
    ran = CliRunner().invoke(main, ["run", "shop.yaml", "--cluster", flink.address, *options])
    assert ran.exception is None or isinstance(ran.exception, SystemExit), ran.output
    return ran


def leave(folder: Path, name: str, at_s: float) -> Path:
    """Leave a complete checkpoint or savepoint where a job would."""
    place = folder / ".sketchstream" / "shop" / "checkpoints" / name
    place.mkdir(parents=True)
    (place / "_metadata").touch()
    os.utime(place / "_metadata", (at_s, at_s))
    return place


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_cluster_that_stays_away_is_waited_for_and_then_it_is_told_how_to_go_on(
    folder: Path, flink: PlayedFlink, options: tuple[str, ...]
) -> None:
    leave(folder, f"{JOB}/chk-9", 1_000)
    newest = leave(folder, f"{JOB}/chk-11", 3_000)
    leave(folder, f"{'b' * 32}/chk-30", 4_000)  # of another job
    (folder / ".sketchstream/shop/checkpoints" / JOB / "chk-12").mkdir()  # not complete
    flink.dies_after = 3

    ran = run(flink, *options)

    assert ran.exit_code == 1
    told = ran.stderr if options else ran.output
    waiting = (
        f"{flink.address} has not answered for 0 s: its JobManager is gone, or cannot be reached; it is "
    )
    assert f"{waiting}waited for up to 1 s, Ctrl-C ends that" in told
    *_, failed, checkpoint, first, again, log = told.splitlines()
    assert failed == (
        f"shop failed: {flink.address} has not answered for 1 s: its JobManager is gone, or cannot be reached"
    )
    assert checkpoint == f"its last checkpoint: {newest.as_uri()}"
    assert again == f"go on with: sketchstream run shop.yaml --cluster {flink.address} --from latest"
    assert first.startswith("first start the JobManager again") and "submission.log" in log
    assert ran.stdout == "" or not options


def test_a_cluster_that_answers_again_in_time_is_gone_on_with(flink: PlayedFlink, waits: Event) -> None:
    flink.dies_after = 3

    def come_back() -> None:
        waits.wait(60)
        flink.come_back()
        flink.state = "FINISHED"

    Thread(target=come_back).start()
    ran = run(flink)

    assert ran.exit_code == 0, ran.output
    assert re.search(r"has not answered for \d+ s", ran.output) and "shop is finished" in ran.output


def test_a_job_that_a_new_job_manager_does_not_know_is_given_up_at_once(
    folder: Path, flink: PlayedFlink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(submitted_job, "WAIT_S", 1000)
    newest = leave(folder, f"{JOB}/chk-1", 1_000)
    flink.knows = False

    ran = run(flink)

    assert ran.exit_code == 1
    assert (
        f"shop failed: {flink.address} no longer knows the job {JOB}: its JobManager was star" in ran.output
    )
    assert f"its last checkpoint: {newest.as_uri()}\ngo on with: sketchstream run shop.yaml" in ran.output


def test_before_the_first_checkpoint_there_is_nothing_to_go_on_from(flink: PlayedFlink) -> None:
    flink.knows = False
    ran = run(flink, "--detach")
    assert ran.exit_code == 1
    begin = (
        f"it had no checkpoint yet; begin again with: sketchstream run shop.yaml --cluster {flink.address}\n"
    )
    assert begin in ran.output and "--from latest" not in ran.output


def test_ctrl_c_ends_the_waiting(flink: PlayedFlink, waits: Event) -> None:
    flink.dies_after = 3

    def interrupt() -> None:
        waits.wait(60)
        os.kill(os.getpid(), signal.SIGINT)

    Thread(target=interrupt).start()
    ran = run(flink)

    assert ran.exit_code == 1
    assert "it had no checkpoint yet; begin again with: sketchstream run" in ran.output
    assert "stopping with a savepoint" not in ran.output  # of which nobody would hear


def go_on(flink: PlayedFlink, restored: list[str]) -> Result:
    """Go on from the latest checkpoint and note which that is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cluster_run, "submit", lambda *given: (restored.append(given[4]), JOB)[1])
        return run(flink, "--from", "latest", "--detach")


def test_latest_is_found_on_disk_where_the_cluster_has_lost_its_history(
    folder: Path, flink: PlayedFlink
) -> None:
    assert run(flink, "--detach").exit_code == 0
    flink.knows, restored = False, list[str]()
    refused = go_on(flink, restored)
    assert (refused.exit_code, restored) == (2, [])
    assert f"neither {flink.address} nor file://" in refused.output
    leave(folder, f"{JOB}/chk-9", 1_000)
    checkpoint = leave(folder, f"{JOB}/chk-10", 2_000)
    leave(folder, f"savepoints/savepoint-{'b' * 6}-1234", 9_000)  # of another job

    go_on(flink, restored)
    savepoint = leave(folder, f"savepoints/savepoint-{JOB[:6]}-1234", 3_000)
    go_on(flink, restored)

    assert restored == [checkpoint.as_uri(), savepoint.as_uri()]


def test_a_job_that_was_gone_on_with_and_had_no_checkpoint_of_its_own_is_gone_on_with_from_the_same(
    folder: Path, flink: PlayedFlink
) -> None:
    elsewhere = leave(folder, "old/chk-3", 1_000)
    assert run(flink, "--detach", "--from", str(elsewhere)).exit_code == 0
    flink.knows, restored = False, list[str]()
    go_on(flink, restored)
    assert restored == [elsewhere.as_uri()]


def test_a_checkpoint_that_this_machine_cannot_see_is_remembered(folder: Path, flink: PlayedFlink) -> None:
    (folder / "shop.yaml").write_text(TEXT + "checkpoints: {dir: s3://bucket/c}\n")
    newest = f"s3://bucket/c/{JOB}/chk-7"
    latest = {"completed": {"id": 7, "external_path": newest}, "savepoint": None, "failed": None}
    flink.checkpoints = {"counts": {"completed": 7}, "latest": latest, "history": []}
    flink.dies_after = 4

    assert f"its last checkpoint: {newest}\n" in run(flink).output

    flink.come_back()
    flink.knows, restored = False, list[str]()
    go_on(flink, restored)
    assert restored == [newest]


def test_a_job_that_still_runs_is_not_gone_on_with_beside_itself(flink: PlayedFlink) -> None:
    assert run(flink, "--detach").exit_code == 0
    ran = run(flink, "--from", "latest")
    assert ran.exit_code == 2
    assert ran.output == f"--from latest: job {JOB} still runs on {flink.address}; end it first\n"


def test_a_note_without_folder_of_an_earlier_version_is_understood(folder: Path, flink: PlayedFlink) -> None:
    checkpoint = leave(folder, f"{JOB}/chk-2", 1_000)
    note = folder / ".sketchstream" / "shop" / "submitted.json"
    note.write_text(json.dumps({"cluster": flink.address, "job": JOB}))
    flink.knows, restored = False, list[str]()
    go_on(flink, restored)
    assert restored == [checkpoint.as_uri()]


DEEP = b"[" * 100_000
BROKEN = [
    b"", b'{"metrics.n": {"kind"', b"[]", b'"x"', b'{"metrics.n": 5}', b"\xff\xfe", b"null", DEEP,
    b'{"metrics.n": {"kind": "\xff"}, "cluster": "\xff"}', b'{"metrics.n": {"kind": %b' % DEEP,
]  # fmt: skip


@pytest.mark.parametrize("content", BROKEN, ids=range(len(BROKEN)))
@pytest.mark.parametrize("name", ["began.json", "submitted.json"])
def test_a_broken_file_of_the_runs_folder_is_told_in_a_line(
    folder: Path, flink: PlayedFlink, name: str, content: bytes
) -> None:
    assert run(flink, "--detach").exit_code == 0
    file = folder / ".sketchstream" / "shop" / name
    file.write_bytes(content)
    options = [["--from", "latest", "--cluster", flink.address]]
    options += [["--from", "latest", "--port", "0"]] if name == "began.json" else []
    for given in options:
        ran = CliRunner().invoke(main, ["run", "shop.yaml", *given])
        assert (ran.exit_code, len(ran.output.splitlines())) == (2, 1), ran.output
        assert ran.output.startswith(f"--from: {file} is damaged, or not what a run wrote (")
        assert re.search(r"run it without --from to begin", ran.output)
    assert run(flink, "--detach").exit_code == 0  # which writes it anew


def test_what_flink_says_of_checkpoints_is_read(flink: PlayedFlink) -> None:
    """The answer of a Flink 2.3 whose TaskManager was killed after its second checkpoint, shortened."""
    failed = [
        {"id": number, "status": "FAILED", "failure_message": "Trigger checkpoint failure."}
        for number in (4, 3)
    ]
    complete = {"id": 2, "status": "COMPLETED", "external_path": f"file:/c/{JOB}/chk-2"}
    running = {"id": 5, "status": "IN_PROGRESS", "trigger_timestamp": 1_000_000 - 40_500}
    latest = {"completed": complete, "savepoint": None, "failed": failed[0], "restored": complete}
    flink.checkpoints = {
        "counts": {"restored": 1, "total": 9, "in_progress": 1, "completed": 2, "failed": 7},
        "latest": latest,
        "history": [running, *failed, complete, {"id": 1, "status": "FAILED", "failure_message": "Old."}],
    }
    rest = FlinkRest(f"http://{flink.address}")

    assert rest.checkpoints(JOB) == Checkpoints(
        2, 2, "Trigger checkpoint failure.", 40.5, f"file:/c/{JOB}/chk-2"
    )
    flink.knows = False
    with pytest.raises(JobUnknown):
        rest.status(JOB)


LOGGED = """\
2026-11-30 18:32:03,693 WARN  o.a.f.r.c.CheckpointFailureManager - Failed to trigger or complete checkpoint \
2 for job {job}. (0 consecutive failed attempts so far)
org.apache.flink.runtime.checkpoint.CheckpointException: Asynchronous task checkpoint failed.
\tat org.apache.flink.runtime.messages.checkpoint.SerializedCheckpointException.unwrap(Checkpoint.java:51)
Caused by: org.apache.flink.util.SerializedThrowable: java.io.IOException: No space left on device
\t... 3 more
2026-11-30 18:32:03,726 WARN  o.a.f.r.c.CheckpointFailureManager - Failed to trigger or complete checkpoint \
2 for job {other}. (0 consecutive failed attempts so far)
org.apache.flink.runtime.checkpoint.CheckpointException: Checkpoint expired before completing.
"""


def test_why_checkpoints_fail_is_read_from_the_log_once_for_failures_of_one_kind(flink: PlayedFlink) -> None:
    def failed(*numbers: int, message: str = "Asynchronous task checkpoint failed.") -> Checkpoints:
        history = [{"id": n, "status": "FAILED", "failure_message": message} for n in numbers]
        flink.checkpoints = {"counts": {"completed": 0}, "latest": {}, "history": history}
        return rest.checkpoints(JOB)

    rest = FlinkRest(f"http://{flink.address}")
    flink.log = LOGGED.format(job=JOB, other="b" * 32).encode()

    first, second = failed(2), failed(3, 2)

    assert first.failed_because.splitlines()[-2:] == LOGGED.splitlines()[3:5]
    assert (second.failed, second.failed_because, flink.log_reads) == (2, first.failed_because, 1)
    assert progress.describe_checkpoints(second) == "no checkpoint yet, 2 failed: a disk is full"
    # What is not in the log is told by its name.
    assert failed(4, 3, 2, message="Checkpoint was declined.").failed_because == "Checkpoint was declined."


@pytest.mark.parametrize(
    ("checkpoints", "said"),
    [
        (Checkpoints(), "no checkpoint yet"),
        (Checkpoints(latest="file:/c/chk-2"), "no new checkpoint yet"),
        (Checkpoints(running_s=40.4), "no checkpoint yet, the first has run for 40 s"),
        (
            Checkpoints(0, 3, "Not known.", 2),
            "no checkpoint yet, 3 failed: Not known., the next has run for 2 s",
        ),
        (Checkpoints(1234, running_s=3), "checkpoints 1,234"),
        (Checkpoints(12, running_s=70), "checkpoints 12, the next has run for 70 s"),
        (Checkpoints(12, 2, "Not known."), "checkpoints 12, 2 since failed: Not known."),
        (
            Checkpoints(0, 1, "Checkpoint expired before completing."),
            "no checkpoint yet, 1 failed: a checkpoint took too long and was given up",
        ),
    ],
)
def test_the_line_of_progress_says_how_checkpoints_fare(checkpoints: Checkpoints, said: str) -> None:
    assert progress.describe_checkpoints(checkpoints) == said
    assert progress.Progress(checkpoints=checkpoints).line().endswith(f"  {said}")


def test_a_checkpoint_that_failed_is_told_once_with_what_to_do(flink: PlayedFlink) -> None:
    history = [{"id": 1, "status": "FAILED", "failure_message": "Checkpoint expired before completing."}]
    flink.checkpoints = {"counts": {"completed": 0}, "latest": {}, "history": history}
    flink.log = b"2026-11-30 of something else\n"

    def finish() -> None:
        while flink.looks < 20:
            time.sleep(0.01)
        flink.state = "FINISHED"

    Thread(target=finish).start()
    told = run(flink).output
    assert told.count("a checkpoint failed: a checkpoint took too long and was given up. See at the web") == 1
