"""Where Flink is on this machine, and how it and Kafka are told to log."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from flink_job.machine.environment import EnvironmentProblem

LOG4J_PROPERTIES = Path(__file__).with_name("log4j.properties")


def flink_home() -> Path:
    """Return the folder of the `pyflink` package, which has Flink's `bin`, `conf` and `lib`.

    Raises:
        EnvironmentProblem: where it is not installed.
    """
    # Looked up, not imported: importing it takes more than a second.
    found = importlib.util.find_spec("pyflink")
    if found is None or not found.submodule_search_locations:
        raise EnvironmentProblem("The Python package apache-flink is missing.", "Run `make setup`.")
    return Path(next(iter(found.submodule_search_locations)))
