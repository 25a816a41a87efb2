from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LAYERS = ("flink_job", "operators", "state", "sketches")  # each may import those to its right
LOCKED = re.compile(r"^([a-z0-9._-]+)==([^ ;\\]+)(?: ; ([^\\]+?))? \\$", re.MULTILINE)


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def pins(section: str) -> list[Requirement]:
    """The requirements between `section = [` and the closing bracket; tomllib is not there in Python 3.10."""
    body = re.search(rf"^{section} = \[(.*?)^\]", text("pyproject.toml"), re.MULTILINE | re.DOTALL)
    assert body is not None, f"no {section} in pyproject.toml"
    return [Requirement(pin) for pin in re.findall(r'^ +"([^"]+)"', body.group(1), re.MULTILINE)]


def locked() -> dict[str, set[str]]:
    versions: dict[str, set[str]] = {}
    for name, version, _ in LOCKED.findall(text("requirements.lock")):
        versions.setdefault(canonicalize_name(name), set()).add(version)
    return versions


def project_files() -> list[Path]:
    """What belongs to the project: nothing that make, the tests or git keep in folders of their own."""
    made = {".git", ".venv", ".jars", ".sketchstream", "build", "dist", "target", "__pycache__"}
    found = []
    for folder, folders, files in os.walk(ROOT):
        folders[:] = [
            name for name in folders if name not in made and not name.endswith((".egg-info", "_cache"))
        ]
        found += [Path(folder, name) for name in files]
    return found


def imports_of(package: str) -> set[tuple[str, str]]:
    """Every (file, module imported), also within functions."""
    found = set()
    for file in (ROOT / package).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {(str(file.relative_to(ROOT)), alias.name) for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add((str(file.relative_to(ROOT)), node.module))
    return found


@pytest.mark.parametrize("section", ["dependencies", "dev"])
def test_every_direct_dependency_is_pinned_exactly_with_its_reason(section: str) -> None:
    lines = re.findall(r'^    "[a-z0-9-]+[=<>~].*$', text("pyproject.toml"), re.MULTILINE)

    assert [line for line in lines if not re.search(r'",\s+# \w+', line)] == []
    assert pins(section)
    assert [str(pin) for pin in pins(section) if not re.fullmatch(r"==[^*,]+", str(pin.specifier))] == []


@pytest.mark.parametrize("section", ["dependencies", "dev"])
def test_the_pins_are_those_of_the_lock_file(section: str) -> None:
    wanted: dict[str, set[str]] = {}
    for pin in pins(section):
        wanted.setdefault(canonicalize_name(pin.name), set()).add(str(pin.specifier)[2:])

    assert wanted == {name: versions for name, versions in locked().items() if name in wanted}


def test_every_locked_package_has_hashes() -> None:
    for lock in ("requirements.lock", "requirements-build.lock"):
        entries = re.split(r"^(?=[a-z0-9])", text(lock), flags=re.MULTILINE)[1:]
        assert entries
        assert [entry.split(" ")[0] for entry in entries if "--hash=sha256:" not in entry] == []


def test_the_project_is_built_with_the_locked_setuptools() -> None:
    built_with = re.findall(r"setuptools==[0-9.]+", text("pyproject.toml") + text("Makefile"))

    assert len(built_with) == 2
    assert {f"{pin} \\" for pin in built_with} <= set(text("requirements-build.lock").splitlines())


def test_no_file_names_a_package_index() -> None:
    named = re.compile(
        r"--(extra-)?index-url|--find-links|--trusted-host|\bindex_url\b|<mirror>|<repository>"
        r"|pythonhosted\.org|pypi\.\w+/simple|repo1?\.maven\.(org|apache\.org)"
    )
    here = Path(__file__).resolve()

    offenders = []
    for file in project_files():
        content = file.read_bytes()
        if (
            file != here
            and b"\0" not in content
            and (match := named.search(content.decode("utf-8", "replace")))
        ):
            offenders.append((str(file.relative_to(ROOT)), match.group(0)))
    assert offenders == []


def test_make_help_is_the_default_and_lists_every_target() -> None:
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed: sudo apt-get install -y make")
    shown = subprocess.run([make], cwd=ROOT, capture_output=True, text=True, check=True).stdout

    listed = set(re.findall(r"^ +make ([a-z0-9-]+) +\S", shown, re.MULTILINE))
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", text("Makefile"), re.MULTILINE))
    assert listed == targets - {"missing", "jars-if-maven"}
    assert {"setup", "demo", "test", "test-all", "lint", "bench", "doctor", "jars", "clean"} <= listed


@pytest.mark.parametrize("package", LAYERS)
def test_imports_go_one_way(package: str) -> None:
    above = LAYERS[: LAYERS.index(package)]

    assert [found for found in imports_of(package) if found[1].split(".")[0] in above] == []


def test_sketches_know_no_flink_and_only_the_job_knows_kafka() -> None:
    flink = {"pyflink", "apache_beam", "py4j", "kafka"}

    assert [found for found in imports_of("sketches") if found[1].split(".")[0] in flink] == []
    for package in ("operators", "state"):
        assert [found for found in imports_of(package) if "kafka" in found[1]] == []


def test_the_connector_that_doctor_checks_is_the_one_that_maven_fetches() -> None:
    from flink_job.commands.doctor import JAR_CHECKSUMS

    pinned = re.search(
        r"<artifactId>(flink-sql-\S+?)</artifactId>\s*<version>(\S+?)</version>", text("pom.xml")
    )
    assert pinned is not None
    assert set(JAR_CHECKSUMS) == {f"{pinned.group(1)}-{pinned.group(2)}.jar"}


def test_a_skip_is_a_failure_where_nothing_may_be_skipped(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(text("tests/conftest.py"))
    (tmp_path / "test_some.py").write_text(
        "import pytest\n"
        "def test_runs(): pass\n"
        "def test_skips(): pytest.skip('no broker here')\n"
        "@pytest.mark.skip(reason='left out')\n"
        "def test_left_out(): pass\n"
        "@pytest.mark.xfail(strict=True)\n"
        "def test_known_fault(): assert False\n"
    )
    (tmp_path / "test_whole_file.py").write_text(
        "import pytest\npytest.importorskip('nowhere_to_be_found')\n"
    )
    outcomes = {}
    for forbidden in ("0", "1"):
        ran = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "--continue-on-collection-errors", "--rootdir=.", "."],
            cwd=tmp_path,
            env={**os.environ, "SKETCHSTREAM_NO_SKIPS": forbidden},
            capture_output=True,
            text=True,
        )
        outcomes[forbidden] = (ran.returncode, re.sub(r" in .*", "", ran.stdout.splitlines()[-1]))
        told = ran.stdout

    assert outcomes == {
        "0": (0, "1 passed, 3 skipped, 1 xfailed"),
        "1": (1, "1 failed, 1 passed, 1 xfailed, 2 errors"),
    }
    assert "no broker here" in told
    assert "could not import 'nowhere_to_be_found'" in told


def test_no_module_beside_main_hides_a_package_that_it_needs() -> None:
    """`flink run -py flink_job/main.py` puts the folder of main.py first in Python's path."""
    own = {
        path.stem
        for path in (ROOT / "flink_job").iterdir()
        if path.suffix == ".py" or (path / "__init__.py").is_file()
    }
    elsewhere = [entry for entry in sys.path if entry and Path(entry).resolve() != ROOT]
    found = {name: PathFinder.find_spec(name, elsewhere) for name in own}
    hidden = {name for name, spec in found.items() if spec is not None and spec.origin is not None}
    assert hidden - {"__init__"} == set()
