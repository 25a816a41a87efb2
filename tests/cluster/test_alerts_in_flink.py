"""Alerts delivered by a real job: to its end, through trouble and kill -9, and nobody sees a secret."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import Run, read_output
from receivers import Receiver, receiver
from waiting import wait_for

pytestmark = pytest.mark.cluster
JOB = Path(__file__).with_name("alert_job.py")
ROOT = JOB.parents[2]
SECRETS = ("hook-path-9", "sign-key-9", "header-9")


@contextlib.contextmanager
def job(folder: Path, count: int, pause_ms: int, alerts: dict[str, Any]) -> Iterator[Run]:
    """A job of alerts that runs."""
    (folder / "alerts.json").write_text(json.dumps(alerts))
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    arguments = (str(folder), str(count), str(pause_ms))
    run = Run(folder, *arguments, environment={"PYTHONPATH": path}, command=(sys.executable, JOB))
    try:
        yield run
    finally:
        run.clean_up()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Receiver]:
    (tmp_path / "server").mkdir()
    with receiver("http", tmp_path / "server") as started:
        yield started


def webhook(server: Receiver, name: str = "ops", **options: Any) -> dict[str, Any]:
    return {
        "name": name, "type": "webhook", "url": f"http://127.0.0.1:{server.port}/{name}/hook-path-9",
        "secret": "sign-key-9", "headers": {"X-Token": "header-9"}, "timeout": "500ms", "back_off": "50ms",
        "back_off_max": "200ms", "breaker_pause": "300ms", **options,
    }  # fmt: skip


def wanted(count: int) -> set[tuple[str, str]]:
    firing = {(f"{number:08}", "firing") for number in range(count)}
    return firing | {
        (f"{number - 10:08}", "resolved") for number in range(10, count) if (number - 10) % 3 == 0
    }


def taken(server: Receiver) -> list[tuple[tuple[str, str], str]]:
    """Return id and status of each alert that was taken, with the key of its message."""
    return [
        ((one["id"], one["status"]), request["headers"]["idempotency-key"])
        for request in server.taken()
        for one in json.loads(request["body"])["alerts"]
    ]


def shown(run: Run) -> str:
    """Return all that Flink's REST interface tells of a job."""
    (one,) = wait_for(lambda: run.ask("/jobs")["jobs"], "the job")
    id_ = one["id"]
    paths = ["/config", "/jobs/overview", "/jobmanager/config", "/jobmanager/environment", "/taskmanagers"]
    paths += [f"/jobs/{id_}{rest}" for rest in ("", "/config", "/plan", "/exceptions", "/checkpoints/config")]
    told = [run.ask(path) for path in paths]
    vertices = run.ask(f"/jobs/{id_}")["vertices"]
    told += [run.ask(f"/jobs/{id_}/vertices/{vertex['id']}") for vertex in vertices]
    return json.dumps(told)


def test_all_alerts_arrive_before_the_job_ends_and_flink_shows_no_secret(
    server: Receiver, tmp_path: Path
) -> None:
    other = {"name": "gone", "type": "webhook", "url": "http://127.0.0.1:9/hook-path-9", "give_up": "300ms"}
    alerts = {
        "at_most": 1000,
        "group_wait": "100ms",
        "deliver": [webhook(server), other | {"rules": ["rule_0"]}],
    }
    count = 140  # so many that there are more to come when all has been asked that is asked here
    with job(tmp_path, count, 50, alerts) as run:
        wait_for(lambda: len(server.got()) > 3, "alerts")
        told = shown(run)
        assert "deliver alerts" in told
        server.behave("503")
        wait_for(lambda: len([one for one in server.got() if one["mood"] == "503"]) > 2, "attempts")
        server.behave("ok")
        assert run.wait() == 0, run.err
    got = Counter(name for name, _ in taken(server))
    assert got.keys() == wanted(count) and set(got.values()) == {1}
    dead = read_output(tmp_path / "dead")
    assert {letter["channel"] for letter in dead} == {"gone"}
    assert {letter["alert"]["rule"] for letter in dead} == {"rule_0"} and len(dead) >= 30
    logs = "".join(path.read_text() for path in (tmp_path / "logs").iterdir()) + run.out + run.err
    for secret in SECRETS:
        assert secret not in told and secret not in logs and secret not in json.dumps(dead)


@pytest.mark.slow
def test_when_the_workers_are_killed_no_alert_is_lost_and_few_come_twice(
    server: Receiver, tmp_path: Path
) -> None:
    alerts = {"at_most": 10_000, "group_wait": "20ms", "deliver": [webhook(server)]}
    with job(tmp_path, 300, 40, alerts) as run:
        for killed_after in (40, 160):
            wait_for(lambda after=killed_after: len(taken(server)) > after, "alerts")
            before = len(taken(server))
            run.kill_workers()
            wait_for(lambda before=before: len(taken(server)) > before + 20, "more alerts")
        assert run.wait() == 0, run.err
    got = Counter(name for name, _ in taken(server))
    assert got.keys() == wanted(300)
    assert max(got.values()) <= 3 and sum(got.values()) > len(got)
    assert read_output(tmp_path / "dead") == []
