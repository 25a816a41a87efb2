"""Processes that outlive a command are found again, and nothing else is ever ended."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner
from waiting import wait_for

from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.orphans import end_orphans
from flink_job.standalone.__main__ import main
from flink_job.standalone.daemons import Daemon, Daemons, expect_free, expect_same_address

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); "
    "time.sleep(60)"
)
# A server that starts a worker in a session of its own, as Flink's TaskManagers do with Python.
WITH_WORKER = (
    "import subprocess, sys, time; worker = [sys.executable, '-c', 'import time; time.sleep(60)']; "
    "print(subprocess.Popen(worker, start_new_session=True).pid, flush=True); time.sleep(60)"
)


@pytest.fixture
def daemons(tmp_path: Path) -> Iterator[Daemons]:
    """A folder whose processes are ended at last."""
    made = Daemons(tmp_path)
    yield made
    for daemon in made.all():
        end_orphans(daemon.mark)


def printed(daemons: Daemons, daemon: Daemon) -> str:
    """The first thing that a process prints, as soon as it does."""
    return wait_for((daemons.folder / f"{daemon.name}.out").read_text, f"a word of {daemon.name}")


def lives(pid: int) -> bool:
    """Whether there is such a process, and not only its exit code."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    return "State:\tZ" not in status


def test_another_command_finds_what_one_started_and_ends_it(daemons: Daemons) -> None:
    first = daemons.launch("first", SLEEP, os.environ, "localhost:1", daemons.folder / "first.log")
    second = daemons.launch("second", SLEEP, os.environ)

    other = Daemons(daemons.folder)
    assert other.all() == other.running() == [first, second]
    assert other.running("sec") == [second]
    assert other.end([first]) == [first]
    assert (lives(first.pid), lives(second.pid)) == (False, True)
    assert daemons.all() == [second]
    assert other.end() == [second]
    assert not lives(second.pid)
    assert (daemons.all(), daemons.end()) == ([], [])


def test_a_later_process_of_the_same_id_is_neither_taken_for_the_first_nor_ended(daemons: Daemons) -> None:
    later = daemons.launch("later", SLEEP, os.environ)
    earlier = replace(later, name="earlier", started=later.started - 1, mark="of the earlier one")
    try:
        assert not earlier.is_running()
        assert daemons.end([earlier], grace_s=0.1) == []
        earlier.send(signal.SIGKILL)
        assert later.is_running() and lives(later.pid)
    finally:
        daemons.end()


def test_an_ended_process_that_its_parent_has_not_asked_for_does_not_run(daemons: Daemons) -> None:
    keeps_zombie = (
        "import subprocess, sys, time; "
        "child = subprocess.Popen([sys.executable, '-c', 'pass']); "
        "print(child.pid, flush=True); time.sleep(60)"
    )
    parent = daemons.launch("parent", [sys.executable, "-c", keeps_zombie], os.environ)
    child = int(printed(daemons, parent))
    wait_for(lambda: not lives(child), "the child's end")

    fields = Path(f"/proc/{child}/stat").read_text().split()
    assert fields[2] == "Z"
    assert not Daemon("child", child, int(fields[21]), "", "", "").is_running()


def test_a_program_of_an_odd_name_is_known_again(daemons: Daemons) -> None:
    sleep = shutil.which("sleep")
    assert sleep is not None
    odd = shutil.copy(sleep, daemons.folder / "odd) Z 1 (1")

    daemon = daemons.launch("odd", [odd, "60"], os.environ)

    assert daemon.is_running()
    assert daemons.end() == [daemon]


def test_what_does_not_end_when_asked_is_ended_by_force(daemons: Daemons) -> None:
    stubborn = daemons.launch("stubborn", [sys.executable, "-c", STUBBORN], os.environ)
    printed(daemons, stubborn)

    begun = time.monotonic()
    assert daemons.end(grace_s=0.5) == [stubborn]

    assert 0.5 <= time.monotonic() - begun < 5
    assert not lives(stubborn.pid)


