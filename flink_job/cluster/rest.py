"""What the commands ask of Flink's REST interface."""

from __future__ import annotations

import json
import re
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

ENDED = ("FINISHED", "FAILED", "CANCELED")
"""The states of a job that will not run again."""
_MAX_QUERY = 3000
_NOT_FOUND = 404
_MAX_LOG_BYTES = 64 * 1024 * 1024
_MAX_TRACE_LINES = 400
_NEXT_EVENT = re.compile(r"\d{4}-\d\d-\d\d |\{")


class FlinkUnreachable(Exception):
    """Nothing answers at the REST address, or not as expected."""


class FlinkGone(FlinkUnreachable):
    """Nothing listens at the REST address any more."""


class JobUnknown(FlinkUnreachable):
    """The cluster answers, but has no job of this id."""


@dataclass(frozen=True)
class Failure:
    """A failure of a job.

    Attributes:
        at_ms: when it was, by the cluster's clock in milliseconds since 1970.
        trace: the stack trace.
    """

    at_ms: int
    trace: str


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoint statistics of a job.

    Attributes:
        completed: number of checkpoints completed since the job was submitted.
        failed: number of checkpoints failed since the last completed one.
        failed_because: why the last of them failed; from the JobManager's log where that can be read.
        running_s: age of the oldest checkpoint in progress, in seconds; None where there is none.
        latest: URI of the newest completed checkpoint or savepoint, else of the one it was restored from.
    """

    completed: int = 0
    failed: int = 0
    failed_because: str = ""
    running_s: float | None = None
    latest: str | None = None


class FlinkRest:
    """The REST interface of a cluster.

    Args:
        address: `http://host:port`.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self._last_cause: tuple[tuple[str, int, str], str] | None = None

    def status(self, job: str) -> str:
        """Return the job's state: RUNNING, FINISHED, FAILED, CANCELED and others.

        Raises:
            JobUnknown: the cluster has no such job.
        """
        try:
            return self._get(f"/jobs/{job}")["state"]
        except FlinkUnreachable as problem:
            cause = problem.__cause__
            if isinstance(cause, urllib.error.HTTPError) and cause.code == _NOT_FOUND:
                raise JobUnknown(f"{self.address} knows no job {job}") from problem
            raise

    def counters(self, job: str, names: tuple[str, ...]) -> dict[str, float]:
        """Return the sum over all workers of each counter that is there, by the last part of its name."""
        totals: dict[str, float] = {}
        for vertex in self._get(f"/jobs/{job}")["vertices"]:
            where = f"/jobs/{job}/vertices/{vertex['id']}/subtasks/metrics"
            found = [m["id"] for m in self._get(where) if m["id"].rpartition(".")[2] in names]
            for asked in _in_parts(found):
                for metric in self._get(f"{where}?get={asked}"):
                    name = metric["id"].rpartition(".")[2]
                    amount = metric["min"] if name.endswith("_s") else metric["sum"]
                    totals[name] = totals.get(name, 0) + amount
        return totals

    def task_managers(self) -> int:
        """Return how many TaskManagers the cluster has."""
        return self._get("/overview")["taskmanagers"]

    def failures(self, job: str) -> list[Failure]:
        """Return the job's failures, oldest first. They may appear with some seconds of delay."""
        history = self._get(f"/jobs/{job}/exceptions").get("exceptionHistory", {}).get("entries", [])
        return [Failure(entry["timestamp"], entry["stacktrace"]) for entry in reversed(history)]

    def is_ending(self, job: str) -> bool:
        """Return whether the job has ended, or parts of it have because their input did.

        Parts of a job that fails while it is stopped have ended too, but it will start again.
        """
        answer = self._get(f"/jobs/{job}")
        parts = [vertex["status"] for vertex in answer["vertices"]]
        return answer["state"] == "FINISHED" or (answer["state"] == "RUNNING" and "FINISHED" in parts)

    def checkpoints(self, job: str) -> Checkpoints:
        """Return the checkpoint statistics of a job."""
        answer, now_ms = self._get(f"/jobs/{job}/checkpoints"), self._get(f"/jobs/{job}")["now"]
        latest = answer.get("latest") or {}
        complete = [latest[kind] for kind in ("completed", "savepoint", "restored") if latest.get(kind)]
        newest = max(complete, key=lambda checkpoint: checkpoint["id"], default={"id": 0})
        since = [entry for entry in answer.get("history", ()) if entry["id"] > newest["id"]]
        failed = [entry for entry in since if entry["status"] == "FAILED"]
        because = self._failure_cause(job, newest["id"], failed[0]) if failed else ""
        running = [entry["trigger_timestamp"] for entry in since if entry["status"] == "IN_PROGRESS"]
        return Checkpoints(
            answer["counts"]["completed"],
            len(failed),
            because,
            max(now_ms - min(running), 0) / 1000 if running else None,
            newest.get("external_path"),
        )

    def configuration(self) -> dict[str, str]:
        """Return the cluster's own configuration, secrets masked."""
        return {entry["key"]: entry["value"] for entry in self._get("/jobmanager/config")}

    def cancel(self, job: str) -> None:
        """Ask for the job's end, at once and without a savepoint."""
        self._call(f"/jobs/{job}?mode=cancel", None, method="PATCH")

    def stop_with_savepoint(self, job: str, folder: str, timeout_s: float) -> str:
        """Stop the job behind a savepoint and return where that is.

        Raises:
            FlinkUnreachable: where that does not succeed within the time.
        """
        body = {"targetDirectory": folder, "drain": False}
        trigger = self._call(f"/jobs/{job}/stop", body)["request-id"]
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            answer = self._get(f"/jobs/{job}/savepoints/{trigger}")
            if answer["status"]["id"] == "COMPLETED":
                if "location" in answer["operation"]:
                    return answer["operation"]["location"]
                cause = answer["operation"].get("failure-cause", {}).get("class", "no reason given")
                raise FlinkUnreachable(f"the savepoint failed: {cause}")
            time.sleep(0.2)
        raise FlinkUnreachable(f"no savepoint within {timeout_s:.0f} s")

    def _failure_cause(self, job: str, complete: int, failed: dict[str, Any]) -> str:
        """Return why a checkpoint failed; the log is read once for consecutive failures of the same kind."""
        message = failed.get("failure_message") or ""
        kind = (job, complete, message)
        if self._last_cause is None or self._last_cause[0] != kind:
            self._last_cause = (
                kind,
                self._find_in_log(f"complete checkpoint {failed['id']} for job {job}") or message,
            )
        return self._last_cause[1]

    def _find_in_log(self, event: str) -> str:
        """Return the stack trace of an event in the JobManager's log; empty where it is not found."""
        found: list[str] = []
        try:
            with urllib.request.urlopen(f"{self.address}/jobmanager/log", timeout=10) as answer:
                if int(answer.headers.get("Content-Length", 0)) > _MAX_LOG_BYTES:
                    return ""
                for line in answer:
                    text = line.decode(errors="replace").rstrip()
                    if event in text:
                        found = [text.rpartition(event)[2]]
                    elif found and (_NEXT_EVENT.match(text) or len(found) >= _MAX_TRACE_LINES):
                        break
                    elif found:
                        found.append(text)
        except (OSError, ValueError):
            pass  # not every cluster serves its log
        return "\n".join(found[1:])

    def _get(self, path: str) -> Any:
        return self._call(path, None)

    def _call(self, path: str, body: dict[str, Any] | None, method: str | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(
            self.address + path, data=data, headers={"Content-Type": "application/json"}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)
        except (urllib.error.URLError, OSError, ValueError) as problem:
            if isinstance(getattr(problem, "reason", problem), ConnectionError):
                raise FlinkGone(f"{self.address}: {problem}") from problem
            raise FlinkUnreachable(f"{self.address}{path}: {problem}") from problem


def _in_parts(ids: list[str]) -> Iterator[str]:
    """Yield the ids, joined by commas, in parts that fit a request: Flink takes a line of 4,096 bytes."""
    part = ""
    for quoted in map(quote, ids):
        if part and len(part) + len(quoted) >= _MAX_QUERY:
            yield part
            part = ""
        part = f"{part},{quoted}" if part else quoted
    if part:
        yield part
