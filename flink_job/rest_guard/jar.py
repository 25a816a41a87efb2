"""Compiles the guard of Flink's REST interface into a jar for the cluster's class path.

`python -m flink_job.rest_guard.jar` compiles it ahead of time, as for a container image, and prints its path.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import tempfile
import zipfile
from pathlib import Path

from flink_job.connector import JARS
from flink_job.machine.environment import EnvironmentProblem, find_java
from flink_job.machine.flink import flink_home

_FACTORY = "RestGuardFactory"
_SOURCE = Path(__file__).with_name(f"{_FACTORY}.java")
_SERVICE = "META-INF/services/org.apache.flink.runtime.io.network.netty.InboundChannelHandlerFactory"
# Part of the Janino compiler that ships with Flink SQL: it needs only a JRE, no JDK.
_COMPILER = "org.codehaus.commons.compiler.samples.CompilerDemo"


def guard_jar(folder: Path = JARS) -> Path:
    """Return the path of the guard's jar; compile it first where it is missing (about two seconds).

    Args:
        folder: where jars are kept; created if missing. Jars of other versions are left alone.

    Raises:
        EnvironmentProblem: Flink or Java is missing, or the source does not compile.
    """
    libraries = flink_home() / "lib"
    version = hashlib.sha256(_SOURCE.read_bytes())
    version.update(" ".join(sorted(jar.name for jar in libraries.glob("flink-dist-*.jar"))).encode())
    jar = folder.absolute() / f"rest-guard-{version.hexdigest()[:12]}.jar"
    if jar.is_file():
        return jar
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        classes = _compile(Path(scratch), libraries)
        packed = Path(scratch, "guard.jar")
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            for file in classes:
                archive.write(file, file.name)
            archive.writestr(_SERVICE, _FACTORY)
        os.replace(packed, jar)  # atomic, also where two runs start at the same time
    return jar


def _compile(folder: Path, libraries: Path) -> list[Path]:
    class_path = f"{libraries}/*"
    dist = os.pathsep.join(map(str, libraries.glob("flink-dist-*.jar")))
    java = [str(find_java().home / "bin" / "java"), "-XX:TieredStopAtLevel=1", "-cp", class_path, _COMPILER]
    ran = subprocess.run(
        [*java, "-d", str(folder), "-classpath", dist, str(_SOURCE)], capture_output=True, text=True
    )
    classes = sorted(folder.glob("*.class"))
    if ran.returncode or not classes:
        raise EnvironmentProblem(
            f"The guard of the REST interface does not compile: {(ran.stderr or ran.stdout).strip()[:500]}",
            "Run `make clean setup`: Flink's jars may be damaged.",
        )
    return classes


if __name__ == "__main__":
    print(guard_jar())
