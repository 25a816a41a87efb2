"""Where the programs are: Flink's in the Python package, Kafka's among the jars that Maven fetched."""

from __future__ import annotations

import os
import re
from pathlib import Path

from flink_job.connector import CONNECTOR, JARS
from flink_job.machine.environment import EnvironmentProblem, find_java
from flink_job.machine.flink import flink_home
from flink_job.rest_guard.jar import guard_jar

BROKER_JARS = JARS / "broker"

_NEEDED_JARS = ("kafka_2.13", "kafka-clients", "kafka-server", "kafka-tools")
_LOGGING_JARS = ("log4j-api", "log4j-core", "log4j-slf4j-impl")
# What belongs to another Flink or another Python: it would lead these processes astray.
_FOREIGN = re.compile(r"_?FLINK_.*|JVM_ARGS|LOG4J_PROPERTIES|PYTHON.*|_python_.*|HADOOP_.*|SKETCHSTREAM_RUN")


def java_environment() -> dict[str, str]:
    """Return the environment of a Java server: this process's, a suitable `JAVA_HOME`, and nothing foreign.

    In particular it has no `PYTHONPATH`: a job brings its own code.

    Raises:
        EnvironmentProblem: where there is no suitable Java.
    """
    own = {name: value for name, value in os.environ.items() if not _FOREIGN.fullmatch(name)}
    return own | {"JAVA_HOME": str(find_java().home)}


def link_flink_jars(folder: Path) -> None:
    """Fill a cluster's `lib` with symlinks: Flink's jars, PyFlink's, the Kafka connector and the REST guard.

    PyFlink's jar and the connector are shipped with every job too. If they were only there, each job would
    load their 46 MB of classes again, and as what PyFlink starts in a TaskManager outlives the job, they
    would never be unloaded: the fifth job would have no room for its classes.

    Args:
        folder: where; it must not be there.
    """
    folder.mkdir()
    jars = [*(flink_home() / "lib").glob("*.jar"), *(flink_home() / "opt").glob("flink-python-*.jar")]
    jars += [*JARS.glob(CONNECTOR), guard_jar()]
    for name, jar in {jar.name: jar for jar in jars}.items():
        (folder / name).symlink_to(jar)


def broker_class_path(jars: Path) -> str:
    """Return Java's class path for the broker and its tools.

    Args:
        jars: the folder of the broker's jars.

    Raises:
        EnvironmentProblem: where one that is needed is missing, or they are of several versions.
    """
    found = {name: sorted(file.name for file in jars.glob(f"{name}-[0-9]*.jar")) for name in _NEEDED_JARS}
    missing = [f"{name}-*.jar" for name, files in found.items() if not files]
    if missing:
        raise EnvironmentProblem(f"The broker lacks {', '.join(missing)} in {jars}.", "Run `make jars`.")
    versions = {
        file.removeprefix(f"{name}-").removesuffix(".jar") for name, files in found.items() for file in files
    }
    if len(versions) > 1:
        raise EnvironmentProblem(
            f"The broker's jars in {jars} are of several versions: {', '.join(sorted(versions))}.",
            f"Remove {jars.parent} and run `make jars`.",
        )
    # The broker's jars bring no way from its log calls to log4j; Flink's do, and come first as one version.
    logging = [file for name in _LOGGING_JARS for file in (flink_home() / "lib").glob(f"{name}-[0-9]*.jar")]
    return os.pathsep.join([*map(str, logging), f"{jars}/*"])
