"""Stopping a job: what Flink answers is played here, as a job cannot be made to fail between two answers."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from flink_job.cluster.rest import FlinkGone, FlinkRest, JobUnknown
from flink_job.commands import cluster_run

JOB, BUSY, UNKNOWN = "a" * 32, "no answer", "no such job"
FAILED = {"status": {"id": "COMPLETED"}, "operation": {"failure-cause": {"class": "StoppingException"}}}
STOPPED = {"status": {"id": "COMPLETED"}, "operation": {"location": "file:/saved"}}


@contextmanager
def playing(savepoints: list[dict[str, Any]], states: list[str], vertices: list[str]) -> Iterator[FlinkRest]:
    """A REST interface that goes through these answers, and stays at the last of each list."""
    left = {"savepoints": savepoints, "states": states}

    def next_of(kind: str) -> Any:
        return left[kind].pop(0) if len(left[kind]) > 1 else left[kind][0]

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if "/savepoints/" in self.path:
                self._say(next_of("savepoints"))
            else:
                state = next_of("states")
                answer = {"state": state, "vertices": [{"status": each} for each in vertices]}
                self._say(answer, {BUSY: 503, UNKNOWN: 404}.get(state, 200))

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self._say({"request-id": "1"})

        def _say(self, answer: Any, status: int = 200) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(answer).encode())

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield FlinkRest(f"http://127.0.0.1:{server.server_address[1]}")
        finally:
            server.shutdown()


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_run, "_AGAIN_S", 0.01)


def test_a_job_that_fails_while_it_stops_is_stopped_when_it_runs_again() -> None:
    states = ["RESTARTING", "CREATED", "RUNNING", "FINISHED"]
    with playing([FAILED, FAILED, STOPPED], states, ["FINISHED", "CANCELED"]) as rest:
        assert cluster_run.stop(rest, JOB, "file:/saved") == "file:/saved"
        assert rest.status(JOB) == "FINISHED"


def test_a_savepoint_is_told_though_nobody_answers_while_the_job_ends() -> None:
    with playing([STOPPED], [BUSY, "FINISHED"], ["FINISHED"]) as rest:
        assert cluster_run.stop(rest, JOB, "file:/saved") == "file:/saved"


def test_a_job_whose_input_ended_is_left_to_end() -> None:
    with playing([FAILED], ["RUNNING", "RUNNING", "FINISHED"], ["FINISHED", "RUNNING"]) as rest:
        assert cluster_run.stop(rest, JOB, "file:/saved") is None
        assert rest.status(JOB) == "FINISHED"


def test_a_job_that_failed_for_good_is_not_waited_for() -> None:
    with playing([FAILED], ["FAILED"], ["FAILED"]) as rest:
        assert cluster_run.stop(rest, JOB, "file:/saved") is None


def test_parts_of_a_failing_job_are_no_sign_that_it_ends() -> None:
    with playing([], ["RESTARTING", "RUNNING"], ["FINISHED", "CANCELED"]) as rest:
        assert not rest.is_ending(JOB)
        assert rest.is_ending(JOB)


def test_a_job_that_the_cluster_has_forgotten_is_not_waited_for() -> None:
    with playing([FAILED], ["RUNNING", UNKNOWN], ["RUNNING"]) as rest, pytest.raises(JobUnknown):
        cluster_run.stop(rest, JOB, "file:/saved")


def test_a_cluster_that_is_gone_is_waited_for_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_run, "WAIT_S", 0.2)
    with playing([], ["RUNNING"], []) as rest:
        pass
    with pytest.raises(FlinkGone):
        cluster_run.stop(rest, JOB, "file:/saved")