def test_workers_of_a_killed_process_are_ended_too_and_no_others(daemons: Daemons) -> None:
    server = daemons.launch("server", [sys.executable, "-c", WITH_WORKER], os.environ)
    other = daemons.launch("other", [sys.executable, "-c", WITH_WORKER], os.environ)
    worker, other_worker = int(printed(daemons, server)), int(printed(daemons, other))
    os.kill(server.pid, signal.SIGKILL)
    wait_for(lambda: not server.is_running(), "its end")
    assert (lives(worker), lives(other_worker)) == (True, True)

    assert daemons.end([server]) == []

    assert (lives(worker), lives(other_worker)) == (False, True)
    daemons.end()
    assert not lives(other_worker)


def test_the_mark_of_a_process_is_its_own_whatever_the_caller_carries(
    daemons: Daemons, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SKETCHSTREAM_RUN", "of the caller")
    daemon = daemons.launch("daemon", SLEEP, os.environ)

    # Its environment can be read a moment after it has begun.
    environment = Path(f"/proc/{daemon.pid}/environ")
    wait_for(lambda: daemon.mark.encode() in environment.read_bytes(), "its environment")
    assert end_orphans("of the caller") == []
    assert end_orphans(daemon.mark) == [daemon.pid]


def test_what_ends_while_it_starts_says_why(daemons: Daemons) -> None:
    told = "\n".join(f"line {number}" for number in range(40)) + "\nno room on this machine"
    failing = daemons.launch("failing", [sys.executable, "-c", f"print({told!r})"], os.environ)

    with pytest.raises(EnvironmentProblem) as caught:
        daemons.await_answer(lambda: False, [failing], 20)

    message = caught.value.message
    assert message.startswith(f"The failing ended while it started; {daemons.folder}/failing.out ends so:\n")
    assert message.endswith("\nno room on this machine")
    assert "line 39" in message and "line 9\n" not in message


def test_what_does_not_answer_is_given_up_with_the_end_of_its_log(daemons: Daemons) -> None:
    log = daemons.folder / "silent.log"
    silent = daemons.launch("silent", SLEEP, os.environ, log=log)
    log.write_text("waiting for a friend\n")
    asked = []

    with pytest.raises(EnvironmentProblem, match=r"silent did not answer within 0 s") as caught:
        daemons.await_answer(lambda: asked.append(1) is not None, [silent], 0.3)

    assert len(asked) > 1
    assert caught.value.message.endswith(f"{log} ends so:\nwaiting for a friend")


def test_a_taken_port_is_refused_with_the_name_of_its_holder() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with pytest.raises(EnvironmentProblem, match=rf"Port {port} for the broker .*\(pid {os.getpid()}\)"):
            expect_free(port, "broker")
    expect_free(port, "broker")


def test_a_process_at_another_address_is_not_taken_for_the_one_wanted() -> None:
    daemon = Daemon("broker", 1, 1, "", "localhost:9092", "")

    expect_same_address(daemon, "localhost:9092")
    with pytest.raises(EnvironmentProblem, match=r"at localhost:9092 and not at localhost:9093"):
        expect_same_address(daemon, "localhost:9093")


def test_the_commands_show_and_end_what_is_noted_in_the_folder(tmp_path: Path) -> None:
    broker = Daemons(tmp_path / "broker").launch("broker", SLEEP, os.environ, "localhost:7", tmp_path / "log")
    worker = Daemons(tmp_path / "flink").launch("taskmanager-1", SLEEP, os.environ, "http://localhost:8")
    folder, runner = ["--folder", str(tmp_path)], CliRunner()

    shown = runner.invoke(main, ["status", *folder])
    assert shown.exit_code == 0
    for told in ("broker", "localhost:7", str(broker.pid), str(tmp_path / "log"), "taskmanager-1"):
        assert told in shown.output

    worker.send(signal.SIGKILL)
    wait_for(lambda: not worker.is_running(), "its end")
    shown = runner.invoke(main, ["status", *folder])
    assert (shown.exit_code, str(worker.pid) in shown.output) == (1, False)
    assert "ended" in shown.output

    assert runner.invoke(main, ["down", *folder]).output == "Ended: broker.\n"
    assert not lives(broker.pid)
    assert runner.invoke(main, ["down", *folder]).output == "Nothing was running.\n"
    shown = runner.invoke(main, ["status", *folder])
    assert (shown.exit_code, shown.output) == (1, "Nothing was started.\n")
