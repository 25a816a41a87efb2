"""Alerts at a real Alertmanager: what it shows, whom it tells, and when it takes an alert for resolved."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alerting import Live, alert, live, result_alert, spec_of
from receivers import Receiver, receiver
from waiting import wait_for

from flink_job.machine.ports import free_port

pytestmark = [pytest.mark.cluster, pytest.mark.slow]
_CONFIG = """
route: {{receiver: test, group_by: [alertname], group_wait: 1s, group_interval: 1s, repeat_interval: 1h}}
receivers:
  - name: test
    webhook_configs: [{{url: "http://127.0.0.1:{port}/", send_resolved: true}}]
"""


class AlertmanagerProcess:
    """An Alertmanager that tells a receiver of ours."""

    def __init__(self, folder: Path, told: Receiver) -> None:
        self._folder, self.told, self.port = folder, told, free_port()
        (folder / "alertmanager.yml").write_text(_CONFIG.format(port=told.port))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [
            "prometheus-alertmanager", f"--config.file={self._folder / 'alertmanager.yml'}",
            f"--storage.path={self._folder / 'data'}", f"--web.listen-address=127.0.0.1:{self.port}",
            "--cluster.listen-address=",
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stderr=(self._folder / "alertmanager.err").open("wb"))
        wait_for(lambda: self.shown() is not None, "Alertmanager")

    def shown(self) -> list[dict[str, Any]] | None:
        """Return the alerts that it shows, None where it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v2/alerts", timeout=5) as answer:
                return json.load(answer)
        except OSError:
            return None

    def notified(self, status: str) -> list[set[str]]:
        """Return the ids of the alerts of this status in each notification."""
        bodies = [json.loads(one["body"])["alerts"] for one in self.told.got()]
        found = [
            {one["annotations"]["alert_id"] for one in body if one["status"] == status} for body in bodies
        ]
        return [ids for ids in found if ids]

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[AlertmanagerProcess]:
    if shutil.which("prometheus-alertmanager") is None:
        pytest.skip(
            "prometheus-alertmanager is missing: "
            "sudo apt-get install -y --no-install-recommends prometheus-alertmanager"
        )
    with receiver("http", tmp_path) as told:
        started = AlertmanagerProcess(tmp_path, told)
        yield started
        started.stop()


def spec(manager: AlertmanagerProcess, hold: str = "3s", **alerts: Any) -> Any:
    channel = {
        "name": "am", "type": "alertmanager", "url": f"http://127.0.0.1:{manager.port}/", "hold": hold,
        "back_off": "100ms", "back_off_max": "200ms", "breaker_pause": "200ms",
    }  # fmt: skip
    return spec_of(channel, **alerts)


def work(running: Live, for_s: float) -> None:
    until_s = time.monotonic() + for_s
    while time.monotonic() < until_s:
        running.work()
        time.sleep(0.02)


def test_an_alert_is_shown_with_its_key_and_told_with_others_of_its_rule_and_so_is_its_end(
    manager: AlertmanagerProcess,
) -> None:
    manager.start()
    with live(spec(manager, "1m", group_by=["user"], group_wait="10ms")) as running:
        now_ms = int(time.time() * 1000)
        running.send(*(result_alert(n, raised_ms=now_ms, text=f"number {n}") for n in (1, 2)))
        wait_for(running.work, "delivery")
        wait_for(lambda: manager.notified("firing"), "a notification")
        shown = {one["annotations"]["alert_id"]: one for one in manager.shown()}
        assert shown.keys() == {"00000001", "00000002"}
        one = shown["00000001"]
        assert one["labels"] == {
            "alertname": "slow", "severity": "warning", "pipeline": "shop", "user": "u1",
        }  # fmt: skip
        assert one["annotations"]["summary"] == "number 1"
        assert manager.notified("firing") == [{"00000001", "00000002"}]
        running.send(result_alert(1, "resolved", raised_ms=int(time.time() * 1000), severity="critical"))
        wait_for(running.work, "delivery")
        wait_for(lambda: manager.notified("resolved"), "a notification of the end")
        assert manager.notified("resolved") == [{"00000001"}]
        assert [one["annotations"]["alert_id"] for one in manager.shown()] == ["00000002"]


def test_what_fires_is_shown_for_as_long_as_it_fires_and_no_longer_than_the_job_lives(
    manager: AlertmanagerProcess,
) -> None:
    manager.start()
    with live(spec(manager, group_wait="0s")) as running:
        now_ms = int(time.time() * 1000)
        running.send(result_alert(1, raised_ms=now_ms), alert(2, raised_ms=now_ms))
        work(running, 2)
        assert len(manager.shown()) == 2
        for _ in range(6):
            work(running, 1)
            assert "00000001" in {one["annotations"]["alert_id"] for one in manager.shown()}
        # The one on an event has no end, so that it ended after `hold`.
        assert [one["annotations"]["alert_id"] for one in manager.shown()] == ["00000001"]
        assert {"00000002"} in manager.notified("resolved")
    wait_for(lambda: manager.shown() == [], "the end of what nobody tells of", timeout_s=10)


def test_an_alertmanager_that_comes_late_and_restarts_shows_what_fires(manager: AlertmanagerProcess) -> None:
    with live(spec(manager, "4s", group_wait="0s")) as running:
        running.send(result_alert(1, raised_ms=int(time.time() * 1000)))
        wait_for(lambda: running.work() or running.runner.breaker.is_open, "an open breaker")
        assert running.runner.pending == 1
        manager.start()
        wait_for(lambda: running.work() and manager.shown(), "the alert")
        assert {one["labels"]["user"] for one in manager.shown()} == {"u1"}
        manager.stop()
        shutil.rmtree(manager._folder / "data", ignore_errors=True)
        work(running, 1)
        manager.start()
        wait_for(lambda: running.work() and manager.shown(), "the alert again")


def test_it_takes_any_key_and_the_number_of_suppressed_alerts(manager: AlertmanagerProcess) -> None:
    manager.start()
    with live(spec(manager, "1m", group_wait="0s", at_most=1, every="300ms")) as running:
        key = {"a-b": 1, "9": None, "größe": "ö" * 3000, "severity": True, "": ""}
        running.send(*(alert(n, key=key, values={"x": [1, None]}) for n in range(5)))
        wait_for(lambda: running.work() and len(manager.shown()) >= 2, "both")
        assert running.dead == []
        names = {one["labels"]["alertname"]: one for one in manager.shown()}
    assert names.keys() == {"big", "AlertsSuppressed"}
    assert names["big"]["labels"]["a_b"] == "1" and names["big"]["labels"]["gr__e"] == "ö" * 3000
    assert names["AlertsSuppressed"]["annotations"]["summary"].endswith("more alerts of the rule big")
