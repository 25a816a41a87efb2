"""Whether the jars are there that no Python package brings, and go together."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from importlib.metadata import version
from pathlib import Path

from flink_job.commands.examination.finding import Finding
from flink_job.commands.examination.machine import INSTALL
from flink_job.connector import CONNECTOR, CONNECTOR_SHA256, JARS
from flink_job.machine.environment import EnvironmentProblem
from flink_job.machine.flink import expect_plugin
from flink_job.pipeline.spec import Pipeline
from flink_job.standalone.distribution import BROKER_JARS, broker_class_path

JAR_CHECKSUMS = {CONNECTOR: CONNECTOR_SHA256}
# Version of Kafka's connector, and of Flink up to its second number: pairs with which jobs really ran.
KNOWN_GOOD = {("5.0.0-2.2", "2.3")}
_FLINK_JARS = ("flink-dist", "flink-table-api-java-uber", "flink-table-planner-loader", "flink-table-runtime")
_CONNECTORS = "flink-*connector-kafka-*.jar"
_CONNECTOR_NAME = re.compile(r"flink-(?:sql-)?connector-kafka-(\d[\w.]*(?:-\d[\d.]*)?)\.jar")


def check_file_system(pipeline: Pipeline) -> Finding:
    """Whether this machine's Flink has the plugin for the file system of a pipeline's checkpoints.

    Args:
        pipeline: The pipeline.
    """
    uri = pipeline.checkpoint_uri()
    try:
        expect_plugin(uri)
    except EnvironmentProblem as problem:
        return Finding("checkpoints", "fail", problem.message, problem.remedy)
    return Finding("checkpoints", "ok", uri)


def check_flink(library: Path | None = None) -> Finding:
    """Whether PyFlink brought Flink's own jars, in its own version.

    Args:
        library: The folder of the jars; PyFlink's own when left out.
    """
    if library is None:
        library = flink_library()
    if library is None:
        return Finding("Flink", "fail", "apache-flink is not installed", INSTALL)
    missing = [jar for jar in _FLINK_JARS if not list(library.glob(f"{jar}-[0-9]*.jar"))]
    if missing:
        return Finding("Flink", "fail", f"{', '.join(missing)} missing in {library}", INSTALL)
    return Finding("Flink", "ok", f"{version('apache-flink')}, jars in {library}")


def check_connector(folder: Path = JARS, needed: bool = False) -> Finding:
    """Whether the connector jars are there with the pinned content; only Kafka needs them.

    Args:
        folder: Where `make jars` puts them.
        needed: Whether the pipeline in question reads or writes Kafka.
    """
    remedy = f"Remove {folder} and run `make jars`."
    for name, pinned in JAR_CHECKSUMS.items():
        jar = folder / name
        if not jar.is_file():
            if needed:
                return Finding("connector", "fail", f"no {name} in {folder}", "Run `make jars`.")
            return Finding(
                "connector", "warn", f"no {name}; only Kafka needs it", "Run `make jars` if you want it."
            )
        found = hashlib.sha256(jar.read_bytes()).hexdigest()
        if found != pinned:
            detail = f"{name} has sha256 {found[:12]}..., pinned is {pinned[:12]}..."
            return Finding("connector", "fail", detail, remedy)
    return Finding("connector", "ok", ", ".join(JAR_CHECKSUMS))


def check_connector_version(
    folder: Path = JARS, library: Path | None = None, flink: str | None = None
) -> Finding:
    """Whether the one connector for Kafka that Flink finds is a version that works with this Flink.

    A connector's name ends with the Flink it was built for; some work with later ones.

    Args:
        folder: Where `make jars` puts it.
        library: Flink's own folder of jars, where another one would be found too.
        flink: Flink's version; that of the installed package when left out.
    """
    name = "connector's version"
    flink = version("apache-flink") if flink is None else flink
    library = flink_library() if library is None else library
    places = [place for place in (folder, library) if place is not None]
    jars = [jar for place in places for jar in sorted(place.glob(_CONNECTORS))]
    if not jars:
        return Finding(name, "ok", "no connector to compare with Flink")
    if len(jars) > 1:
        detail = f"{len(jars)} connectors, of which Flink may take any: {', '.join(map(str, jars))}"
        return Finding(name, "warn", detail, f"Keep {CONNECTOR} in {folder} and remove the others.")
    found = _CONNECTOR_NAME.fullmatch(jars[0].name)
    pair = (found[1] if found else "", ".".join(flink.split(".")[:2]))
    told = f"{pair[0] or jars[0].name} with Flink {flink}"
    if pair in KNOWN_GOOD:
        return Finding(name, "ok", f"{told}: known to work")
    good = ", ".join(f"{connector} with Flink {minor}" for connector, minor in sorted(KNOWN_GOOD))
    return Finding(name, "warn", f"{told}: not known to work", f"Known to work is {good}: `make jars`.")


def check_broker_jars(folder: Path = BROKER_JARS) -> Finding:
    """Whether a Kafka broker of one's own can be started, for `make cluster-up`, tests and benchmarks.

    Args:
        folder: Where `make jars` puts its jars.
    """
    name = "broker's jars"
    if not folder.is_dir():
        detail = f"none in {folder}; only a broker of one's own needs them"
        return Finding(name, "warn", detail, "Run `make jars` if you want one.")
    try:
        broker_class_path(folder)
    except EnvironmentProblem as problem:
        return Finding(name, "warn", problem.message, problem.remedy)
    return Finding(name, "ok", f"in {folder}")


def flink_library() -> Path | None:
    """Return the folder of Flink's own jars, which PyFlink brings; None where PyFlink is missing."""
    package = importlib.util.find_spec("pyflink")
    return None if package is None or package.origin is None else Path(package.origin).parent / "lib"
