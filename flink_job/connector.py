"""Flink's Kafka connector: the one jar that no Python package brings."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from flink_job.machine.environment import EnvironmentProblem

CONNECTOR = "flink-sql-connector-kafka-5.0.0-2.2.jar"
CONNECTOR_SHA256 = "5605c691d11a501382c383fecba37a7a552467da5ab7ba904ef5d6f3d62c5616"
_SHADED = "org.apache.flink.kafka.shaded."
_KAFKA_CLASS = re.compile(r"(?<![\w.])org\.apache\.kafka\.[\w.$]+")
JARS = Path(__file__).resolve().parents[1] / ".jars"


def connector_properties(properties: Mapping[str, str]) -> dict[str, str]:
    """Return client properties as options of a table of the connector.

    Args:
        properties: those of Java's client, with the names that classes of Kafka have outside the connector's
            jar; inside it they have others.
    """
    return {
        f"properties.{key}": _KAFKA_CLASS.sub(_SHADED + r"\g<0>", value) for key, value in properties.items()
    }


def connector_jar(folder: Path = JARS) -> Path:
    """Return the connector's jar, whose content is the pinned one.

    Args:
        folder: where `make jars` puts it.

    Raises:
        EnvironmentProblem: where it is missing or another one.
    """
    jar = folder / CONNECTOR
    if not jar.is_file():
        others = ", ".join(sorted(path.name for path in folder.glob("flink-*kafka*.jar")))
        found = f"; there is {others}, which this version does not go with" if others else ""
        raise EnvironmentProblem(
            f"Kafka needs {CONNECTOR}, which is not in {folder}{found}", "fetch it with `make jars`"
        )
    found_sha256 = hashlib.sha256(jar.read_bytes()).hexdigest()
    if found_sha256 != CONNECTOR_SHA256:
        raise EnvironmentProblem(
            f"{jar} is not the jar it should be: its sha256 is {found_sha256[:12]}..., "
            f"pinned is {CONNECTOR_SHA256[:12]}...",
            "remove it and run `make jars`",
        )
    return jar
